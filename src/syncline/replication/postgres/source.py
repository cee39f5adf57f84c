"""Postgres as a source. Contract: `syncline.replication.source.Source`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

import psycopg

from syncline.errors import SlotLost
from syncline.metrics import ServiceMetrics
from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.beside import copy_beside, rows_by_key, wait_for_writers
from syncline.replication.postgres.catalog import PublishedTable, TypeCatalog, published_tables, with_definition
from syncline.replication.postgres.checks import check_source
from syncline.replication.postgres.connection import Row, connect, source_errors
from syncline.replication.postgres.head import emit_marker, read_head
from syncline.replication.postgres.history import check_history
from syncline.replication.postgres.slot import (
    catalog_xmin,
    check_slot_reaches,
    create_slot,
    drop_slot,
    free_slot,
    idle_slots,
    slot_budget,
    slot_state,
)
from syncline.replication.postgres.snapshot import copy_table
from syncline.replication.postgres.stream import ReplicationStream
from syncline.replication.source import ROWS_ASKED_MAX, Relation, SlotState, SnapshotChunk, SourceEvent
from syncline.storage.model import SnapshotProgress
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.value_format import EDITION_3_FORMAT, ValueFormat

__all__ = ["PUBLICATION", "PostgresSource"]

PUBLICATION = "powersync"
IGNORED_SCHEMA = "syncline"


class PostgresSource:
    """One database. `conninfo` is libpq's; the session settings that the converters need are added to it.

    `ignored_schema` is that of bucket storage, which may be in this database: what is written there is never replicated.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        application_name: str,
        publication: str = PUBLICATION,
        ignored_schema: str = IGNORED_SCHEMA,
        metrics: ServiceMetrics | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._application_name = application_name
        self._publication = publication
        self._ignored_schema = ignored_schema
        self._metrics = metrics or ServiceMetrics()
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._connecting = asyncio.Lock()  # the job's house keeping asks beside its stream
        self._catalog = TypeCatalog()
        self._published: dict[int, PublishedTable] = {}
        self._stream: ReplicationStream | None = None

    async def check(self) -> None:
        """Raise SourceNotReady, with the SQL to run, unless the source is set up for replication."""
        with source_errors():
            await check_source(await self._connected(), self._publication)

    async def identity(self) -> str:
        """System identifier, timeline and database."""
        with source_errors():
            connection = await self._connected()
            cursor = await connection.execute(
                "SELECT s.system_identifier, c.timeline_id, d.oid FROM pg_control_system() s, pg_control_checkpoint() c,"
                " pg_database d WHERE d.datname = current_database()"
            )
            row = await cursor.fetchone()
        assert row is not None
        return "/".join(str(part) for part in row)

    async def relations(self, patterns: Sequence[TablePattern]) -> list[Relation]:
        """The published tables that match."""
        with source_errors():
            connection = await self._connected()
            tables = await published_tables(
                connection, self._publication, patterns, ignored_schema=self._ignored_schema
            )
            type_ids = {column.type_id for table in tables for column in table.relation.columns}
            catalog = TypeCatalog()  # read anew: types are altered too; a stream keeps those that it began with
            await catalog.load(connection, type_ids)
        self._catalog = catalog
        self._published = {table.relation.id: table for table in tables}
        return [with_definition(table, catalog) for table in tables]

    async def create_slot(self, slot_name: str, *, tell: Callable[[str], None] | None = None) -> None:
        """Make the slot; `tell` hears what it waits for."""
        with source_errors():
            # A connection of its own: cancelled, it is closed, and nobody else waits behind it.
            connection = await connect(self._conninfo, application_name=f"{self._application_name} slot")
            try:
                await create_slot(connection, slot_name, lookups=await self._connected(), tell=tell)
            finally:
                await connection.close()

    async def slot_state(self, slot_name: str) -> SlotState:
        """Whether the slot can still be streamed from."""
        with source_errors():
            return await slot_state(await self._connected(), slot_name)

    async def slot_budget(self, slot_name: str) -> float | None:
        """How much of the log that the source keeps for the slot is left, 1 to 0; None where it keeps all."""
        with source_errors():
            return await slot_budget(await self._connected(), slot_name)

    async def idle_slots(self, prefix: str) -> list[str]:
        """Names of this database's slots that begin with `prefix` and that nobody streams from."""
        with source_errors():
            return await idle_slots(await self._connected(), prefix)

    async def drop_slot(self, slot_name: str) -> None:
        """Drop the slot if it is there, ending a walsender that still holds it."""
        with source_errors():
            await drop_slot(await self._connected(), slot_name)

    async def head(self) -> str:
        """The position of everything committed so far."""
        with source_errors():
            return await read_head(await self._connected())

    async def emit_marker(self) -> None:
        """Write a marker to the source's log."""
        with source_errors():
            await emit_marker(await self._connected())

    async def snapshot(
        self,
        relation: Relation,
        *,
        slot_name: str = "",
        resume: SnapshotProgress | None = None,
        value_format: ValueFormat = EDITION_3_FORMAT,
        published_later: bool = False,
        beside: bool = False,
    ) -> AsyncGenerator[SnapshotChunk]:
        """Copy the table's rows; `relation` is one that `relations` returned."""
        table = self._published.get(relation.id) or PublishedTable(relation, None)
        connection = await connect(self._conninfo, application_name=f"{self._application_name} snapshot")
        with source_errors():
            try:
                if published_later and resume is None:
                    await wait_for_writers(connection, relation)
                types = self._catalog.types
                if beside:
                    chunks = copy_beside(connection, table, types, value_format, resume=resume)
                else:
                    slot_xmin = await catalog_xmin(connection, slot_name) if slot_name else ""
                    chunks = copy_table(connection, table, types, value_format, slot_xmin=slot_xmin, resume=resume)
                async with contextlib.aclosing(chunks):
                    async for chunk in chunks:
                        yield chunk
            finally:
                await connection.close()

    async def rows(
        self,
        relation: Relation,
        keys: Sequence[tuple[SyncValue, ...]],
        *,
        value_format: ValueFormat = EDITION_3_FORMAT,
    ) -> list[tuple[SyncValue, ...]]:
        """The published rows that have these keys now."""
        assert len(keys) <= ROWS_ASKED_MAX, "callers ask in parts"
        table = self._published.get(relation.id) or PublishedTable(relation, None)
        with source_errors():
            connection = await connect(self._conninfo, application_name=f"{self._application_name} rows")
            try:
                return await rows_by_key(
                    connection, replace(table, relation=relation), self._catalog.types, value_format, keys
                )
            finally:
                await connection.close()

    async def stream(
        self,
        slot_name: str,
        patterns: Sequence[TablePattern],
        after: str,
        *,
        value_format: ValueFormat = EDITION_3_FORMAT,
    ) -> AsyncGenerator[list[SourceEvent]]:
        """Changes committed after `after`, in batches of what is at hand."""
        with source_errors():
            lookups = await self._connected()
            await free_slot(lookups, slot_name)
            connection = await connect(
                self._conninfo, application_name=f"{self._application_name} stream", replication=True
            )
            stream = ReplicationStream(
                connection,
                lookups,
                patterns=patterns,
                catalog=self._catalog,
                value_format=value_format,
                ignored_schema=self._ignored_schema,
                metrics=self._metrics,
            )
            self._stream = stream
            try:
                if after:
                    await check_slot_reaches(lookups, slot_name, after)
                    await check_history(lookups, slot_name, self._publication, after)
                await stream.start(slot_name, self._publication, after)
                async with contextlib.aclosing(stream.events()) as batches:
                    async for batch in batches:
                        yield batch
            except (
                SlotLost
            ):  # nothing can be had from it again: it must not hold back the source's log, or be taken for valid
                await connection.close()
                await drop_slot(await self._connected(), slot_name)
                raise
            finally:
                self._stream = None
                await connection.close()

    def acknowledge(self, position: str) -> None:
        """Everything up to `position` is on disk here."""
        if self._stream is not None:
            self._stream.acknowledge(position)

    async def close(self) -> None:
        """Close all connections."""
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[Row]:
        async with self._connecting:
            if self._connection is None or self._connection.broken or self._connection.closed:
                self._connection = await connect(self._conninfo, application_name=self._application_name)
            return self._connection
