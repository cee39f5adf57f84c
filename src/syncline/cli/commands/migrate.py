"""`syncline migrate up|down`: bring bucket storage to this release's layout, or back."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.options import CONFIG_BASE64, CONFIG_PATH, SYNC_CONFIG_BASE64, config_sources

__all__ = ["migrate"]


def migrate(
    direction: str = typer.Argument(
        help="up: to this release's layout. down: back, for an older release, or to nothing."
    ),
    to: int = typer.Option(None, "--to", help="With down: the layout to go back to; without it, storage is removed."),
    config: Path = CONFIG_PATH,
    config_base64: str = CONFIG_BASE64,
    sync_base64: str = SYNC_CONFIG_BASE64,
) -> None:
    """Bring bucket storage up to date, or back.

    `syncline start` migrates up by itself, unless migrations.disable_auto_migration is set.
    """
    with extra_needed("service"):
        from syncline.service.commands import migrate as command
        from syncline.service.commands.running import run_command, tell

        sources = config_sources(config, config_base64, sync_base64)
    raise typer.Exit(
        run_command(
            sources,
            lambda found: command.migrate(found, direction, to=to, tell=tell),
            check=lambda: command.check_direction(direction, to),
        )
    )
