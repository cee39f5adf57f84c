"""Connections to the storage database, with the settings that all of them share."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from syncline.errors import StorageUnavailable
from syncline.storage.postgres.errors import storage_errors

__all__ = ["VERSION_MIN", "Row", "check_server", "connect", "connect_async"]

Row = tuple[Any, ...]
VERSION_MIN = 140000  # the oldest server that is tested; older ones cannot be the source either

# A peer that is gone without a word is noticed within about ten seconds, also while we wait for an answer.
_LIVENESS: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

# Every statement of ours finds its rows by key. A table that was filled a moment ago has no statistics, from which the planner
# would conclude to read all of it.
_OPTIONS = (
    "-c search_path= -c TimeZone=UTC -c jit=off -c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off"
    " -c enable_mergejoin=off -c max_parallel_workers_per_gather=0 -c idle_in_transaction_session_timeout=60000"
)


def connect(conninfo: str, *, application_name: str) -> psycopg.Connection[Row]:
    """A blocking autocommit connection. Raises StorageUnavailable."""
    text = _complete(conninfo, application_name)
    with storage_errors():
        connection = psycopg.connect(text, autocommit=True)
    try:
        check_server(connection.info)
    except StorageUnavailable:
        connection.close()
        raise
    return connection


async def connect_async(conninfo: str, *, application_name: str) -> psycopg.AsyncConnection[Row]:
    """An asynchronous autocommit connection. Raises StorageUnavailable."""
    text = _complete(conninfo, application_name)
    with storage_errors():
        return await psycopg.AsyncConnection.connect(text, autocommit=True)


def check_server(info: psycopg.ConnectionInfo) -> None:
    """Raise StorageUnavailable where the server cannot hold a storage."""
    if info.server_version < VERSION_MIN:
        raise StorageUnavailable(
            f"The storage database runs Postgres {info.server_version // 10000}; 14 or newer is needed.",
            code="PSYNC_S1144",
            hint="Upgrade the server, or keep the storage in another one.",
        )
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StorageUnavailable(
            f"The storage database has the encoding {encoding}; row data are UTF-8.",
            hint="Make a database of its own for the storage:\nCREATE DATABASE syncline ENCODING 'UTF8' TEMPLATE template0;",
        )


def _complete(conninfo: str, application_name: str) -> str:
    options = f"{conninfo_to_dict(conninfo).get('options') or ''} {_OPTIONS}".strip()
    return make_conninfo(
        conninfo, options=options, application_name=application_name, client_encoding="UTF8", **_LIVENESS
    )
