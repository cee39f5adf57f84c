"""Limits of the backend toolkit, each with its unit and reason."""

from __future__ import annotations

__all__ = [
    "BODY_BYTES_MAX",
    "CLIENT_ID_CHARACTERS_MAX",
    "CONFLICT_ATTEMPTS_MAX",
    "NAME_CHARACTERS_SHOWN_MAX",
    "POOL_CONNECTIONS_MAX",
    "RETRY_AFTER_MS",
    "TRANSACTION_SECONDS_MAX",
    "UPLOADS_KEPT_DAYS",
]

BODY_BYTES_MAX = 16 * 1024 * 1024  # bytes of one upload: 50 transactions of a busy device, and room for one large row
CLIENT_ID_CHARACTERS_MAX = 200  # characters of a client id; ours are UUIDs, and an index row has room for 2,700 bytes
CONFLICT_ATTEMPTS_MAX = 5  # attempts at a transaction that the database ended for a conflict (40001, 40P01)
NAME_CHARACTERS_SHOWN_MAX = 63  # characters of an unknown name that a message repeats; a name in Postgres has no more
POOL_CONNECTIONS_MAX = 8  # database connections of one process
RETRY_AFTER_MS = 1000  # milliseconds that a client should wait after an error that may pass
TRANSACTION_SECONDS_MAX = 30.0  # seconds for one client transaction: a silent database must not hold the device
UPLOADS_KEPT_DAYS = 30  # days that the verdict over an upload is kept; a device that repeats one later applies it again
