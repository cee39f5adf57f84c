"""What is in a client's file: tables, buckets, sync state, queue, sizes, and whether it is sound (client SQLite reference, 1 and 8)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from syncline.cli.device_file.opening import reading
from syncline.cli.exit_codes import CommandFailed
from syncline.client.core.status import time_of
from syncline.client.dead_letters import count_dead_letters
from syncline.client.local.buckets import FULL_SYNC_PRIORITY
from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue
from syncline.client.local.data_tables import LOCAL_PREFIX, SYNCED_PREFIX, data_tables
from syncline.client.local.sql_text import quote_identifier
from syncline.protocol.ops import to_unsigned32

__all__ = ["PROBLEMS_MAX", "summary_of"]

PROBLEMS_MAX = 20  # lines of SQLite's integrity check, and buckets, that are told
LAYOUT_OLDEST = 10  # of what is read here; the clients of years ago wrote others
MICROSECONDS_FROM = 10**12  # a smaller time is in seconds: as microseconds it would be in January 1970
_OWN_TABLES = ("ps_", "sqlite_", "syncline_")

_BUCKETS = """
SELECT b.name, b.last_op, b.last_applied_op, b.count_at_last + b.count_since_last, b.downloaded_size, b.pending_delete,
  b.op_checksum, count(o.op_id), ifnull(sum(o.hash), 0), count(DISTINCT o.row_type || '/' || o.row_id)
FROM ps_buckets b LEFT JOIN ps_oplog o ON o.bucket = b.id
GROUP BY b.id ORDER BY b.name
"""
_BUCKETS_BEFORE_11 = _BUCKETS.replace("b.downloaded_size", "NULL")  # the column came later (client SQLite reference, 1)


def summary_of(path: Path, key: str, *, check: bool) -> dict[str, Any]:
    """Everything as of one moment. `check`: read the whole file for damage too. Raises CommandFailed, apsw.Error."""
    with reading(path, key) as connection:
        version = _number(connection, "SELECT max(id) FROM ps_migration")
        if version < LAYOUT_OLDEST:
            raise CommandFailed(
                f"{path} has layout version {version}: older than what this command reads.",
                hint="Open a copy of it with the client once: that brings it up to date.",
            )
        pages = _bytes_by_table(connection)
        buckets, unsound = _buckets(connection)
        return {
            "file": str(path),
            "bytes": sum(_size(path.with_name(path.name + ending)) for ending in ("", "-wal")),
            "layout_version": version,
            "client_id": _key_value(connection, "client_id"),
            "tables": list(_tables(connection, pages)),
            "buckets": buckets,
            "sync": _sync_state(connection),
            "streams": _streams(connection),
            "queue": _queue(connection),
            "problems": unsound + (_damage(connection) if check else []),
        }


def _tables(connection: apsw.Connection, pages: dict[str, int]) -> Iterator[dict[str, Any]]:
    """The app's tables: those with JSON rows, rows of types without a table, and tables of its own."""
    for is_local, prefix, kind in ((False, SYNCED_PREFIX, "synced"), (True, LOCAL_PREFIX, "local only")):
        for name in sorted(data_tables(connection, local=is_local)):
            yield _table(connection, name.removeprefix(prefix), kind, name, pages)
    for row_type, count in connection.execute("SELECT type, count(*) FROM ps_untyped GROUP BY type ORDER BY type"):
        yield {"name": str(row_type), "kind": "synced, not in the schema", "rows": int(str(count)), "bytes": None}
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for name in (str(row[0]) for row in found):
        if not name.startswith(_OWN_TABLES):
            yield _table(connection, name, "of the app", name, pages)


def _table(connection: apsw.Connection, name: str, kind: str, stored: str, pages: dict[str, int]) -> dict[str, Any]:
    rows: int | None
    try:
        rows = _number(connection, f"SELECT count(*) FROM {quote_identifier(stored)}")  # noqa: S608 - quoted
    except apsw.SQLError:
        rows = None  # a virtual table whose module is not here
    return {"name": name, "kind": kind, "rows": rows, "bytes": pages.get(stored)}


