"""`syncline test-connection`: whether the source can be replicated, and storage hold buckets."""

from __future__ import annotations

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.option_groups import spread_options
from syncline.cli.options import ConfigOptions

__all__ = ["check_connection"]


@spread_options
def check_connection(
    options: ConfigOptions,
) -> None:
    """Check the source and the storage.

    Prints settings, problems and what to do about them. Changes nothing.
    """
    with extra_needed("service"):
        from syncline.service.commands import check_connection as command
        from syncline.service.commands.running import run_command, tell

        sources = options.sources()
    raise typer.Exit(run_command(sources, lambda found: command.check_connection(found, tell)))
