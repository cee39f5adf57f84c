"""Where the configuration is: base64 text, a named file, or a file in the working directory (service config reference, 1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syncline.errors import ConfigError

__all__ = ["FALLBACK_FILES", "ConfigFile", "ConfigSources", "decode_base64", "find_config"]

FALLBACK_FILES = ("powersync.yaml", "service.yaml", "syncline.yaml")
"""Looked for in the working directory, in this order, where nothing is named."""


@dataclass(frozen=True, slots=True)
class ConfigSources:
    """What the command line says: each of these, where given, goes before the environment's variable."""

    path: Path | None = None  # -c; else POWERSYNC_CONFIG_PATH
    base64_text: str | None = None  # -c64; else POWERSYNC_CONFIG_B64
    sync_config_base64: str | None = None  # -sync64; else POWERSYNC_SYNC_CONFIG_B64, or POWERSYNC_SYNC_RULES_B64


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The text of a configuration, the folder that its paths are relative to, and its name for messages."""

    text: str
    folder: Path
    name: str


def find_config(sources: ConfigSources, environment: Mapping[str, str], working_directory: Path) -> ConfigFile:
    """Base64 text, then a named file, then a file of the working directory. Raises ConfigError where there is none.

    A file that the command line names goes before the base64 text of the environment: who writes it means it.
    """
    variable = environment.get("POWERSYNC_CONFIG_B64") if sources.path is None else None
    encoded = sources.base64_text or variable
    if encoded:
        origin = "-c64" if sources.base64_text else "POWERSYNC_CONFIG_B64"
        return ConfigFile(decode_base64(encoded, origin), working_directory, "the base64 configuration")
    named = sources.path or (Path(value) if (value := environment.get("POWERSYNC_CONFIG_PATH")) else None)
    if named is None:
        named = next((Path(name) for name in FALLBACK_FILES if (working_directory / name).is_file()), None)
    if named is None:
        raise ConfigError(
            f"There is no configuration: nothing names one, and {working_directory} has none of {', '.join(FALLBACK_FILES)}.",
            hint="Name it with `syncline start -c service.yaml` or POWERSYNC_CONFIG_PATH.",
        )
    file = working_directory / named
    try:
        return ConfigFile(file.read_text("utf-8"), file.parent, str(named))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"The configuration {named} cannot be read: {getattr(exc, 'strerror', None) or exc}",
            hint="Name it with `syncline start -c service.yaml` or POWERSYNC_CONFIG_PATH.",
        ) from exc


def decode_base64(encoded: str, origin: str) -> str:
    """The text; line breaks are allowed, as `base64` writes them. Raises ConfigError that names where it came from."""
    try:
        return base64.b64decode("".join(encoded.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"{origin} is not base64 of UTF-8 text.", hint="Make it with: base64 -w0 service.yaml"
        ) from exc
