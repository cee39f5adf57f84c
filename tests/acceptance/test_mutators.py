"""Mutators through the whole stack: device, backend, Postgres, sync service. What the server decides is what every device shows."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncline.backend import TablePolicy
from syncline.backend.mutators import MutationRefused, MutatorCall, Mutators
from syncline.client import CrudTransaction, HttpConnector, Refusal, SyncDatabase, SyncState, UploadPolicy
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.proxy import Direction, FaultyProxy
from syncline.testing.service_process import ServiceProcess
from syncline.testing.waiting import eventually
from tests.acceptance.calling_device import SCHEMA, register
from tests.support.backend_server import running_backend
from tests.support.sync_config import LISTS_OF_OWNER

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
SQL = """
CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text, renames integer NOT NULL DEFAULT 0);
CREATE PUBLICATION powersync FOR ALL TABLES;
"""


@dataclass
class Rename:
    id: str
    name: str


def server_mutators() -> Mutators:
    mutators = Mutators()

    @mutators.register("rename")
    async def rename(call: MutatorCall, args: Rename) -> None:
        """Counts, so that a second run would show; and knows better what a name looks like."""
        if args.name == "taken":
            raise MutationRefused("NAME_TAKEN", "There is a list of this name.")
        cursor = await call.connection.execute(
            "UPDATE lists SET name = upper(%s), renames = renames + 1 WHERE id = %s AND owner_id = %s",
            (args.name, args.id, call.user_id),
        )
        if cursor.rowcount == 0:
            raise MutationRefused("NO_SUCH_LIST")

    return mutators


@dataclass(frozen=True)
class Stack:
    source: ScratchDatabase
    backend_url: str

    def rows(self, user: str) -> list[tuple[object, ...]]:
        return [
            tuple(row)
            for row in self.source.execute(f"SELECT id, name, renames FROM lists WHERE owner_id = '{user}' ORDER BY id")
        ]


@pytest.fixture(scope="module")
def stack(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """One service and one backend; each test is a user of its own."""
    source = postgres_server.create()
    source.execute(SQL)
    folder = tmp_path_factory.mktemp("mutators")
    tables = {"lists": TablePolicy(owner="owner_id", columns=["name"])}
    with (
        ServiceProcess(folder, dsn=source.dsn, sync_config=LISTS_OF_OWNER) as service,
        running_backend(
            source.dsn, service_url=service.base_url, tables=tables, mutators=server_mutators()
        ) as backend_url,
    ):
        yield Stack(source, backend_url)
    postgres_server.drop(source)


@asynccontextmanager
async def device(file: Path) -> AsyncGenerator[SyncDatabase]:
    """A device that is not connected yet."""
    async with SyncDatabase(file, schema=SCHEMA) as db:
        register(db)
        yield db


async def synced(db: SyncDatabase, url: str, user: str) -> list[tuple[str, list[str], Any]]:
    """Connect, and wait until everything is uploaded and what the server made of it is here.

    Returns what was refused: code, tables of the transaction, details.
    """
    refused: list[tuple[str, list[str], Any]] = []

    def note(transaction: CrudTransaction, refusal: Refusal) -> None:
        refused.append((refusal.code, [entry.table for entry in transaction.crud], refusal.details))

    connector = HttpConnector(url, user_id=user, policy=UploadPolicy(on_rejected=note))
    await db.connect(connector, retry_delay_s=0.1, upload_throttle_s=0.01)
    await settled(db)
    return refused


async def settled(db: SyncDatabase) -> None:
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED and s.pending_changes == 0, DEADLINE_S)

    async def gate_is_open() -> bool:
        return not await db.get_all("SELECT 1 FROM ps_updated_rows")

    await eventually(gate_is_open, timeout_s=DEADLINE_S, what="the server's rows are applied")


async def rows(db: SyncDatabase) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await db.get_all("SELECT id, name, renames FROM lists ORDER BY id")]


@pytest.mark.requirement(150)
async def test_the_optimistic_rows_show_at_once_and_then_the_servers(stack: Stack, tmp_path: Path) -> None:
    stack.source.execute("INSERT INTO lists VALUES ('s1', 'first', 'sam')")
    async with device(tmp_path / "a.db") as db, device(tmp_path / "b.db") as other:
        await synced(db, stack.backend_url, "sam")
        await db.disconnect()
        await db.mutators.call("rename", {"id": "s1", "name": "groceries"})
        assert await rows(db) == [("s1", "groceries", 1)]
        await synced(db, stack.backend_url, "sam")
        assert await rows(db) == stack.rows("sam") == [("s1", "GROCERIES", 1)]
        assert await synced(other, stack.backend_url, "sam") == []
        assert await rows(other) == [("s1", "GROCERIES", 1)]


@pytest.mark.requirement(150, 44, 45)
async def test_a_refused_call_of_a_device_that_was_killed_leaves_the_servers_rows(stack: Stack, tmp_path: Path) -> None:
    stack.source.execute("INSERT INTO lists VALUES ('k1', 'first', 'kim')")
    file = tmp_path / "a.db"
    async with device(file) as db:
        await synced(db, stack.backend_url, "kim")
    await call_and_die(file, "k1", "taken")
    async with device(file) as db:
        assert await rows(db) == [("k1", "taken", 1)]  # as the app had shown it
        await db.execute("INSERT INTO lists(id, name) VALUES ('k2', 'behind the call')")
        assert await synced(db, stack.backend_url, "kim") == [("NAME_TAKEN", ["syncline_mutations"], None)]
        assert await rows(db) == stack.rows("kim") == [("k1", "first", 0), ("k2", "behind the call", 0)]


async def call_and_die(file: Path, list_id: str, name: str) -> None:
    """A process of its own calls offline, and is killed once the call has returned."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.acceptance.calling_device",
        str(file),
        list_id,
        name,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        assert (await process.stdout.readline()).strip() == b"called"
    process.kill()
    await process.wait()


