"""Entry point of the command line."""

from __future__ import annotations

import typer

from syncline import __version__
from syncline.cli.commands.demo import demo
from syncline.cli.commands.start import start

__all__ = ["app", "main"]

app = typer.Typer(
    name="syncline",
    help="Local-first sync for people who keep their data in their own database.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
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
app.command()(demo)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
