"""Failures of the app's own rules, strategies and hooks: the device keeps its write, the log says where, and nobody sees values."""

from __future__ import annotations

import logging
import traceback

from syncline.backend.persisters.base import UnknownFailure

__all__ = ["log_failure", "rule_failed"]

log = logging.getLogger(__name__)


def rule_failed(exc: Exception, table: str) -> UnknownFailure:
    """What to raise for an exception of the app's own code: a bug or a passing failure, but no verdict over the write."""
    log_failure(exc, "A rule of the app failed", table=table)
    return UnknownFailure("A rule of this backend failed.")


def log_failure(exc: BaseException, what: str, **fields: str) -> None:
    """Log the kind of an error and its place, but not its text, which may quote the row. `fields` go into the record."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    log.error("%s: %s at %s", what, type(exc).__name__, place, extra={"event": "backend.rule_failed", **fields})
