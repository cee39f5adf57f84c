"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from syncline.service.config_file import ConfigSources

__all__ = ["CONFIG_BASE64", "CONFIG_PATH", "SYNC_CONFIG_BASE64", "config_sources"]

CONFIG_PATH: Path = typer.Option(None, "-c", "--config-path", help="The service's configuration file (YAML or JSON).")
CONFIG_BASE64: str = typer.Option(None, "-c64", "--config-base64", help="The configuration itself, as base64.")
SYNC_CONFIG_BASE64: str = typer.Option(None, "-sync64", "--sync-base64", help="The sync config itself, as base64.")


def config_sources(path: Path | None, base64_text: str | None, sync_config_base64: str | None) -> ConfigSources:
    """What the command line says of the configuration. Call inside `extra_needed("service")`."""
    from syncline.service.config_file import ConfigSources

    return ConfigSources(path, base64_text, sync_config_base64)
