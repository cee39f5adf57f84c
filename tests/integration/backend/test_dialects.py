"""Every dialect of our own client, over HTTP, into a real Postgres: the same rows, the same refusals, the same repeats."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from syncline.backend import TablePolicy
from syncline.client import (
    Column,
    HttpConnector,
    OperationsUploader,
    RestPerEntryUploader,
    Schema,
    StaticConnector,
    SyncDatabase,
    Table,
    TableBatchUploader,
    TransactionsUploader,
    TransactionUploader,
    UploadPolicy,
    WriteApiUploader,
)
from syncline.client.errors import AuthFailed, ClientError, ConnectionFailed
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.proxy import Direction, FaultyProxy
from syncline.testing.service_process import token
from tests.support.backend_server import running_backend

DIALECTS: dict[str, TransactionUploader] = {
    "rest": RestPerEntryUploader(),
    "transactions": TransactionsUploader(),
    "table batches": TableBatchUploader(patch="keep"),
    "table batches, upserts": TableBatchUploader(patch="upsert"),
    "operations": OperationsUploader(),
    "write api": WriteApiUploader(),
}
SQL = """
CREATE TABLE things (
  id text PRIMARY KEY, owner_id text NOT NULL, name text UNIQUE CHECK (name <> 'bad'), open boolean NOT NULL DEFAULT true,
  amount bigint, price numeric, weight float8, made_at timestamptz, details jsonb, words text[], photo bytea, key uuid
);
CREATE TABLE parts (id text PRIMARY KEY, owner_id text NOT NULL, thing_id text NOT NULL REFERENCES things);
CREATE TABLE outage (is_on boolean);
CREATE FUNCTION fail_while_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.name = 'second' AND EXISTS (SELECT FROM outage) THEN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER outage BEFORE INSERT OR UPDATE ON things FOR EACH ROW EXECUTE FUNCTION fail_while_out();
"""
SCHEMA = Schema(
    [
        Table(
            "things",
            [
                *(Column.text(name) for name in ("name", "price", "made_at", "details", "words", "photo", "key")),
                *(Column.integer(name) for name in ("open", "amount")),
                Column.real("weight"),
            ],
        ),
        Table("parts", [Column.text("thing_id")]),
    ]
)
TABLES = {"things": TablePolicy(owner="owner_id"), "parts": TablePolicy(owner="owner_id")}
KEY = uuid.UUID("6c1b3c9e-0000-4000-8000-000000000001")
VALUES = {
    "open": (0, False),
    "amount": (2**53 + 1, 2**53 + 1),
    "price": ("1.10", Decimal("1.10")),
    "weight": (0.1, 0.1),
    "made_at": ("2026-01-02 03:04:05.678Z", datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)),
    "details": ('{"a": [1, null, "é"]}', {"a": [1, None, "é"]}),
    "words": ('["a,b", null, ""]', ["a,b", None, ""]),
    "photo": ("AP90ZXh0", b"\x00\xfftext"),
    "key": (str(KEY), KEY),
}


@pytest.fixture(scope="module")
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(SQL)
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def backend_url(source: ScratchDatabase) -> Generator[str]:
    with running_backend(source.dsn, service_url="http://127.0.0.1:1", tables=TABLES) as url:
        yield url


@dataclass(frozen=True)
class Device:
    """A device of a user of its own, whose ids nobody else has."""

    db: SyncDatabase
    source: ScratchDatabase
    uploader: TransactionUploader
    backend_url: str
    user: str

    def connector(self, *, url: str | None = None, policy: UploadPolicy | None = None) -> HttpConnector:
        return HttpConnector(url or self.backend_url, user_id=self.user, uploader=self.uploader, policy=policy)

    def row(self, name: str) -> str:
        return f"{self.user}/{name}"  # a slash: ids are not always fit for an address

    async def insert(self, *names: str, table: str = "things") -> None:
        """One transaction, in which each row is called by its id."""
        column = "name" if table == "things" else "thing_id"
        async with self.db.write_transaction() as tx:
            for name in names:
                await tx.execute(
                    f"INSERT INTO {table} (id, {column}) VALUES (?, ?)",
                    [self.row(name), name if column == "name" else self.row(name)],
                )

    async def upload_telling_refusals(self) -> list[str]:
        """Upload all; the codes of what the backend refuses."""
        told = list[str]()
        policy = UploadPolicy(on_rejected=lambda _, refusal: told.append(refusal.code))
        await self.connector(policy=policy).upload_data(self.db)
        return told

    async def waiting(self) -> list[str]:
        return [
            entry.id.removeprefix(f"{self.user}/")
            for each in await self.db.get_crud_transactions(10)
            for entry in each.crud
        ]

    def names(self) -> list[str]:
        rows = self.source.execute("SELECT name FROM things WHERE owner_id = %s ORDER BY name", (self.user,))
        return [name for [name] in rows]


@pytest.fixture(params=DIALECTS)
async def device(
    request: pytest.FixtureRequest, backend_url: str, source: ScratchDatabase, tmp_path: Path
) -> AsyncGenerator[Device]:
    source.execute("DELETE FROM parts")
    source.execute("DELETE FROM things")  # names are unique over all users
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        yield Device(db, source, DIALECTS[request.param], backend_url, f"user-{uuid.uuid4().hex[:8]}")


@pytest.mark.requirement(36, 37, 38)
async def test_rows_arrive_with_their_types_and_their_owner(device: Device) -> None:
    columns, marks = ", ".join(VALUES), ", ".join("?" * len(VALUES))
    await device.db.execute(
        f"INSERT INTO things (id, name, {columns}) VALUES (?, 'first', {marks})",
        [device.row("a"), *(sent for sent, _ in VALUES.values())],
    )
    await device.insert("second", "third")
    await device.db.execute("UPDATE things SET name = 'changed', weight = NULL, amount = -1 WHERE name = 'first'")
    await device.db.execute("DELETE FROM things WHERE name = 'third'")
    await device.connector().upload_data(device.db)

    assert await device.waiting() == []
    assert await device.db.dead_letters.count() == 0
    assert device.names() == ["changed", "second"]
    [stored] = device.source.execute(f"SELECT {columns} FROM things WHERE id = %s", (device.row("a"),))
    expected = {name: kept for name, (_, kept) in VALUES.items()} | {"weight": None, "amount": -1}
    assert stored == tuple(expected.values())


@pytest.mark.requirement(39, 40, 44)
async def test_a_refused_transaction_holds_up_nothing_and_is_never_half_applied(device: Device) -> None:
    await device.insert("good")
    await device.insert("with", "bad", "company")
    await device.insert("last")
    assert await device.upload_telling_refusals() == ["CHECK_VIOLATION"]

    assert await device.waiting() == []
    kept = [entry.id for letter in await device.db.dead_letters.list() for entry in letter.entries]
    if isinstance(device.uploader, RestPerEntryUploader):
        # One row at a time: what stood before the bad one is in effect.
        assert device.names() == ["good", "last", "with"]
        assert kept == [device.row("bad"), device.row("company")]
        return
    assert device.names() == ["good", "last"]
    if not isinstance(device.uploader, WriteApiUploader | TransactionsUploader):  # whose backend says that it keeps it
        assert kept == [device.row("with"), device.row("bad"), device.row("company")]


@pytest.mark.parametrize("device", ["transactions"], indirect=True)
async def test_of_a_list_each_transaction_has_its_verdict_and_none_is_sent_twice(device: Device) -> None:
    """Sent again alone, what was accepted would be a conflict for some strategies."""
    for name in ("good", "bad", "last"):
        await device.insert(name)
    async with FaultyProxy("127.0.0.1", int(device.backend_url.rpartition(":")[2])) as proxy:
        await device.connector(url=proxy.url).upload_data(device.db)
        assert sum(bytes(one.sent).count(b"PUT /api/powersync/upload") for one in proxy.connections) == 1
    assert device.names() == ["good", "last"]
    assert await device.waiting() == []


@pytest.mark.requirement(40)
@pytest.mark.parametrize("device", ["rest"], indirect=True)
async def test_single_rows_go_on_behind_a_refused_one_where_the_policy_says_so(device: Device) -> None:
    await device.insert("one", "bad", "three")
    await device.connector(policy=UploadPolicy(on_reject="skip_entry")).upload_data(device.db)
    assert device.names() == ["one", "three"]
    assert await device.waiting() == []


async def test_a_row_of_somebody_else_is_refused_and_stays_as_it_is(device: Device) -> None:
    device.source.execute("INSERT INTO things (id, owner_id, name) VALUES (%s, 'zoe', 'theirs')", (device.row("x"),))
    await device.insert("x")
    await device.insert("mine")
    assert await device.upload_telling_refusals() == ["UNAUTHORIZED"]
    assert await device.waiting() == []
    assert device.names() == ["mine"]
    assert device.source.execute("SELECT name FROM things WHERE owner_id = 'zoe'") == [("theirs",)]


async def test_what_the_database_cannot_take_now_stays_with_all_that_is_behind_it(device: Device) -> None:
    device.source.execute("INSERT INTO outage VALUES (true)")
    try:
        await device.insert("first")
        await device.insert("second")
        await device.insert("third")
        with pytest.raises(ClientError):
            await device.connector().upload_data(device.db)
        assert device.names() == ["first"]
        assert (await device.waiting())[-2:] == ["second", "third"]
    finally:
        device.source.execute("DELETE FROM outage")
    await device.connector().upload_data(device.db)
    assert device.names() == ["first", "second", "third"]
    assert await device.waiting() == []
    assert await device.db.dead_letters.count() == 0


@pytest.mark.requirement(28)
async def test_an_answer_that_is_lost_after_the_commit_changes_nothing(device: Device) -> None:
    await device.insert("one", "two")
    await device.db.execute("UPDATE things SET name = 'changed' WHERE name = 'one'")
    await device.db.execute("DELETE FROM things WHERE name = 'two'")
    async with FaultyProxy("127.0.0.1", int(device.backend_url.rpartition(":")[2])) as proxy:
        connector = device.connector(url=proxy.url)
        await connector.fetch_credentials()
        cut = proxy.cut_after(Direction.TO_CLIENT, marker=b"HTTP/1.1 20", forward=False)
        with contextlib.suppress(ConnectionFailed):  # HTTP lets a client repeat a PUT by itself
            await connector.upload_data(device.db)
        assert cut.is_set()
        await connector.upload_data(device.db)
    assert device.names() == ["changed"]
    assert await device.waiting() == []
    assert await device.db.dead_letters.count() == 0


async def test_ids_of_any_kind_name_their_own_row(device: Device) -> None:
    odd = ["..", "a b", "é漢", "100%", "%2F", "a?b#c", "x\\y", '"', "a//b", "+", "\t", "checkpoint"]
    await device.insert(*odd)
    await device.db.execute("UPDATE things SET amount = 1")
    for row_id in ("..", "."):  # these alone, without the user in front of them, are folders to some
        await device.db.execute("INSERT INTO things (id, name) VALUES (?, ?)", [row_id, f"only {row_id}"])
    await device.connector().upload_data(device.db)
    assert await device.db.dead_letters.count() == 0
    stored = device.source.execute("SELECT id, amount FROM things WHERE owner_id = %s", (device.user,))
    assert sorted(stored, key=str) == sorted(
        [*((device.row(name), 1) for name in odd), ("..", None), (".", None)], key=str
    )


@pytest.mark.requirement(20)
async def test_a_session_that_has_ended_costs_no_write(device: Device) -> None:
    """Write path reference, 8: an app deleted its queued records, because it took a 401 for a refusal of theirs."""
    await device.insert("one")
    refused = token(device.user, audience="of another service")
    connector = StaticConnector("http://127.0.0.1:1", refused, backend_url=device.backend_url, uploader=device.uploader)
    with pytest.raises(AuthFailed):
        await connector.upload_data(device.db)
    assert await device.waiting() == ["one"]
    assert await device.db.dead_letters.count() == 0
    await device.connector().upload_data(device.db)
    assert device.names() == ["one"]


async def test_tables_are_taken_in_the_order_of_their_first_write(device: Device) -> None:
    async with device.db.write_transaction() as tx:
        await tx.execute("INSERT INTO things (id, name) VALUES (?, 'whole')", [device.row("t")])
        await tx.execute("INSERT INTO parts (id, thing_id) VALUES (?, ?)", [device.row("p"), device.row("t")])
    await device.connector().upload_data(device.db)
    assert await device.db.dead_letters.count() == 0
    assert device.source.execute("SELECT thing_id FROM parts WHERE owner_id = %s", (device.user,)) == [
        (device.row("t"),)
    ]
