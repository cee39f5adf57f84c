"""The ready connector against our own backend toolkit and a real Postgres: sign-in, verdicts, exactly one effect."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.backend import TablePolicy
from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table, UploadPolicy
from syncline.testing.postgres import ScratchDatabase
from tests.support.backend_server import running_backend

SCHEMA = Schema(
    [Table("lists", [Column.text("name"), Column.text("owner_id")], track_previous=True, track_metadata=True)]
)
SQL = "CREATE TABLE lists (id text PRIMARY KEY, name text NOT NULL UNIQUE, owner_id text)"


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    postgres_database.execute(SQL)
    return postgres_database


@pytest.fixture
def backend_url(source: ScratchDatabase) -> Generator[str]:
    tables = {"lists": TablePolicy(owner="owner_id")}
    with running_backend(source.dsn, service_url="http://127.0.0.1:1", tables=tables) as url:
        yield url


@pytest.mark.requirement(11, 39, 48)
async def test_what_was_written_offline_is_in_the_source_after_one_upload(
    backend_url: str, source: ScratchDatabase, tmp_path: Path
) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'one'), ('b', 'two')")
        await db.execute("UPDATE lists SET name = 'changed', _metadata = 'why' WHERE id = 'a'")
        await db.execute("DELETE FROM lists WHERE id = 'b'")
        connector = HttpConnector(backend_url, user_id="ada")
        first, *_ = await db.get_crud_transactions(1)
        await connector.upload_data(db)
        assert source.execute("SELECT * FROM lists") == [("a", "changed", "ada")]
        assert (await db.upload_queue.stats()).count == 0
        assert [entry.client_id for entry in first.crud] == [1, 2]


@pytest.mark.requirement(13, 234)
async def test_the_configuration_and_the_token_of_the_toolkit_are_understood(backend_url: str) -> None:
    connector = HttpConnector(backend_url, user_id="ada", config_path="/api/powersync/config")
    credentials = await connector.fetch_credentials()
    assert credentials is not None
    assert (credentials.endpoint, credentials.user_id) == ("http://127.0.0.1:1", "ada")
    assert credentials.expires_at is not None


@pytest.mark.requirement(44, 45)
async def test_a_violation_of_the_source_becomes_a_dead_letter_and_arrives_once_the_reason_is_gone(
    backend_url: str, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute("INSERT INTO lists VALUES ('z', 'taken', 'ada')")
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'taken')")
        await db.execute("INSERT INTO lists(id, name) VALUES ('b', 'free')")
        told: list[str] = []
        policy = UploadPolicy(on_rejected=lambda _, refusal: told.append(refusal.code), backend_keeps_refusals=False)
        connector = HttpConnector(backend_url, user_id="ada", policy=policy)
        await connector.upload_data(db)
        assert told == ["UNIQUE_VIOLATION"]
        assert (await db.upload_queue.stats()).count == 0
        assert source.execute("SELECT id FROM lists ORDER BY id") == [("b",), ("z",)]
        [letter] = await db.dead_letters.list()
        source.execute("DELETE FROM lists WHERE id = 'z'")
        await db.dead_letters.retry(letter.id)
        await connector.upload_data(db)
        assert source.execute("SELECT id FROM lists ORDER BY id") == [("a",), ("b",)]
        assert await db.dead_letters.count() == 0


@pytest.mark.requirement(44, 45, 147)
async def test_what_the_backend_keeps_is_not_kept_on_the_device_as_well(
    backend_url: str, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute("INSERT INTO lists VALUES ('z', 'taken', 'ada')")
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'taken')")
        told: list[str] = []
        policy = UploadPolicy(on_rejected=lambda _, refusal: told.append(refusal.code))
        await HttpConnector(backend_url, user_id="ada", policy=policy).upload_data(db)
        assert told == ["UNIQUE_VIOLATION"]
        assert (await db.upload_queue.stats()).count == 0
        assert await db.dead_letters.count() == 0
        client_id = await db.get_client_id()
    letters = source.execute("SELECT user_id, client_id, code, state FROM syncline_dead_letters")
    assert letters == [("ada", client_id, "UNIQUE_VIOLATION", "open")]


@pytest.mark.requirement(28)
async def test_an_upload_whose_answer_was_lost_has_one_effect(
    backend_url: str, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute(
        "CREATE TABLE log (name text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO log VALUES (new.name); RETURN new; END $$;"
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON lists FOR EACH ROW EXECUTE FUNCTION note()"
    )

    class LosesTheFirstAnswer(HttpConnector):
        lost = False

        async def _settle(self, sent: object, results: object, **options: object) -> None:
            if not self.lost:
                self.lost = True
                raise ConnectionResetError
            await super()._settle(sent, results, **options)  # pyright: ignore[reportArgumentType]  # passed on

    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'one')")
        connector = LosesTheFirstAnswer(backend_url, user_id="ada")
        with pytest.raises(ConnectionResetError):
            await connector.upload_data(db)
        await connector.upload_data(db)
        assert (await db.upload_queue.stats()).count == 0
    assert source.execute("SELECT name FROM log") == [("one",)]
