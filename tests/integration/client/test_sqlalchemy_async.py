"""SQLAlchemy's asynchronous engine over the asynchronous database, and watches of a select."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from syncline.client import SyncDatabase
from syncline.client.errors import NestedTransaction
from syncline.client.sqlalchemy import create_async_engine, schema_from_sqlalchemy, watch
from tests.integration.client.test_sqlalchemy import Base, TaskList


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with SyncDatabase(tmp_path / "app.db", schema=schema_from_sqlalchemy(Base.metadata)) as db:
        yield db


@pytest.fixture
async def engine(database: SyncDatabase) -> AsyncGenerator[AsyncEngine]:
    made = create_async_engine(database)
    yield made
    await made.dispose()


@pytest.mark.requirement(97)
async def test_sessions_commit_and_roll_back(database: SyncDatabase, engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        session.add(TaskList(name="kept"))
        await session.commit()
        session.add(TaskList(name="undone"))
        await session.flush()
        await session.rollback()
        assert (await session.scalars(sa.select(TaskList.name))).all() == ["kept"]
    assert [row["name"] for row in await database.get_all("SELECT name FROM lists")] == ["kept"]
    assert [len(tx.crud) async for tx in database.crud_transactions()] == [1]


async def test_sessions_of_two_tasks_wait_for_one_another(database: SyncDatabase, engine: AsyncEngine) -> None:
    async def write(name: str) -> None:
        async with AsyncSession(engine) as session:
            session.add(TaskList(name=name))
            await session.flush()
            await asyncio.sleep(0)
            await session.commit()

    await asyncio.gather(*(write(f"n{number}") for number in range(10)))
    assert len([tx async for tx in database.crud_transactions()]) == 10


async def test_the_database_s_own_calls_inside_of_a_session_that_wrote_are_refused(
    database: SyncDatabase, engine: AsyncEngine
) -> None:
    async with AsyncSession(engine) as session:
        session.add(TaskList(name="n"))
        await session.flush()
        with pytest.raises(NestedTransaction):
            await database.execute("INSERT INTO lists(id, name) VALUES ('x', 'y')")
        await session.rollback()
    await database.execute("INSERT INTO lists(id, name) VALUES ('x', 'y')")


async def test_a_cancelled_task_leaves_the_writer_free(database: SyncDatabase, engine: AsyncEngine) -> None:
    flushed = asyncio.Event()

    async def hold() -> None:
        async with AsyncSession(engine) as session:
            session.add(TaskList(name="n"))
            await session.flush()
            flushed.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await flushed.wait()
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(10):
        await database.execute("INSERT INTO lists(id, name) VALUES ('x', 'y')")
    assert len(await database.get_all("SELECT * FROM lists")) == 1


@pytest.mark.requirement(97)
async def test_a_select_is_watched_with_its_types(database: SyncDatabase, engine: AsyncEngine) -> None:
    statement = sa.select(TaskList.name, TaskList.archived).where(TaskList.name.in_(["a", "b"])).order_by(TaskList.name)
    rows = watch(database, statement, throttle_s=0)
    assert await anext(rows) == []
    async with AsyncSession(engine) as session:
        session.add_all([TaskList(name="a", archived=True), TaskList(name="c")])
        await session.commit()
    [row] = await anext(rows)
    assert (row.name, row.archived) == ("a", True)
