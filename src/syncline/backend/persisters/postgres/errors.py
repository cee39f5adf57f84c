"""SQLSTATE to verdicts (write path reference, 5, "Error classification")."""

from __future__ import annotations

import psycopg

from syncline.backend.persisters.base import RetryLater, WriteRefused

__all__ = ["is_conflict", "verdict_over"]

_NAMED = {
    "23502": "NOT_NULL_VIOLATION",
    "23503": "FOREIGN_KEY_VIOLATION",
    "23505": "UNIQUE_VIOLATION",
    "23514": "CHECK_VIOLATION",
    "42501": "UNAUTHORIZED",  # insufficient privilege is no mistake in the schema
}
_CLASSES = {"23": "CONSTRAINT_VIOLATION", "22": "INVALID_DATA", "42": "SCHEMA_MISMATCH"}
_PASSING = ("08", "40", "53", "57", "58")  # connection, rollback, resources, intervention, system: may go through later


def is_conflict(exc: psycopg.Error) -> bool:
    """Whether another transaction was in the way: try again at once."""
    return exc.sqlstate in ("40001", "40P01")


def verdict_over(exc: psycopg.Error, *, operation_index: int | None) -> WriteRefused | RetryLater:
    """What to tell the client. The database's own text stays in our log: it may quote values."""
    state = exc.sqlstate
    if state is None and isinstance(exc, (psycopg.DataError, psycopg.ProgrammingError)):
        # The driver itself refused it, as it always will: a retry would block the device's queue for ever.
        return WriteRefused(
            "INVALID_DATA", "The write cannot be sent to the database.", operation_index=operation_index
        )
    if state is None or state.startswith(_PASSING):
        return RetryLater("The database cannot take the write at the moment.")
    code = _NAMED.get(state) or _CLASSES.get(state[:2]) or "UNCLASSIFIED_ERROR"
    detail = exc.diag.constraint_name or exc.diag.column_name or ""
    message = f"The database refused the write ({state}{', ' + detail if detail else ''})."
    return WriteRefused(code, message, operation_index=operation_index)
