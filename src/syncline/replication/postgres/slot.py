"""The replication slot: the source's promise to keep its log for us."""

from __future__ import annotations

import asyncio

import psycopg

from syncline.errors import SlotLost, SourceUnavailable
from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.lsn import pad_lsn
from syncline.replication.source import SlotState

__all__ = ["check_slot_reaches", "create_slot", "drop_slot", "free_slot", "idle_slots", "slot_state"]

RELEASE_TIMEOUT_S = 10.0  # seconds for a walsender to end after it was told to
RELEASE_POLL_S = 0.02


async def create_slot(connection: psycopg.AsyncConnection[Row], name: str) -> None:
    """Make a permanent logical slot. Waits for every write transaction that is open in the cluster: Postgres has it so."""
    await connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))


async def slot_state(connection: psycopg.AsyncConnection[Row], name: str) -> SlotState:
    """Whether the slot is there and its log too."""
    cursor = await connection.execute("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", (name,))
    row = await cursor.fetchone()
    if row is None:
        return SlotState.MISSING
    return SlotState.LOST if row[0] == "lost" else SlotState.VALID


async def check_slot_reaches(connection: psycopg.AsyncConnection[Row], name: str, position: str) -> None:
    """Raise SlotLost when the source may have forgotten what follows `position`: somebody acknowledged more than is stored here.

    That is so after the storage was restored from an older copy. Postgres itself would begin at the slot's position without a word.
    """
    cursor = await connection.execute(
        "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s", (name,)
    )
    row = await cursor.fetchone()
    if row is not None and row[0] is not None and pad_lsn(row[0]) > position:
        raise SlotLost(f"The replication slot {name} is at {pad_lsn(row[0])}, past the stored position {position}.")


async def idle_slots(connection: psycopg.AsyncConnection[Row], prefix: str) -> list[str]:
    """Slots of this database whose names begin with `prefix` and that nobody streams from."""
    cursor = await connection.execute(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT active"
        " AND starts_with(slot_name, %s) ORDER BY slot_name",
        (prefix,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def free_slot(connection: psycopg.AsyncConnection[Row], name: str) -> None:
    """End a walsender that still holds the slot: a killed service's connection can outlive it for a minute."""
    for _ in range(int(RELEASE_TIMEOUT_S / RELEASE_POLL_S)):
        cursor = await connection.execute(
            "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s AND active", (name,)
        )
        row = await cursor.fetchone()
        if row is None:
            return
        await connection.execute("SELECT pg_terminate_backend(%s)", (row[0],))
        await asyncio.sleep(RELEASE_POLL_S)
    raise SourceUnavailable(f"The replication slot {name} is still held by another connection.")


async def drop_slot(connection: psycopg.AsyncConnection[Row], name: str) -> None:
    """Drop the slot if it is there."""
    if await slot_state(connection, name) is not SlotState.MISSING:
        await free_slot(connection, name)
        await connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))
