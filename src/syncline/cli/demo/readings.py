"""Reading what the page shows: one state of a device's file, one state of Postgres."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from syncline.backend import DeadLetterFilter, DeadLetterState
from syncline.cli.demo.devices import Device
from syncline.cli.demo.model import CONFLICTS_TABLE, NAMES
from syncline.cli.demo.stack import Stack
from syncline.cli.demo.state import (
    CHANGES_SHOWN_MAX,
    ROWS_SHOWN_MAX,
    DeviceRows,
    DeviceState,
    LetterShown,
    PostgresState,
    device_state,
    lists_shown,
)
from syncline.client.rejections import REJECTIONS_TABLE

__all__ = ["WATCH_CHANNEL", "WATCH_SQL", "read_device", "read_postgres"]

WATCH_CHANNEL = "demo_changed"
_WATCHED = ("lists", "todos", "syncline_dead_letters")
WATCH_SQL = f"""
CREATE FUNCTION demo_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY {WATCH_CHANNEL}; RETURN NULL; END $$;
""" + "".join(
    f"CREATE TRIGGER demo_changed AFTER INSERT OR UPDATE OR DELETE ON {table} EXECUTE FUNCTION demo_changed();\n"
    for table in _WATCHED
)
"""Has Postgres say that something has changed. For the page alone: replication does not need it."""

_LISTS = f"SELECT id, name, owner_id FROM lists ORDER BY created_at, name LIMIT {ROWS_SHOWN_MAX}"  # noqa: S608 - our own names
# What was written on this device has no `created_at` until it comes back, and is the newest until then.
_DEVICE_LISTS = (
    f"SELECT id, name, owner_id FROM lists ORDER BY created_at IS NULL, created_at, name LIMIT {ROWS_SHOWN_MAX}"  # noqa: S608 - our own names
)
_DEVICE_TODOS = f"""
SELECT id, list_id, description, completed FROM todos
ORDER BY created_at IS NULL, created_at, description LIMIT {ROWS_SHOWN_MAX}
"""  # noqa: S608 - of constants
_DEVICE_REJECTIONS = f"""
SELECT id, code, message, operations FROM {REJECTIONS_TABLE} WHERE resolved = 0 ORDER BY created_at, id LIMIT {CHANGES_SHOWN_MAX}
"""  # noqa: S608 - of constants
_DEVICE_CONFLICTS = f"""
SELECT id, client_data, server_data FROM {CONFLICTS_TABLE} WHERE resolved = 0 ORDER BY created_at, id LIMIT {CHANGES_SHOWN_MAX}
"""  # noqa: S608 - of constants
_DEVICE_QUEUE = f"SELECT id, tx_id, data FROM ps_crud ORDER BY id LIMIT {CHANGES_SHOWN_MAX}"  # noqa: S608 - our own names
_COUNT_ROWS = "SELECT (SELECT count(*) FROM lists) + (SELECT count(*) FROM todos) AS count"

_POSTGRES_LISTS = _LISTS.replace("id, name, owner_id", "id::text, name, owner_id::text")
_POSTGRES_TODOS = f"""
SELECT id::text, list_id::text, description, completed FROM todos ORDER BY created_at, description LIMIT {ROWS_SHOWN_MAX}
"""  # noqa: S608 - of constants


async def read_device(device: Device) -> DeviceState:
    """The device as it is now."""
    async with device.db.read_transaction() as tx:

        async def rows(sql: str) -> list[Any]:
            return [row.as_dict() for row in await tx.get_all(sql)]

        read = DeviceRows(
            lists=await rows(_DEVICE_LISTS),
            todos=await rows(_DEVICE_TODOS),
            rejections=await rows(_DEVICE_REJECTIONS),
            conflicts=await rows(_DEVICE_CONFLICTS),
            queue=[(row["id"], row["tx_id"], row["data"]) for row in await tx.get_all(_DEVICE_QUEUE)],
            row_count=(await tx.get(_COUNT_ROWS))["count"],
            queue_count=(await tx.get("SELECT count(*) AS count FROM ps_crud"))["count"],
        )
    return device_state(
        key=device.key,
        name=device.name,
        user=device.user_name,
        online=device.online,
        status=device.db.current_status,
        rows=read,
        names=NAMES,
    )


async def read_postgres(connection: psycopg.AsyncConnection[Any], stack: Stack) -> PostgresState:
    """The source's tables, and the backend's dead letters that nobody has settled."""
    cursor = connection.cursor(row_factory=dict_row)
    lists = await (await cursor.execute(_POSTGRES_LISTS.encode())).fetchall()
    todos = await (await cursor.execute(_POSTGRES_TODOS.encode())).fetchall()
    count = await (await cursor.execute(_COUNT_ROWS.encode())).fetchone()
    letters = await stack.backend.dead_letters.list(
        DeadLetterFilter(state=DeadLetterState.OPEN), limit=CHANGES_SHOWN_MAX
    )
    return PostgresState(
        lists=lists_shown(lists, todos, NAMES),
        row_count=0 if count is None else count["count"],
        letters=[
            LetterShown(
                letter.id,
                NAMES.get(letter.user_id, letter.user_id),
                letter.code,
                letter.message,
                [f"{entry.op} {entry.table}" for entry in letter.transaction.crud],
            )
            for letter in letters
        ],
    )
