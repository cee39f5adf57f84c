"""One file that `@powersync/node` and our client open in turn, with offline writes in between: nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import apsw
import pytest
import pytest_asyncio

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.testing.waiting import eventually
from tests.interop.node_sdk import NodeSdk
from tests.interop.sdk_device import WAIT_S, SdkDevice
from tests.interop.sync_stack import TABLES, SyncStack

COLUMNS = {"text": Column.text, "integer": Column.integer, "real": Column.real}
SCHEMA = Schema(
    [Table(name, [COLUMNS[kind](column) for column, kind in columns.items()]) for name, columns in TABLES.items()]
)
LISTS = "SELECT id, name, owner_id FROM lists ORDER BY id"
# Every change that reaches the source, in order: an operation that is sent twice shows up as a second line.
AUDIT = """
CREATE TABLE lists_audit (n serial PRIMARY KEY, kind text, id uuid, name text, owner_id text);
CREATE FUNCTION note_list() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO lists_audit (kind, id, name, owner_id)
  SELECT tg_op, coalesce(new.id, old.id), new.name, coalesce(new.owner_id, old.owner_id);
  RETURN NULL;
END $$;
CREATE TRIGGER note_list AFTER INSERT OR UPDATE OR DELETE ON lists FOR EACH ROW EXECUTE FUNCTION note_list();
"""
NO_AUDIT = "DROP TRIGGER note_list ON lists; DROP FUNCTION note_list(); DROP TABLE lists_audit"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node() -> AsyncGenerator[NodeSdk]:
    async with NodeSdk() as running:
        yield running


@pytest.fixture
def audited(stack: SyncStack) -> Generator[SyncStack]:
    stack.source.execute(AUDIT)
    yield stack
    stack.source.execute(NO_AUDIT)


class Alternation:
    """The file, and what was done to it: every write goes to the file and to a model of what the user should see."""

    def __init__(self, node: NodeSdk, stack: SyncStack, user: str, folder: Path) -> None:
        self.device = SdkDevice(node, stack, "http")
        self.node, self.stack, self.user, self.file = node, stack, user, folder / "shared.db"
        self.folder = folder
        self.rows: dict[str, tuple[str, str | None]] = {}  # id -> name and owner
        self.sent: list[tuple[str, str]] = []  # every local write in its order: kind and id

    @contextlib.asynccontextmanager
    async def official(self) -> AsyncGenerator[None]:
        """The file in the hands of the official SDK."""
        await self.node.ask("open", folder=str(self.folder), file=self.file.name, tables=TABLES, counted=["lists"])
        try:
            yield
        finally:
            await self.node.ask("close")

    async def official_write(self, sql: str) -> None:
        await self.node.ask("execute", sql=sql)

    async def official_sees(self) -> None:
        await self.node.until(LISTS, self.expected())

    def expected(self) -> list[dict[str, str | None]]:
        return [{"id": key, "name": name, "owner_id": owner} for key, (name, owner) in sorted(self.rows.items())]

    def writes(self, author: str) -> list[str]:
        """An insert, an update of a row of each author and a delete: as SQL, and noted."""
        key, doomed = str(uuid.uuid4()), str(uuid.uuid4())
        statements = [f"INSERT INTO lists (id, name) VALUES ('{key}', '{author} 1')"]
        statements.append(f"INSERT INTO lists (id, name) VALUES ('{doomed}', 'for a moment')")
        self.sent += [("INSERT", key), ("INSERT", doomed)]
        for other, (name, owner) in list(self.rows.items())[:2]:
            statements.append(f"UPDATE lists SET name = '{name}, {author}' WHERE id = '{other}'")
            self.rows[other] = (f"{name}, {author}", owner)
            self.sent.append(("UPDATE", other))
        statements.append(f"DELETE FROM lists WHERE id = '{doomed}'")
        self.sent.append(("DELETE", doomed))
        self.rows[key] = (f"{author} 1", None)
        return statements

    def uploaded(self) -> None:
        """The backend has filled in the owner."""
        self.rows = {key: (name, self.user) for key, (name, _) in self.rows.items()}

    def texts(self) -> list[object]:
        """What both sides compare in `sqlite_master`."""
        connection = apsw.Connection(str(self.file), flags=apsw.SQLITE_OPEN_READONLY)
        sql = "SELECT type, name, sql FROM sqlite_master WHERE type <> 'trigger' ORDER BY 1, 2"
        found = connection.execute(sql).fetchall()
        connection.close()
        return list(found)


async def our_rows(db: SyncDatabase) -> list[dict[str, object]]:
    return [row.as_dict() for row in await db.get_all(LISTS)]


@pytest.mark.requirement(24, 85)
@pytest.mark.asyncio(loop_scope="session")
async def test_a_file_alternates_three_times_with_offline_writes_and_nothing_is_lost_or_doubled(
    node: NodeSdk, audited: SyncStack, user: str, tmp_path: Path
) -> None:
    shared = Alternation(node, audited, user, tmp_path)
    for name in ("first", "second"):
        shared.rows[audited.add_list(user, name)] = (name, user)
    audited.source.execute("DELETE FROM lists_audit")
    texts: list[object] = []
    client_id = ""
    for turn in range(3):
        async with shared.official():
            if turn == 0:
                await shared.device.synced(user)
                await node.ask("disconnect")
            await shared.official_sees()
            for sql in shared.writes(f"node {turn}"):
                await shared.official_write(sql)
            await shared.official_sees()
        texts = texts or shared.texts()

        async with SyncDatabase(shared.file, schema=SCHEMA) as db:
            client_id = client_id or await db.get_client_id()
            assert await db.get_client_id() == client_id
            assert await our_rows(db) == shared.expected()
            for sql in shared.writes(f"python {turn}"):
                await db.execute(sql)
            assert await our_rows(db) == shared.expected()
            if turn == 1:  # in the second turn all that was written so far goes up from here …
                await catch_up(db, shared, "meanwhile")
        assert shared.texts() == texts

    async with shared.official():  # … and at the end the rest from there
        await shared.official_sees()
        await shared.device.connect(user)
        await eventually(shared.device.has_uploaded, timeout_s=WAIT_S)
        shared.uploaded()
        await shared.official_sees()
    assert audited.lists_of(user) == shared.expected()
    assert shared.texts() == texts
    async with SyncDatabase(shared.file, schema=SCHEMA) as db:
        assert await our_rows(db) == shared.expected()
        assert (await db.get_upload_queue_stats()).count == 0
        assert await db.get_client_id() == client_id
    audit = audited.source.execute("SELECT kind, id::text FROM lists_audit WHERE owner_id = %s ORDER BY n", (user,))
    assert [tuple(line) for line in audit] == shared.sent


async def catch_up(db: SyncDatabase, shared: Alternation, name: str) -> None:
    """Connect, send everything, take a row that somebody else has written meanwhile, and disconnect."""
    key = shared.stack.add_list(shared.user, name)
    shared.sent.append(("INSERT", key))
    await db.connect(HttpConnector(shared.stack.backend_url, user_id=shared.user), retry_delay_s=0.2)
    shared.uploaded()
    shared.rows[key] = (name, shared.user)

    async def caught_up() -> bool:
        return await our_rows(db) == shared.expected()

    await eventually(caught_up, timeout_s=WAIT_S, what="our client has sent everything and has every row")
    await db.disconnect()
    # The row from elsewhere came before or among the uploads: where, nobody can say.
    audit = shared.stack.source.execute(
        "SELECT id::text FROM lists_audit WHERE owner_id = %s ORDER BY n", (shared.user,)
    )
    place = [line[0] for line in audit].index(key)
    shared.sent.remove(("INSERT", key))
    shared.sent.insert(place, ("INSERT", key))
