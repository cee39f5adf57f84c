"""`syncline start`: run the sync service."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.extras import extra_needed

__all__ = ["start"]


def start(
    config: Path = typer.Option(None, "-c", "--config-path", help="The service's configuration file (YAML or JSON)."),
    config_base64: str = typer.Option(None, "-c64", "--config-base64", help="The configuration itself, as base64."),
) -> None:
    """Run the sync service until it is told to stop."""
    with extra_needed("service"):
        from syncline.service.run import run_service
    raise typer.Exit(run_service(config_path=config, config_base64=config_base64))
