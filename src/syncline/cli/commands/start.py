"""`syncline start`: run the sync service."""

from __future__ import annotations

import gc

import typer

from syncline.cli.extras import extra_needed
from syncline.cli.option_groups import spread_options
from syncline.cli.options import ConfigOptions

__all__ = ["start"]


@spread_options
def start(
    runner_type: str = typer.Option(
        None, "-r", "--runner-type", help="What this process does: unified (default), api or sync. Also PS_RUNNER_TYPE."
    ),
    workers: int = typer.Option(
        None,
        "--workers",
        help="API worker processes; by default one fewer than cores, at least one. 0: everything in one process."
        " Also SYNCLINE_WORKERS.",
    ),
    *,
    options: ConfigOptions,
) -> None:
    """Run the sync service until it is told to stop."""
    with extra_needed("service"):
        gc.disable()  # what is imported is no garbage: to look for some takes a tenth of the start
        from syncline.service.run import run_service

        gc.enable()
        sources = options.sources()
    raise typer.Exit(run_service(sources, runner_type=runner_type, workers=workers))
