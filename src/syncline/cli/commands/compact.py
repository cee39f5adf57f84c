"""`syncline compact`: compact bucket storage once."""

from __future__ import annotations

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.option_groups import spread_options
from syncline.cli.options import ConfigOptions

__all__ = ["compact"]


@spread_options
def compact(
    buckets: str = typer.Option(None, "-b", "--buckets", help="Only these buckets: full names, between commas."),
    lookups: bool = typer.Option(
        None,
        "--parameter-indexes/--no-parameter-indexes",
        "-p",
        help="Compact parameter lookups too; the default unless buckets are named.",
    ),
    incremental_only: bool = typer.Option(
        False, "--incremental-only", help="Only buckets in which much is new, as a running service does by itself."
    ),
    *,
    options: ConfigOptions,
) -> None:
    """Compact bucket storage once; a running service does so all the time.

    Deletes expired checkpoint requests too, also beside a running service.
    """
    with extra_needed("service"):
        from syncline.service.commands import compact as command
        from syncline.service.commands.running import run_command, tell

        sources = options.sources()

    def check() -> None:
        command.check_buckets(buckets)

    def run(found: command.ServiceConfig) -> int:
        request = command.CompactRequest(command.check_buckets(buckets), lookups, incremental_only)
        return command.compact(found, request, tell)

    raise typer.Exit(run_command(sources, run, check=check))
