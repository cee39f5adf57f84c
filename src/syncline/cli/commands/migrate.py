"""`syncline migrate up|down`: bring bucket storage to this release's layout, or back."""

from __future__ import annotations

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.option_groups import spread_options
from syncline.cli.options import ConfigOptions

__all__ = ["migrate"]


@spread_options
def migrate(
    direction: str = typer.Argument(
        help="up: to this release's layout. down: back, for an older release, or to nothing."
    ),
    to: int = typer.Option(None, "--to", help="With down: the layout to go back to; without it, storage is removed."),
    *,
    options: ConfigOptions,
) -> None:
    """Bring bucket storage up to date, or back.

    `syncline start` migrates up by itself, unless migrations.disable_auto_migration is set.
    """
    with extra_needed("service"):
        from syncline.service.commands import migrate as command
        from syncline.service.commands.running import run_command, tell

        sources = options.sources()
    raise typer.Exit(
        run_command(
            sources,
            lambda found: command.migrate(found, direction, to=to, tell=tell),
            check=lambda: command.check_direction(direction, to),
        )
    )
