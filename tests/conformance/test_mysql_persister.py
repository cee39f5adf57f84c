"""The MySQL persister passes the contract suite, on MariaDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from syncline.backend import TablePolicy
from syncline.backend.persisters.sqlalchemy import SQLAlchemyPersister
from syncline.backend.persisters.sqlalchemy import persister as persister_module
from syncline.backend.persisters.sqlalchemy.databases.base import USER_ID_CHARACTERS_MAX, Database
from syncline.errors import ConfigError
from tests.conformance.persister_suite import PersisterSuite
from tests.conformance.persister_suite.conflicts import Watching
from tests.conformance.persister_suite.letters import SQLAlchemyDeadLetterSuite
from tests.conformance.persister_suite.on_mariadb import MariaDBSubject
from tests.conformance.persister_suite.uploads import Uploads, delete, patch, put
from tests.support.mariadb import MARIADB_MISSING, MariaDBServer, mariadb_is_there

pytestmark = pytest.mark.skipif(not mariadb_is_there(), reason=MARIADB_MISSING)


@pytest.fixture(scope="module")
def server() -> Generator[MariaDBServer]:
    with MariaDBServer() as server:
        yield server


@pytest.fixture(scope="module")
def subject(server: MariaDBServer) -> Generator[MariaDBSubject]:
    url = server.create()
    yield MariaDBSubject(server, url)
    server.drop(url)


class TestMySQLPersister(PersisterSuite):
    pass


class TestMySQLDeadLetters(SQLAlchemyDeadLetterSuite):
    pass


@pytest.fixture
async def app_engine(subject: MariaDBSubject) -> AsyncGenerator[AsyncEngine]:
    """An engine as an app may have it, with a zone of its own."""
    engine = create_async_engine(subject.url, connect_args={"init_command": "SET time_zone = '+05:30'"})
    yield engine
    await engine.dispose()


async def test_an_engine_of_the_app_is_used_as_it_is_and_left_open(
    subject: MariaDBSubject, app_engine: AsyncEngine
) -> None:
    watching = Watching("modified_at")
    async with subject.observer() as observer:
        await subject.empty(observer)
        uploads = Uploads.over(SQLAlchemyPersister(app_engine), subject, observer)
        await uploads.backend.open()
        policy = TablePolicy(owner="owner_id", conflicts=watching)
        docs = uploads.with_tables(documents=policy)
        await docs.succeed(
            put("d", table="documents", modified_at="2026-01-02T10:00:00Z"), patch("d", table="documents", title="x")
        )
        await uploads.backend.close()
        assert watching.shown[1] == {"modified_at": "2026-01-02T10:00:00.000000Z"}
        # The server of the tests is in UTC; the app sees its own zone, and the isolation level that it had.
        assert str((await observer.rows("SELECT modified_at FROM documents"))[0][0]) == "2026-01-02 10:00:00"
    async with app_engine.connect() as connection:
        shown = (await connection.execute(text("SELECT modified_at FROM documents"))).scalar_one()
        assert str(shown) == "2026-01-02 15:30:00"
        assert await connection.get_isolation_level() == "REPEATABLE READ"


async def test_connections_that_would_cut_values_are_refused(subject: MariaDBSubject) -> None:
    engine = create_async_engine(subject.url, connect_args={"init_command": "SET sql_mode = ''"})
    with pytest.raises(ConfigError, match="strict mode"):
        await SQLAlchemyPersister(engine).open()
    await engine.dispose()


async def test_a_table_without_transactions_takes_no_uploads(
    subject: MariaDBSubject, caplog: pytest.LogCaptureFixture
) -> None:
    async with subject.observer() as observer:
        await observer.rows("CREATE TABLE plain (id varchar(36) PRIMARY KEY) ENGINE = MyISAM")
        uploads = Uploads.over(subject.persister(), subject, observer, {"plain": TablePolicy(owner=None)})
        await uploads.backend.open()
        [result] = await uploads.send([put("a", table="plain")])
        await uploads.backend.close()
        assert result["status"] == "retryable_error"
        assert "ENGINE = InnoDB" in caplog.text
        assert await observer.rows("SELECT * FROM plain") == []


async def test_a_user_id_that_no_key_holds_is_refused_and_cut_for_nobody(subject: MariaDBSubject) -> None:
    async with subject.observer() as observer:
        await subject.empty(observer)
        uploads = Uploads.over(subject.persister(), subject, observer, {"changing": TablePolicy(owner=None)})
        await uploads.backend.open()
        longest = "é" * USER_ID_CHARACTERS_MAX
        try:
            for user, status in ((longest, "success"), (longest + "x", "fatal_error")):
                [result] = await uploads.send([put("a", table="changing", crud_id=1)], user=user, client_id="c1")
                assert result["status"] == status
        finally:
            await uploads.backend.close()
        assert len(await observer.rows("SELECT * FROM syncline_uploads")) == 1


async def test_a_row_whose_id_looks_alike_is_not_taken_for_the_devices(subject: MariaDBSubject) -> None:
    async with subject.observer() as observer:
        await subject.empty(observer)
        uploads = Uploads.over(subject.persister(), subject, observer)
        await uploads.backend.open()
        try:
            await uploads.succeed(put("a", name="1"))
            assert await uploads.code(put("A", name="2")) == ("UNIQUE_VIOLATION", 0)
        finally:
            await uploads.backend.close()
        assert await observer.rows("SELECT id, name FROM lists") == [("a", "1")]


async def test_a_database_without_a_module_of_its_own_is_served_in_plain_sql(
    subject: MariaDBSubject, app_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQL Server and Oracle are, of which no server can be had: here MariaDB is one of them."""

    def no_module(*_: object, **__: object) -> Database:
        return Database()

    monkeypatch.setattr(persister_module, "database_of", no_module)
    async with subject.observer() as observer:
        await subject.empty(observer)
        uploads = Uploads.over(SQLAlchemyPersister(app_engine), subject, observer)
        await uploads.backend.open()
        crud = [put("a", name="1", stars=2, crud_id=1), put("a", name="2", crud_id=2), patch("a", note="3", crud_id=3)]
        assert await uploads.send(crud, client_id="c1") == [{"status": "success"}]
        assert await uploads.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]
        assert await observer.rows("SELECT id, name, note, stars, owner_id FROM lists") == [("a", "2", "3", 2, "ann")]
        assert await uploads.code(put("a", name="his"), user="bob") == ("UNAUTHORIZED", 0)
        assert await uploads.code(put("b", name="x"), patch("a", name=None)) == ("CONSTRAINT_VIOLATION", 1)
        assert await uploads.code(put("b", name="x", stars="many")) == ("INVALID_DATA", 0)
        assert await uploads.code(put("b", name="x", unknown=1)) == ("SCHEMA_MISMATCH", 0)
        answers = await asyncio.gather(*(uploads.send([put("c", name=str(number))]) for number in range(2)))
        assert {answer[0]["status"] for answer in answers} <= {"success", "retryable_error"}
        assert [await uploads.persister.next_checkpoint("ann", "c1") for _ in range(2)] == [1, 2]
        await uploads.succeed(delete("a"))
        await uploads.backend.close()
        await observer.rows("DELETE FROM syncline_checkpoints")
