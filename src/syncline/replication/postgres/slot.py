"""The replication slot: the source's promise to keep its log for us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import psycopg

from syncline.errors import SlotLost, SourceUnavailable
from syncline.replication.inspection import SlotReport
from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.lsn import pad_lsn
from syncline.replication.source import SlotState

__all__ = [
    "catalog_xmin",
    "check_slot_reaches",
    "create_slot",
    "drop_slot",
    "free_slot",
    "idle_slots",
    "slot_budget",
    "slot_report",
    "slot_state",
]

RELEASE_TIMEOUT_S = 10.0  # seconds for a walsender to end after it was told to
RELEASE_POLL_S = 0.02
CREATE_WAIT_TOLD_S = (
    5.0  # seconds that making a slot may take before we say what it waits for, and between looks at that
)


async def create_slot(
    connection: psycopg.AsyncConnection[Row],
    name: str,
    *,
    lookups: psycopg.AsyncConnection[Row],
    tell: Callable[[str], None] | None,
) -> None:
    """Make a permanent logical slot. Waits for every write transaction that is open in the cluster: Postgres has it so.

    While it waits, `tell` hears whom for, asked through `lookups`.
    """
    creating = asyncio.ensure_future(
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    )
    try:
        while not (await asyncio.wait({creating}, timeout=CREATE_WAIT_TOLD_S))[0]:
            if tell is not None:
                tell(await _waits_for(lookups, connection.info.backend_pid))
    except BaseException:
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)
        raise
    await creating


_BLOCKING = """
SELECT a.pid, a.usename, a.datname, a.application_name, extract(epoch FROM now() - a.xact_start)::int, a.state
  FROM pg_stat_activity a
 WHERE a.pid = ANY (pg_blocking_pids(%s)) OR (a.backend_xid IS NOT NULL AND a.pid <> %s AND a.pid <> pg_backend_pid())
 ORDER BY a.pid = ANY (pg_blocking_pids(%s)) DESC, a.xact_start LIMIT 1
"""
_PREPARED = "SELECT gid, owner, database, extract(epoch FROM now() - prepared)::int FROM pg_prepared_xacts ORDER BY prepared LIMIT 1"


async def _waits_for(connection: psycopg.AsyncConnection[Row], pid: int) -> str:
    """A sentence about the transaction that the creation of a slot by the backend `pid` waits for."""
    row = await (await connection.execute(_BLOCKING, (pid, pid, pid))).fetchone()
    if row is not None:
        blocker, user, database, application, age_s, state = row
        return (
            f"The replication slot can be made when a transaction has ended that is open for {age_s} s: process {blocker}"
            f" ({state}) of user {user} in database {database}, application {application or 'unnamed'}."
            f" To end it: SELECT pg_terminate_backend({blocker});"
        )
    row = await (await connection.execute(_PREPARED)).fetchone()
    if row is not None:
        gid, user, database, age_s = row
        return (
            f"The replication slot can be made when a prepared transaction has ended that is open for {age_s} s: {gid!r} of user"
            f" {user} in database {database}."
        )
    return "The replication slot is being made; the source does not say what it waits for."


async def slot_state(connection: psycopg.AsyncConnection[Row], name: str) -> SlotState:
    """Whether the slot is there and its log too."""
    cursor = await connection.execute("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", (name,))
    row = await cursor.fetchone()
    if row is None:
        return SlotState.MISSING
    return SlotState.LOST if row[0] == "lost" else SlotState.VALID


async def slot_budget(connection: psycopg.AsyncConnection[Row], name: str) -> float | None:
    """What is left of `max_slot_wal_keep_size` for the slot, 1 to 0; None without such a limit, or without the slot."""
    cursor = await connection.execute(
        "SELECT greatest(s.safe_wal_size, 0) / (g.setting::float8 * 1048576), s.wal_status"
        " FROM pg_replication_slots s, pg_settings g"
        " WHERE s.slot_name = %s AND g.name = 'max_slot_wal_keep_size' AND g.setting::bigint > 0",
        (name,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return 0.0 if row[1] in ("unreserved", "lost") else row[0]


async def slot_report(connection: psycopg.AsyncConnection[Row], names: Sequence[str]) -> dict[str, SlotReport]:
    """How these slots are, for people; one that is not there is absent."""
    cursor = await connection.execute(
        "SELECT s.slot_name, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.confirmed_flush_lsn)::bigint, s.wal_status,"
        " s.safe_wal_size, CASE WHEN g.setting::bigint >= 0 THEN g.setting::bigint * 1048576 END"
        " FROM pg_replication_slots s, pg_settings g"
        " WHERE s.slot_name = ANY (%s) AND g.name = 'max_slot_wal_keep_size'",
        (list(names),),
    )
    return {row[0]: SlotReport(*row[1:]) for row in await cursor.fetchall()}


async def catalog_xmin(connection: psycopg.AsyncConnection[Row], name: str) -> str:
    """Every transaction before this one had ended when the slot was made (or was streamed from last). Raises SlotLost."""
    cursor = await connection.execute(
        "SELECT catalog_xmin::text, wal_status FROM pg_replication_slots WHERE slot_name = %s", (name,)
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None or row[1] == "lost":
        raise SlotLost(
            f"The replication slot {name} was lost while tables were copied.",
            hint="Its log grew beyond max_slot_wal_keep_size: allow the source more, enough for the time of a whole copy.",
        )
    return row[0]


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
