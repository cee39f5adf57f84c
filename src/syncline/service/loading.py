"""The configuration of a process that is starting, and logs as it wants them."""

from __future__ import annotations

import os
from pathlib import Path

from syncline.service.config import ConfigSources, ServiceConfig, load_config
from syncline.service.logs import set_up_logging

__all__ = ["load_for_command"]


def load_for_command(sources: ConfigSources) -> ServiceConfig:
    """The configuration that the command line, the environment or the working directory names. Raises ConfigError."""
    config = load_config(
        path=sources.path,
        base64_text=sources.base64_text,
        sync_config_base64=sources.sync_config_base64,
        environment=os.environ,
        working_directory=Path.cwd(),
    )
    set_up_logging(config.logging, secrets=config.secrets)
    return config
