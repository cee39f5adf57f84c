"""The newest warnings and errors of this process, for people who have no access to its log."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from syncline.api.admin.status import iso_time
from syncline.api.dashboard.limits import ERROR_CHARACTERS_MAX, ERRORS_KEPT

__all__ = ["RecentErrors"]


class RecentErrors(logging.Handler):
    """A handler that keeps the ERRORS_KEPT newest records from WARNING on. `clear` takes passwords and tokens out of a text."""

    def __init__(self, clear: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self._clear = clear
        self._kept: deque[dict[str, Any]] = deque(maxlen=ERRORS_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what a record says: its time, level, text and event; never its other fields, which may name users."""
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text = f"{text}: {record.exc_info[1]!r}"
            self._kept.append(
                {
                    "at": iso_time(int(record.created * 1000)),
                    "level": "warning" if record.levelno < logging.ERROR else "error",
                    "message": self._clear(text)[:ERROR_CHARACTERS_MAX],
                    "event": getattr(record, "event", ""),
                    "code": getattr(record, "code", ""),
                }
            )
        except Exception:
            self.handleError(record)

    def newest(self) -> list[dict[str, Any]]:
        """What is kept, the newest first."""
        return list(reversed(self._kept))
