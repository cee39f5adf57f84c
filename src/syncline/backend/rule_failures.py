"""Failures of the app's own rules and strategies: the device keeps its write, the log says where, and nobody sees values."""

from __future__ import annotations

import logging
import traceback

from syncline.backend.persisters.base import RetryLater

__all__ = ["rule_failed"]

log = logging.getLogger(__name__)


def rule_failed(exc: Exception, table: str) -> RetryLater:
    """What to raise for an exception of the app's own code: a bug or a passing failure, but no verdict over the write.

    Logged are the kind of error and its place, not its text, which may quote the row.
    """
    frames = traceback.extract_tb(exc.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    log.error(
        "A rule of the app failed: %s at %s",
        type(exc).__name__,
        place,
        extra={"event": "backend.rule_failed", "table": table},
    )
    return RetryLater("A rule of this backend failed.")
