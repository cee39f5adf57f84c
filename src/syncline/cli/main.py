"""Entry point of the command line."""

from __future__ import annotations

import sys

import typer

from syncline import __version__
from syncline.cli.commands.check_connection import check_connection
from syncline.cli.commands.compact import compact
from syncline.cli.commands.demo import demo
from syncline.cli.commands.migrate import migrate
from syncline.cli.commands.start import start
from syncline.cli.commands.teardown import teardown

__all__ = ["app", "main"]

app = typer.Typer(
    name="syncline",
    help="Local-first sync for people who keep their data in their own database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing the help with it takes three times as long as all else
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """Local-first sync for people who keep their data in their own database."""


app.command()(start)
app.command("test-connection")(check_connection)
app.command()(migrate)
app.command()(compact)
app.command()(teardown)
app.command()(demo)

_USAGE_ERROR = 2  # of the library, for a wrong command line
EXIT_FAILED = 1  # what the field's tools expect then (service config reference, 6)


def main() -> None:
    """Run the command line. A wrong one ends with 1."""
    try:
        app()
    except SystemExit as exc:
        sys.exit(EXIT_FAILED if exc.code == _USAGE_ERROR else exc.code)


if __name__ == "__main__":
    main()
