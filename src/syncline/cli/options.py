"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from syncline.service.config_file import ConfigSources

__all__ = ["SYNC_CONFIG", "ConfigOptions"]

CONFIG_PATH: Path | None = typer.Option(
    None, "-c", "--config-path", help="The service's configuration file (YAML or JSON)."
)
SYNC_CONFIG: Path | None = typer.Option(
    None, "--sync-config", "--sync-config-file-path", help="The sync config. Else the project's, else the running one."
)


@dataclass(frozen=True, slots=True)
class ConfigOptions:
    """Where the service's configuration is."""

    config: Path | None = CONFIG_PATH
    config_base64: str | None = typer.Option(
        None, "-c64", "--config-base64", help="The configuration itself, as base64."
    )
    sync_base64: str | None = typer.Option(None, "-sync64", "--sync-base64", help="The sync config itself, as base64.")

    def sources(self) -> ConfigSources:
        """What the command line says of the configuration. Call inside `extra_needed("service")`."""
        from syncline.service.config_file import ConfigSources

        return ConfigSources(self.config, self.config_base64, self.sync_base64)
