"""Errors of the driver as storage's own: with a code, and with what to do where a person has to."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import psycopg

from syncline.errors import StorageError, StorageUnavailable
from syncline.tls import tls_hint

__all__ = ["storage_errors"]

_HINTS = {
    "53100": "The disk of the storage database is full: make room, or drop what is not needed. Replication goes on by itself then.",
    "53300": "Raise max_connections of the storage database, or lower storage.max_pool_size.",
    "25006": "The server is read-only: connect to the primary, and check storage.hostname after a failover.",
    "42501": "The role needs the right to make the schema. Run on the storage database, as its owner:\n"
    "GRANT CREATE ON DATABASE {database} TO {role};",
    "28P01": "Check storage.username and storage.password.",
    "28000": "Check storage.username, and that pg_hba.conf lets it in.",
    "3D000": "Make the database, or check storage.database.",
}
"""By SQLSTATE: what the operator does. Others pass by themselves, or say enough."""


@contextmanager
def storage_errors(*, database: str = "", role: str = "") -> Generator[None]:
    """Raise errors of the driver as StorageUnavailable. Messages of libpq name host and user, never the password."""
    try:
        yield
    except StorageError:
        raise
    except psycopg.Error as exc:
        state = exc.sqlstate or ""
        text = _first_line(exc)
        hint = tls_hint(text) or _HINTS.get(state, "").format(database=database or "…", role=role or "…")
        raise StorageUnavailable(f"The storage database answered: {text}", hint=hint, sqlstate=state) from exc


def _first_line(exc: psycopg.Error) -> str:
    """What went wrong, without the details: those may quote values of rows."""
    text = exc.diag.message_primary or str(exc).strip()
    return text.splitlines()[0] if text else type(exc).__name__
