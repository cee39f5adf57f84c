"""`syncline teardown TEARDOWN`: drop the replication slots and remove bucket storage."""

from __future__ import annotations

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.option_groups import spread_options
from syncline.cli.options import ConfigOptions

__all__ = ["teardown"]


@spread_options
def teardown(
    word: str = typer.Argument(None, metavar="TEARDOWN", help="The word TEARDOWN, to say that it is meant."),
    *,
    options: ConfigOptions,
) -> None:
    """Drop the replication slots and remove bucket storage.

    The source's data stay as they are.
    """
    with extra_needed("service"):
        from syncline.service.commands import teardown as command
        from syncline.service.commands.running import run_command, tell

        sources = options.sources()
    raise typer.Exit(
        run_command(sources, lambda found: command.teardown(found, tell), check=lambda: command.check_word(word))
    )
