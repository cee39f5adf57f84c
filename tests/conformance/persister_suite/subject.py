"""What the suite must know of a database: its words for types, what it has not, and how another connection looks at it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from syncline.backend.persisters.base import Persister
from tests.conformance.persister_suite.tables import EMPTIED

__all__ = ["Lacking", "Observer", "Subject", "TypeCase"]


class Lacking:
    """What a database may not have."""

    NETWORK = "a connection that can be cut"
    CONFLICTS = "transactions that are ended for a conflict"
    PRIVILEGES = "users with few privileges"


@dataclass(frozen=True)
class TypeCase:
    """A value of a device for a column of the table `types`, what another connection reads then, and what a device is shown."""

    column: str
    sent: Any
    stored: Any
    shown: Any


class Observer:
    """Another connection to the database of a test."""

    def __init__(self, engine: AsyncEngine, names: Mapping[str, str]) -> None:
        self.engine = engine
        self._names = names

    async def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own; its rows. `{…}` are the database's words."""
        async with self.engine.begin() as connection:
            return await self.on(connection, statement, **parameters)

    async def on(self, connection: AsyncConnection, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """The same on a connection that the caller has."""
        result = await connection.execute(text(self.words(statement)), parameters)
        return [tuple(row) for row in result] if result.returns_rows else []

    def words(self, statement: str) -> str:
        """A statement in the words of the database."""
        for name, word in self._names.items():
            statement = statement.replace("{" + name + "}", word)
        return statement


@dataclass
class Subject:
    """One persister over one database. Subclasses make the persister and know how to stop a write."""

    url: URL
    names: Mapping[str, str]
    lacks: frozenset[str] = frozenset()
    types: tuple[TypeCase, ...] = ()
    invalid: tuple[tuple[str, Any], ...] = ()
    """Values that columns of `types` must not take."""
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """A row of `documents` as devices know it: what a strategy is shown of it must be the same."""
    gives_up_at_once: bool = True
    """The driver lets go of a silent connection; psycopg first asks the server for five seconds to end the query."""

    def persister(self, url: URL | None = None, **options: Any) -> Persister:
        """A new persister, over the database itself or over another way to it."""
        raise NotImplementedError

    @asynccontextmanager
    async def observer(self) -> AsyncGenerator[Observer]:
        """Another connection."""
        engine = create_async_engine(self.url)
        try:
            yield Observer(engine, self.names)
        finally:
            await engine.dispose()

    async def empty(self, observer: Observer) -> None:
        """Empty all tables."""
        async with observer.engine.begin() as connection:
            for table in EMPTIED:
                await observer.on(connection, f"DELETE FROM {table}")

    async def hold(self, observer: Observer, connection: AsyncConnection, row_id: str) -> None:
        """Keep others from changing a row of `lists` until the connection's transaction ends."""
        await observer.on(connection, "UPDATE lists SET name = 'held' WHERE id = :id", id=row_id)

    async def conflicts(self, observer: Observer, *, succeeds_at: int) -> None:
        """Let inserts into `lists` fail as a deadlock does, until the attempt `succeeds_at`."""
        raise NotImplementedError

    async def no_conflicts(self, observer: Observer) -> int:
        """End it; how many attempts there were."""
        raise NotImplementedError

    async def make_reader(self, observer: Observer) -> URL:
        """A user who may write our own tables, and only read `lists`."""
        raise NotImplementedError