@pytest.mark.requirement(150)
async def test_calls_and_plain_writes_go_in_the_order_in_which_they_were_made(stack: Stack, tmp_path: Path) -> None:
    async with device(tmp_path / "a.db") as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('o1', 'made offline')")
        await db.mutators.call("rename", {"id": "o1", "name": "one"})  # there by now, or the call is refused
        async with db.write_transaction() as tx:
            await tx.execute("UPDATE lists SET name = 'two' WHERE id = 'o1'")
            await db.mutators.call("rename", {"id": "o1", "name": "three"}, transaction=tx)
        await db.execute("INSERT INTO lists(id, name) VALUES ('o2', 'last')")
        assert await synced(db, stack.backend_url, "oda") == []
        assert await rows(db) == stack.rows("oda") == [("o1", "THREE", 2), ("o2", "last", 0)]


@pytest.mark.requirement(150)
async def test_an_answer_lost_after_the_commit_leaves_one_effect(stack: Stack, tmp_path: Path) -> None:
    stack.source.execute("INSERT INTO lists VALUES ('r1', 'first', 'ria')")
    async with (
        FaultyProxy("127.0.0.1", int(stack.backend_url.rpartition(":")[2])) as proxy,
        device(tmp_path / "a.db") as db,
    ):
        cut = proxy.cut_after(Direction.TO_CLIENT, marker=b'"results"', forward=False)
        await db.mutators.call("rename", {"id": "r1", "name": "once"})
        await synced(db, proxy.url, "ria")
        assert cut.is_set()
        uploads = sum(bytes(connection.sent).count(b"POST /api/data") for connection in proxy.connections)
        assert uploads == 2
        assert await rows(db) == stack.rows("ria") == [("r1", "ONCE", 1)]


@pytest.mark.requirement(150)
async def test_an_unknown_mutator_and_wrong_arguments_become_dead_letters_and_roll_back(
    stack: Stack, tmp_path: Path
) -> None:
    stack.source.execute("INSERT INTO lists VALUES ('u1', 'first', 'una')")
    async with device(tmp_path / "a.db") as db:
        await synced(db, stack.backend_url, "una")
        await db.disconnect()
        await db.mutators.call("unknown", {"id": "u1"})
        assert [name for _, name, _ in await rows(db)] == ["never there"]
        db.mutators.declare("rename")
        await db.mutators.call("rename", {"id": "u1", "name": 5})
        await db.mutators.call("rename", {"id": "u1"})
        await db.mutators.call("rename", {"id": "not there", "name": "x"})
        refused = await synced(db, stack.backend_url, "una")
        assert [code for code, _, _ in refused] == [
            "UNKNOWN_MUTATOR",
            "VALIDATION_ERROR",
            "VALIDATION_ERROR",
            "NO_SUCH_LIST",
        ]
        assert refused[2][2] == [{"field": "name", "rule": "missing"}]
        assert await rows(db) == stack.rows("una") == [("u1", "first", 0)]
