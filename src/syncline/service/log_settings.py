"""How logs are to be written: level, format and tags, from the configuration and the environment (service config reference, 2.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncline.service.addresses import Note
from syncline.service.settings import LoggingSettings

__all__ = ["LEVELS", "LogConfig", "check_logging"]

LEVELS = {"error": 40, "warn": 30, "info": 20, "http": 17, "verbose": 15, "debug": 10, "silly": 5}
"""The reference's names of levels, as numbers of `logging`. `verbose` tells every checkpoint of every stream."""
FORMATS = ("text", "json")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """`level` is a number of `logging`; `tags` are fields of every line."""

    level: int = LEVELS["info"]
    json: bool = False
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


def check_logging(
    settings: LoggingSettings, metadata: Mapping[str, str], environment: Mapping[str, str], note: Note
) -> LogConfig:
    """PS_LOG_LEVEL and PS_LOG_FORMAT override the file; without a format, production means JSON. `note` hears what is wrong."""
    level = (environment.get("PS_LOG_LEVEL") or settings.level or "info").lower()
    if level not in LEVELS:
        note(f"the log level {level!r} is not known.", hint=f"Choose one of {', '.join(LEVELS)}.")
    default = "json" if environment.get("NODE_ENV") == "production" else "text"
    form = (environment.get("PS_LOG_FORMAT") or settings.format or default).lower()
    if form not in FORMATS:
        note(f"the log format {form!r} is not known.", hint=f"Choose one of {', '.join(FORMATS)}.")
    return LogConfig(level=LEVELS.get(level, LEVELS["info"]), json=form == "json", tags=dict(metadata))
