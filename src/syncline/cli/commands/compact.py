"""`syncline compact`: compact bucket storage once."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.options import CONFIG_BASE64, CONFIG_PATH, SYNC_CONFIG_BASE64, config_sources

__all__ = ["compact"]


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
    config: Path = CONFIG_PATH,
    config_base64: str = CONFIG_BASE64,
    sync_base64: str = SYNC_CONFIG_BASE64,
) -> None:
    """Compact bucket storage once; a running service does so all the time.

    Deletes expired checkpoint requests too, also beside a running service.
    """
    with extra_needed("service"):
        from syncline.service.commands import compact as command
        from syncline.service.commands.running import run_command, tell

        sources = config_sources(config, config_base64, sync_base64)

    def check() -> None:
        command.check_buckets(buckets)

    def run(found: command.ServiceConfig) -> int:
        request = command.CompactRequest(command.check_buckets(buckets), lookups, incremental_only)
        return command.compact(found, request, tell)

    raise typer.Exit(run_command(sources, run, check=check))
