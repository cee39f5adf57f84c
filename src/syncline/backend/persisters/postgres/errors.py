"""SQLSTATE to verdicts (write path reference, 5, "Error classification")."""

from __future__ import annotations

import psycopg

from syncline.backend.persisters.base import RetryLater, UnknownFailure, WriteRefused

__all__ = ["CONFLICTS", "PASSING", "is_conflict", "verdict_over"]

_NAMED = {
    "23502": "NOT_NULL_VIOLATION",
    "23503": "FOREIGN_KEY_VIOLATION",
    "23505": "UNIQUE_VIOLATION",
    "23514": "CHECK_VIOLATION",
    "42501": "UNAUTHORIZED",  # insufficient privilege is no mistake in the schema
}
_CLASSES = {"23": "CONSTRAINT_VIOLATION", "22": "INVALID_DATA", "42": "SCHEMA_MISMATCH"}
CONFLICTS = ("40001", "40P01")  # another transaction was in the way
# Connection, rollback, resources, intervention, system, a lock that was not to be had, an object in use: may go through later.
PASSING = ("08", "40", "53", "57", "58", "55P03", "55006")


_TOO_LARGE = "54"  # for an index, or for another limit of Postgres: it always will be
_OF_THE_APP = "6789IJKLMNOPQRSTUVWXYZ"  # first characters of codes that are no standard's: RAISE EXCEPTION gives P0001


def is_conflict(exc: psycopg.Error) -> bool:
    """Whether another transaction was in the way: try again at once."""
    return exc.sqlstate in CONFLICTS


def verdict_over(exc: psycopg.Error, *, operation_index: int | None) -> WriteRefused | RetryLater:
    """What to tell the client. The database's own text stays in our log: it may quote values."""
    state = exc.sqlstate
    if state is None and isinstance(exc, (psycopg.DataError, psycopg.ProgrammingError)):
        # The driver itself refused it, as it always will: a retry would block the device's queue for ever.
        return WriteRefused(
            "INVALID_DATA", "The write cannot be sent to the database.", operation_index=operation_index
        )
    if state is None or state.startswith(PASSING):
        return RetryLater("The database cannot take the write at the moment.")
    code = _NAMED.get(state) or _CLASSES.get(state[:2]) or "UNCLASSIFIED_ERROR"
    detail = exc.diag.constraint_name or exc.diag.column_name or ""
    message = f"The database refused the write ({state}{', ' + detail if detail else ''})."
    deliberate = state[0] in _OF_THE_APP and not state.startswith("XX")
    if code == "UNCLASSIFIED_ERROR" and not deliberate and not state.startswith(_TOO_LARGE):
        return UnknownFailure(message, error_code=code, operation_index=operation_index)
    return WriteRefused(code, message, operation_index=operation_index)
