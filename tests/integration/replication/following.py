"""A follower of one replication stream: keeps every event, and the rows of each table as the events leave them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.source import PostgresSource
from syncline.replication.source import (
    ChangeKind,
    Marker,
    Relation,
    RelationChanged,
    RowChange,
    SourceEvent,
    TransactionEnd,
)
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.value_format import EDITION_3_FORMAT, ValueFormat
from syncline.testing.waiting import eventually

__all__ = ["ALL_TABLES", "SLOT", "Follower", "following", "read_snapshot"]

ALL_TABLES = (TablePattern("public", "%"),)
SLOT = "follower"


class Follower:
    """What a stream has said."""

    def __init__(self, source: PostgresSource) -> None:
        self.source = source
        self.events: list[SourceEvent] = []
        self.error: Exception | None = None

    async def run(
        self, slot_name: str, patterns: Sequence[TablePattern], after: str, value_format: ValueFormat = EDITION_3_FORMAT
    ) -> None:
        """Stream until cancelled, or until the source fails."""
        try:
            async for batch in self.source.stream(slot_name, patterns, after, value_format=value_format):
                self.events += batch
        except Exception as exc:
            self.error = exc

    @property
    def position(self) -> str:
        """The newest position that is complete."""
        return max((e.position for e in self.events if isinstance(e, TransactionEnd | Marker)), default="")

    async def caught_up(self) -> None:
        """Wait until everything committed before this call was heard."""
        head = await self.source.head()
        await self.source.emit_marker()
        await eventually(lambda: self.error is not None or self.position >= head, what="the marker passes the head")
        if self.error is not None:
            raise self.error

    def changes(self, table: str) -> list[RowChange]:
        """Row changes of one table."""
        return [e for e in self.events if isinstance(e, RowChange) and e.relation.name == table]

    def relations(self, table: str) -> list[Relation]:
        """Definitions of one table, oldest first."""
        return [e.relation for e in self.events if isinstance(e, RelationChanged) and e.relation.name == table]

    def kinds(self, table: str) -> list[ChangeKind]:
        """Kinds of its changes."""
        return [change.kind for change in self.changes(table)]


@asynccontextmanager
async def following(
    source: PostgresSource,
    *,
    after: str = "",
    create: bool = True,
    patterns: Sequence[TablePattern] = ALL_TABLES,
    value_format: ValueFormat = EDITION_3_FORMAT,
) -> AsyncGenerator[Follower]:
    """Follow `source` from now on (or after a position) while the block runs."""
    if create:
        await source.create_slot(SLOT)
    follower = Follower(source)
    task = asyncio.create_task(follower.run(SLOT, patterns, after, value_format))
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def read_snapshot(
    source: PostgresSource, table: str, value_format: ValueFormat = EDITION_3_FORMAT
) -> list[tuple[SyncValue, ...]]:
    """All rows that the copy of a published table gives."""
    relations = [relation for relation in await source.relations(ALL_TABLES) if relation.name == table]
    assert len(relations) == 1, f"{table} is published once"
    rows: list[tuple[SyncValue, ...]] = []
    async for chunk in source.snapshot(relations[0], value_format=value_format):
        rows += chunk.rows
    return rows