def _bytes_by_table(connection: apsw.Connection) -> dict[str, int]:
    """Bytes of the pages of each table; nothing where this SQLite cannot tell."""
    try:
        rows = connection.execute("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE").fetchall()
    except apsw.SQLError:
        return {}
    return {str(name): int(str(size)) for name, size in rows}


def _buckets(connection: apsw.Connection) -> tuple[list[dict[str, Any]], list[str]]:
    """The buckets, and what is wrong with them: the sum of the stored rows' hashes is kept beside them."""
    buckets: list[dict[str, Any]] = []
    problems: list[str] = []
    columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(ps_buckets)").fetchall()}
    for row in connection.execute(_BUCKETS if "downloaded_size" in columns else _BUCKETS_BEFORE_11):
        name, last_op, applied, ops, size, pending_delete, checksum, stored, hashes, rows = row
        buckets.append(
            {
                "name": str(name),
                "rows": rows,
                "ops": ops,
                "ops_stored": stored,
                "bytes_downloaded": size,
                "last_op": str(last_op),
                "last_applied_op": str(applied),
                "is_leaving": bool(pending_delete),
            }
        )
        if to_unsigned32(int(str(checksum))) != to_unsigned32(int(str(hashes))):
            problems.append(f"bucket {name}: its rows do not have the checksum that is stored for them")
    return buckets, problems[:PROBLEMS_MAX]


def _sync_state(connection: apsw.Connection) -> dict[str, Any]:
    """When a checkpoint was applied last: the whole one, and those of single priorities since then."""
    rows = connection.execute("SELECT priority, last_synced_at FROM ps_sync_state ORDER BY priority").fetchall()
    found = {int(str(priority)): _time(at) for priority, at in rows}
    full = found.pop(FULL_SYNC_PRIORITY, None)
    return {"has_synced": full is not None, "last_synced_at": full, "priorities_since": found}


def _streams(connection: apsw.Connection) -> list[dict[str, Any]]:
    """Streams that were subscribed to, or come by default."""
    exists = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ps_stream_subscriptions'").fetchall()
    if not exists:
        return []
    return [
        {
            "stream": str(name),
            "parameters": json.loads(str(parameters)),
            "active": bool(active),
            "is_default": bool(is_default),
            "last_synced_at": _time(at),
        }
        for name, parameters, active, is_default, at in connection.execute(
            "SELECT stream_name, local_params, active, is_default, last_synced_at FROM ps_stream_subscriptions ORDER BY 1, 2"
        )
    ]


def _queue(connection: apsw.Connection) -> dict[str, Any]:
    queue = CrudQueue(connection)
    entries, size = queue.stats()
    target = queue.target()
    gate = "open" if target is None or target <= (queue.last_seen() or 0) else f"waits for write checkpoint {target}"
    if entries:
        gate = "closed: writes wait for their upload"
    elif target == TARGET_DIRTY:
        gate = "closed: a write checkpoint has to be requested"
    return {"entries": entries, "bytes": size, "refused": count_dead_letters(connection), "gate": gate}


def _damage(connection: apsw.Connection) -> list[str]:
    found = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({PROBLEMS_MAX})").fetchall()]
    return [] if found == ["ok"] else found


def _time(stored: object) -> str | None:
    """ISO time; layouts before 13 have seconds or SQLite's text, later ones microseconds (client SQLite reference, 1)."""
    if not isinstance(stored, int):
        return None if stored is None else str(stored)
    return time_of(stored if abs(stored) >= MICROSECONDS_FROM else stored * 1_000_000).isoformat()


def _number(connection: apsw.Connection, sql: str) -> int:
    [(value,)] = connection.execute(sql).fetchall()
    return int(str(value or 0))


def _key_value(connection: apsw.Connection, key: str) -> str | None:
    rows = connection.execute("SELECT value FROM ps_kv WHERE key = ?", (key,)).fetchall()
    return str(rows[0][0]) if rows else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
