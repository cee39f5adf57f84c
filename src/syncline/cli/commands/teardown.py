"""`syncline teardown TEARDOWN`: drop the replication slots and remove bucket storage."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.options import CONFIG_BASE64, CONFIG_PATH, SYNC_CONFIG_BASE64, config_sources

__all__ = ["teardown"]


def teardown(
    word: str = typer.Argument(None, metavar="TEARDOWN", help="The word TEARDOWN, to say that it is meant."),
    config: Path = CONFIG_PATH,
    config_base64: str = CONFIG_BASE64,
    sync_base64: str = SYNC_CONFIG_BASE64,
) -> None:
    """Drop the replication slots and remove bucket storage.

    The source's data stay as they are.
    """
    with extra_needed("service"):
        from syncline.service.commands import teardown as command
        from syncline.service.commands.running import run_command, tell

        sources = config_sources(config, config_base64, sync_base64)
    raise typer.Exit(
        run_command(sources, lambda found: command.teardown(found, tell), check=lambda: command.check_word(word))
    )
