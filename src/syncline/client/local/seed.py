"""A copy of a synced file to ship with an app, so that its first start needs no long download (client API reference, pre-seeding)."""

# ruff: noqa: S608 - our own and quoted names

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import apsw

from syncline.client.errors import PendingWrites
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.local.data_tables import data_tables
from syncline.client.local.sql_text import quote_identifier
from syncline.client.local.subkeys import MIGRATED_SUBKEYS

__all__ = ["write_seed"]


def write_seed(
    connection: apsw.Connection, path: str | os.PathLike[str], *, private_tables: Iterable[str] = ()
) -> None:
    """Write a compact copy without client id, account, subscriptions and local-only rows; outside of a transaction.

    `private_tables` are emptied too, where the file has them.

    Whoever opens a copy gets a client id of their own. Ship only what every user may see. An encrypted file makes an encrypted copy
    with the same key. Raises PendingWrites while local writes wait for their upload: every copy would send them; FileExistsError
    when `path` exists.
    """
    target = Path(path)
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    count, _ = CrudQueue(connection).stats()
    if count:
        raise PendingWrites(count)
    connection.execute("VACUUM INTO ?", (os.fspath(target),)).fetchall()
    # Attached rather than opened: so it has the key of this connection.
    connection.execute("ATTACH ? AS seed", (os.fspath(target),)).fetchall()
    try:
        _make_anonymous(connection, private_tables)
        connection.execute("VACUUM seed").fetchall()
    finally:
        connection.execute("DETACH seed").fetchall()


def _make_anonymous(connection: apsw.Connection, private_tables: Iterable[str]) -> None:
    existing = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM seed.ps_kv WHERE key <> ?", (MIGRATED_SUBKEYS,))
        connection.execute("DELETE FROM seed.ps_stream_subscriptions WHERE ttl IS NOT NULL")
        for table in (*data_tables(connection, local=True), *(existing & set(private_tables))):
            connection.execute(f"DELETE FROM seed.{quote_identifier(table)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
