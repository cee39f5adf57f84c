"""The app's hooks around a write, inside its database transaction."""

from __future__ import annotations

from typing import Any

import psycopg

from syncline.backend.persisters.base import Write
from syncline.backend.persisters.postgres.errors import is_conflict, verdict_over

__all__ = ["after_write", "before_write"]

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def before_write(connection: Connection, write: Write) -> None:
    """Call `before_op`, if there is one. Raises WriteRefused, RetryLater, and psycopg.Error for a conflict."""
    hooks = write.context.operation_hooks
    if hooks is None or write.procedure is not None:  # a call is no row; the rows that it writes are
        return
    try:
        await hooks.before(connection, write, passing=(psycopg.Error,))
    except psycopg.Error as exc:
        raise _judged(exc, write) from exc


async def after_write(connection: Connection, write: Write) -> None:
    """Call `after_op`, if there is one. Raises as `before_write`."""
    hooks = write.context.operation_hooks
    if hooks is None or write.procedure is not None:
        return
    try:
        await hooks.after(connection, write, passing=(psycopg.Error,))
    except psycopg.Error as exc:
        raise _judged(exc, write) from exc


def _judged(exc: psycopg.Error, write: Write) -> Exception:
    """A hook's statements are judged as those of its write are."""
    return exc if is_conflict(exc) else verdict_over(exc, operation_index=write.index)
