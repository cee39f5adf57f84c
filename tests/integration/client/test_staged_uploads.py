"""A transaction that is larger than a request may be: device, network with faults, backend, Postgres. All of it on a small scale."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncline.backend import TablePolicy
from syncline.backend.http.request_limits import RequestLimits
from syncline.client import (
    Column,
    HttpConnector,
    MemoryTokenStore,
    Schema,
    SyncDatabase,
    Table,
    UploadPolicy,
    WriteApiUploader,
    new_id,
)
from syncline.client.connectors.outcomes import RequestTooLarge
from syncline.client.errors import ConnectionFailed, RetryableUploadError
from syncline.protocol import crud
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.proxy import Direction, FaultyProxy
from tests.support.backend_server import running_backend
from tests.support.foreign_backend import serve_backend

SCHEMA = Schema([Table("notes", [Column.text("text")])])
SQL = """
CREATE TABLE notes (id text PRIMARY KEY, text text CHECK (text <> 'refused'), owner_id text);
CREATE TABLE effects (id text, owner_id text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO effects VALUES (NEW.id, NEW.owner_id); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION note_effect();
"""
BODY_BYTES = 100_000  # that the backend takes
PART_BYTES = 20_000
ROWS, ROW_BYTES = 150, 2_000  # three times as much as the backend takes at once
SOAK = bool(os.environ.get("SYNCLINE_SOAK"))


@dataclass(frozen=True)
class Backend:
    url: str
    source: ScratchDatabase

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def effects(self, user: str) -> tuple[int, int]:
        """(rows that were written, writes): equal where each had one effect."""
        [row] = self.source.execute(f"SELECT count(DISTINCT id), count(*) FROM effects WHERE owner_id = '{user}'")
        return int(row[0]), int(row[1])


@pytest.fixture(scope="module")
def backend(postgres_server: PostgresServer) -> Generator[Backend]:
    """One backend that takes small requests only; each test is a user of its own."""
    source = postgres_server.create()
    source.execute(SQL)
    limits = RequestLimits(body_bytes=BODY_BYTES, requests_per_second=None)
    tables = {"notes": TablePolicy(owner="owner_id")}
    with running_backend(source.dsn, service_url="http://127.0.0.1:1", tables=tables, limits=limits) as url:
        yield Backend(url, source)
    postgres_server.drop(source)


def connector(url: str, user: str, *, policy: UploadPolicy | None = None, **options: Any) -> HttpConnector:
    options = {"staged_above_bytes": PART_BYTES} | options
    return HttpConnector(url, user_id=user, uploader=WriteApiUploader(**options), policy=policy)


async def write_large(db: SyncDatabase, rows: int = ROWS, row_bytes: int = ROW_BYTES) -> None:
    """One transaction; ids of its own, for the users of these tests share a table."""
    await db.execute_many(
        "INSERT INTO notes(id, text) VALUES (?, ?)", [(new_id(), "x" * row_bytes) for _ in range(rows)]
    )


async def waiting(db: SyncDatabase) -> int:
    return (await db.upload_queue.stats()).count


@pytest.mark.requirement(50)
async def test_a_backend_that_says_too_large_gets_it_in_parts_that_fit(backend: Backend, tmp_path: Path) -> None:
    """The device knows no limit: it learns it from 413, for the request and for its parts."""
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute("INSERT INTO notes(id, text) VALUES (uuid(), 'small')")
        await write_large(db)
        await db.execute("INSERT INTO notes(id, text) VALUES (uuid(), 'small')")
        await HttpConnector(backend.url, user_id="learns").upload_data(db)
        assert await waiting(db) == 0
    assert backend.effects("learns") == (ROWS + 2, ROWS + 2)


CUTS = {
    "the request to begin": (Direction.TO_SERVER, b"POST /api/data/staged HTTP"),
    "the answer to it": (Direction.TO_CLIENT, b'"part_bytes"'),
    "a part": (Direction.TO_SERVER, b"/3 HTTP"),
    "the answer to a part": (Direction.TO_CLIENT, b" 204 "),
    "the request to commit": (Direction.TO_SERVER, b"/commit HTTP"),
    "the answer to it, and the work begins": (Direction.TO_CLIENT, b" 202 "),
    "the verdict": (Direction.TO_CLIENT, b'"result"'),
}


@pytest.mark.requirement(28)
@pytest.mark.parametrize("cut", CUTS)
async def test_a_cut_at_any_step_costs_no_more_than_the_step(backend: Backend, tmp_path: Path, cut: str) -> None:
    user = f"cut{list(CUTS).index(cut)}"
    direction, marker = CUTS[cut]
    async with (
        FaultyProxy("127.0.0.1", backend.port) as proxy,
        SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db,
    ):
        await write_large(db)
        done = proxy.cut_after(direction, marker=marker, forward=False)
        with contextlib.suppress(ConnectionFailed):  # a PUT that was cut is repeated by the HTTP client, once
            await connector(proxy.url, user).upload_data(db)
        assert done.is_set()
        parts_before = sum(bytes(each.sent).count(b"PUT /api/data/staged") for each in proxy.connections)
        await connector(proxy.url, user).upload_data(db)  # as after a restart: nothing is remembered
        assert await waiting(db) == 0
        parts = sum(bytes(each.sent).count(b"PUT /api/data/staged") for each in proxy.connections)
    assert backend.effects(user) == (ROWS, ROWS)
    needed = -(-ROWS // (PART_BYTES // (ROW_BYTES + 200)))  # an operation has up to 200 bytes beside its text
    assert parts_before <= parts <= needed + 2, "parts that were stored are not sent again"


@pytest.mark.requirement(44, 45)
async def test_a_refused_one_becomes_a_letter_on_the_device_whole(backend: Backend, tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        async with db.write_transaction() as tx:
            await tx.execute_many(
                "INSERT INTO notes(id, text) VALUES (?, ?)", [(new_id(), "x" * ROW_BYTES) for _ in range(ROWS)]
            )
            await tx.execute("INSERT INTO notes(id, text) VALUES ('bad', 'refused')")
        await db.execute("INSERT INTO notes(id, text) VALUES (uuid(), 'small')")
        policy = UploadPolicy(backend_keeps_refusals=True)  # it keeps those that it can hold
        await connector(backend.url, "refused", policy=policy).upload_data(db)
        [letter] = await db.dead_letters.list()
        assert (letter.refusal.code, letter.refusal.operation_index) == ("CHECK_VIOLATION", ROWS)
        assert len(letter.entries) == ROWS + 1
    assert backend.effects("refused") == (1, 1)


async def test_more_operations_than_a_request_may_have_go_in_parts(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crud, "OPERATIONS_MAX", 20)  # of both sides: the backend runs in this process
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await write_large(db, rows=50, row_bytes=10)
        await connector(backend.url, "many", staged_path=None).upload_data(db)
        assert [letter.refusal.code for letter in await db.dead_letters.list()] == ["HTTP_400"]  # what it was before
        await db.dead_letters.retry_all()
        await connector(backend.url, "many", max_operations=20).upload_data(db)
        assert await waiting(db) == 0
    assert backend.effects("many") == (50, 50)


async def test_a_row_that_no_request_can_hold_stays_and_says_so(backend: Backend, tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await write_large(db, rows=1, row_bytes=BODY_BYTES)
        with pytest.raises(RequestTooLarge):
            await connector(backend.url, "row").upload_data(db)
        assert await waiting(db) == 1


async def test_a_foreign_backend_gets_it_in_one_request(tmp_path: Path) -> None:
    async with serve_backend() as foreign, SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await write_large(db, rows=30)
        uploader = WriteApiUploader(staged_above_bytes=PART_BYTES)
        uploading = HttpConnector(foreign.url, uploader=uploader, token_store=MemoryTokenStore("session-1"))
        await uploading.upload_data(db)
        assert await waiting(db) == 0
        assert [
            len(each.body["transactions"][0]["crud"]) for each in foreign.uploads if "transactions" in each.body
        ] == [30]
        await write_large(db, rows=30)
        foreign.answers.append((413, {"message": "too large"}))
        with pytest.raises(RequestTooLarge):
            await uploading.upload_data(db)
        assert await waiting(db) == 30


async def test_a_wait_for_the_verdict_has_an_end_and_the_next_attempt_goes_on(backend: Backend, tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await write_large(db)
        uploading = connector(backend.url, "patient")
        sender: Any = uploading._uploader._staged  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  # of this uploader alone
        sender._verdict_wait_s = 0.0
        # A lock holds the work up until the device has given up waiting.
        async with await psycopg.AsyncConnection.connect(backend.source.dsn) as holding:
            await holding.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(RetryableUploadError):
                await uploading.upload_data(db)
            assert await waiting(db) == ROWS
            await holding.rollback()
        sender._verdict_wait_s = 60.0
        await uploading.upload_data(db)
        assert await waiting(db) == 0
    assert backend.effects("patient") == (ROWS, ROWS)


async def test_a_connection_that_breaks_again_and_again_brings_it_in_the_end(backend: Backend, tmp_path: Path) -> None:
    async with (
        FaultyProxy("127.0.0.1", backend.port) as proxy,
        SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db,
    ):
        await write_large(db)
        uploading = connector(proxy.url, "torn")
        cuts = 0
        async with asyncio.timeout(60):
            while await waiting(db):
                pair = [proxy.cut_after(Direction.TO_SERVER, bytes_count=count) for count in (70_000, 75_000)]
                with contextlib.suppress(ConnectionFailed, RetryableUploadError):
                    await uploading.upload_data(db)
                cuts += sum(cut.is_set() for cut in pair)
        assert cuts >= 4
    assert backend.effects("torn") == (ROWS, ROWS)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.skipif(not SOAK, reason="50 MB: SYNCLINE_SOAK=1")
async def test_fifty_megabytes(postgres_server: PostgresServer, tmp_path: Path) -> None:
    source = postgres_server.create()
    source.execute(SQL)
    tables = {"notes": TablePolicy(owner="owner_id")}
    logging.getLogger("syncline").setLevel(logging.WARNING)
    try:
        with running_backend(source.dsn, service_url="http://127.0.0.1:1", tables=tables) as url:
            async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
                await write_large(db, rows=25_000)
                await HttpConnector(url, user_id="large").upload_data(db)
                assert await waiting(db) == 0
        assert Backend(url, source).effects("large") == (25_000, 25_000)
    finally:
        postgres_server.drop(source)
