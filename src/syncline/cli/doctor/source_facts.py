"""Everything that the checks of the source want to know, asked over one connection of the service's role. Nothing is changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from syncline import __version__
from syncline.errors import SourceError
from syncline.replication.inspection import SQL_TIMEOUT_S, SourceTable
from syncline.replication.postgres.checks import MissingSetup, missing_by_part
from syncline.replication.postgres.connection import connect, source_errors
from syncline.replication.postgres.inspector import PostgresInspector
from syncline.replication.postgres.source import PUBLICATION
from syncline.service.conninfo import conninfo
from syncline.storage.postgres.statements import DEFAULT_SCHEMA

if TYPE_CHECKING:
    from syncline.service.config import ServiceConfig

__all__ = ["Slot", "SourceFacts", "ask_source", "wait_for_readers"]

POLL_S = 0.2  # seconds between two looks at a slot
_NAME = f"syncline/{__version__} doctor"
_IDLE = "SELECT slot_name FROM pg_replication_slots WHERE slot_name = ANY (%s) AND NOT active ORDER BY slot_name"

_SLOTS = """
SELECT slot_name, coalesce(database, ''), database = current_database(), active, coalesce(wal_status, ''),
       coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn), 0)::bigint
  FROM pg_replication_slots ORDER BY slot_name
"""
_NOW = """
SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('max_replication_slots')::int,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = 'powersync')
"""


class Slot(NamedTuple):
    """A replication slot of the cluster. `kept_bytes` of log lie there for it."""

    name: str
    database: str
    is_of_this_database: bool
    active: bool
    wal_status: str
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the source said. `ahead_s` is how far its clock is ahead of ours; `refusal` why no replication connection is let in."""

    setup: MissingSetup
    tables: Sequence[SourceTable]
    slots: Sequence[Slot]
    slots_max: int
    ahead_s: float
    has_powersync_schema: bool
    refusal: SourceError | None = None


def ask_source(config: ServiceConfig) -> SourceFacts:
    """Ask. Raises SourceError, ConfigError where it cannot be asked at all."""
    with contextlib.ExitStack() as closing:
        return asyncio.run(_ask(config, conninfo(config.source, closing)))


def wait_for_readers(config: ServiceConfig, slots: Sequence[str], timeout_s: float) -> list[str]:
    """Which of these slots nobody reads from, for that long. Raises SourceError."""
    with contextlib.ExitStack() as closing:
        return asyncio.run(_wait_for_readers(conninfo(config.source, closing), slots, timeout_s))


async def _wait_for_readers(connection_string: str, slots: Sequence[str], timeout_s: float) -> list[str]:
    deadline_s = time.monotonic() + timeout_s
    connection = await connect(connection_string, application_name=_NAME)
    try:
        with source_errors():
            while True:
                rows = await (await connection.execute(_IDLE, (list(slots),))).fetchall()
                if not rows or time.monotonic() >= deadline_s:
                    return [row[0] for row in rows]
                await asyncio.sleep(POLL_S)
    finally:
        await connection.close()


async def _ask(config: ServiceConfig, connection_string: str) -> SourceFacts:
    connection = await connect(connection_string, application_name=_NAME)
    try:
        with source_errors():
            await connection.execute("SELECT set_config('statement_timeout', %s, false)", (f"{SQL_TIMEOUT_S:.0f}s",))
            setup = await missing_by_part(connection, PUBLICATION, config.slot_name_prefix)
            slots = [Slot(*row) for row in await (await connection.execute(_SLOTS)).fetchall()]
            asked_s = time.time()
            row = await (await connection.execute(_NOW)).fetchone()
            assert row is not None
            ahead_s = row[0] - (asked_s + time.time()) / 2  # half of the way there and back
    finally:
        await connection.close()
    storage = config.storage_postgres.schema if config.storage_postgres else DEFAULT_SCHEMA
    inspector = PostgresInspector(connection_string, publication=PUBLICATION, ignored_schema=storage)
    tables = await inspector.tables()
    refusal = await _refusal(connection_string) if not setup.settings else None
    return SourceFacts(setup, tables, slots, row[1], ahead_s, row[2], refusal)


async def _refusal(connection_string: str) -> SourceError | None:
    """Why no replication connection is let in: pg_hba.conf has lines of its own for these."""
    try:
        stream = await connect(connection_string, application_name=_NAME, replication=True)
    except SourceError as exc:
        return exc
    await stream.close()
    return None
