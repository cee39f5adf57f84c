"""`syncline test-connection`: whether the source can be replicated, and storage hold buckets."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.options import CONFIG_BASE64, CONFIG_PATH, SYNC_CONFIG_BASE64, config_sources

__all__ = ["check_connection"]


def check_connection(
    config: Path = CONFIG_PATH,
    config_base64: str = CONFIG_BASE64,
    sync_base64: str = SYNC_CONFIG_BASE64,
) -> None:
    """Check the source and the storage.

    Prints settings, problems and what to do about them. Changes nothing.
    """
    with extra_needed("service"):
        from syncline.service.commands import check_connection as command
        from syncline.service.commands.running import run_command, tell

        sources = config_sources(config, config_base64, sync_base64)
    raise typer.Exit(run_command(sources, lambda found: command.check_connection(found, tell)))
