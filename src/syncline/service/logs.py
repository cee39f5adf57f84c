"""Log lines: text for people, JSON for machines; both carry an event name and fields, never row values or tokens.

The fields of a JSON line are the reference's: `level`, `message`, `timestamp`, those of the line, the tags of the configuration, and
for failures `name`, `stack`, `errorData`, `is_service_error`.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from syncline.errors import SynclineError
from syncline.service.log_settings import LEVELS, LogConfig

__all__ = ["MASK", "Redactor", "set_up_logging"]

MASK = "***"
SECRET_LENGTH_MIN = 8
"""Shorter secrets are not looked for in lines: a password like `app` stands in every second line with another meaning."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_LEVEL_NAMES = sorted(((number, name) for name, number in LEVELS.items()), reverse=True)
_URI_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/]*@", re.IGNORECASE)
_CONNINFO_PASSWORD = re.compile(r"\b(password|sslpassword)=('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")


def set_up_logging(config: LogConfig, *, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send all logs to standard error, or to `stream`. Lines are cleared of `secrets` and of whatever looks like a password or token."""
    handler = logging.StreamHandler(stream or sys.stderr)
    make = _JsonFormatter if config.json else _TextFormatter
    handler.setFormatter(make(config.tags, Redactor(secrets)))
    logging.basicConfig(level=config.level, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class Redactor:
    """The net below the rule that nobody logs a secret: takes them out of finished lines, also where another library wrote them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        long = sorted({text for text in secrets if len(text) >= SECRET_LENGTH_MIN}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, long))) if long else None

    def clear(self, line: str) -> str:
        """The line without passwords, keys and tokens."""
        if self._secrets is not None:
            line = self._secrets.sub(MASK, line)
        if "://" in line:
            line = _URI_PASSWORD.sub(rf"\1:{MASK}@", line)
        if "password=" in line:
            line = _CONNINFO_PASSWORD.sub(rf"\1={MASK}", line)
        return _JWT.sub("<token>", line) if "eyJ" in line else line


class _Formatter(logging.Formatter):
    def __init__(self, tags: Mapping[str, str], redactor: Redactor) -> None:
        super().__init__()
        self.tags = tags
        self.redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self.redactor.clear(self.line(record))

    def line(self, record: logging.LogRecord) -> str:
        raise NotImplementedError


class _TextFormatter(_Formatter):
    def line(self, record: logging.LogRecord) -> str:
        fields = {**self.tags, **_fields(record)}
        told = " ".join(f"{key}={_on_one_line(value)}" for key, value in fields.items() if key != "event")
        text = f"{_time(record)} {_level(record):7} {record.getMessage()}" + (f"  [{told}]" if told else "")
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _JsonFormatter(_Formatter):
    def line(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": _level(record),
            "message": record.getMessage(),
            "timestamp": _time(record),
            **self.tags,
            **_fields(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= _error_fields(record.exc_info[1], self.formatException(record.exc_info))
        return msgspec.json.encode(line, enc_hook=str).decode()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _on_one_line(value: object) -> str:
    """A field's text; line breaks and other controls are written out, for a client's own words could forge a line with them."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _error_fields(error: BaseException, stack: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": type(error).__name__, "stack": stack, "is_service_error": False}
    if isinstance(error, SynclineError):
        fields["is_service_error"] = True
        fields["errorData"] = {
            "name": type(error).__name__,
            "code": error.error_code,
            "status": error.status,
            "description": error.message,
            **({"details": error.details} if error.details else {}),
        }
    return fields


def _level(record: logging.LogRecord) -> str:
    return _level_name(record.levelno)


@functools.cache  # few levels, and a line of the log for each stream that is opened
def _level_name(level: int) -> str:
    """The reference's name of a level: `warn`, not `warning`."""
    return next((name for number, name in _LEVEL_NAMES if level >= number), "silly")


def _time(record: logging.LogRecord) -> str:
    ms = int(record.created * 1000)
    return f"{_second(ms // 1000)}.{ms % 1000:03}Z"


@functools.lru_cache(maxsize=2)  # lines come in the order of their times
def _second(seconds: int) -> str:
    """A second since 1970 as the log writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
