"""Random transactions under random faults: at rest every device holds exactly the rows of the authorised query (C5), at every moment
none of them sees half a transaction (C3), and nobody needs a hand to come back (C6).

The oracle is the source itself. Seeds are printed; SYNCLINE_SEED=… plays one again.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import TokenOnly

SOURCE_SQL = """
CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text);
CREATE TABLE todos (id text PRIMARY KEY, description text, list_id text);
CREATE PUBLICATION powersync FOR ALL TABLES;
INSERT INTO lists VALUES ('pair-a', '0', 'u1'), ('pair-b', '0', 'u1');
"""
SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
  todos:
    auto_subscribe: true
    query: SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())
"""
LAST_SQL = """
INSERT INTO lists SELECT 'last-' || n, 'last', 'u' || (n % 2 + 1) FROM generate_series(1, 6) n;
INSERT INTO todos SELECT 'last-' || n, 'last', 'last-' || (n % 6 + 1) FROM generate_series(1, 12) n;
"""
SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.text("owner_id")]),
        Table("todos", [Column.text("description"), Column.text("list_id")]),
    ]
)
AUTHORISED = {
    "lists": "SELECT id, name, owner_id FROM lists WHERE owner_id = %s",
    "todos": "SELECT t.id, t.description, t.list_id FROM todos t JOIN lists l ON l.id = t.list_id WHERE l.owner_id = %s",
}
LOCAL = {
    "lists": "SELECT id, name, owner_id FROM lists",
    "todos": "SELECT id, description, list_id FROM todos",
}
STEPS = 400 if os.environ.get("SYNCLINE_SOAK") else 60
SETTLE_TIMEOUT_S = 30.0
LOOKS_MIN = 5  # at the pair, by the first device


class Device:
    """One device; `looks` counts how often it saw the pair."""

    def __init__(self, file: Path, user_id: str, proxy: FaultyProxy) -> None:
        self.file, self.user_id, self.proxy = file, user_id, proxy
        self.looks = 0
        self.torn: list[tuple[str, ...]] = []
        self._db: SyncDatabase | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def db(self) -> SyncDatabase:
        assert self._db is not None
        return self._db

    async def open(self) -> None:
        self._db = SyncDatabase(self.file, schema=SCHEMA)
        await self._db.init()
        self._watching = asyncio.create_task(self._watch_the_pair())
        await self._db.connect(TokenOnly(self.proxy.url, token(self.user_id)), retry_delay_s=0.1)

    async def close(self) -> None:
        assert self._watching is not None
        self._watching.cancel()
        await asyncio.wait([self._watching])
        await self.db.close()

    async def rows(self, table: str) -> list[tuple[object, ...]]:
        return sorted(tuple(row) for row in await self.db.get_all(LOCAL[table]))

    async def _watch_the_pair(self) -> None:
        async for rows in self.db.watch("SELECT name FROM lists WHERE id LIKE 'pair-%'", throttle_s=0):
            names = tuple(row["name"] for row in rows)
            if len(set(names)) > 1 or len(names) not in (0, 2):
                self.torn.append(names)
            self.looks += len(names) == 2


@asynccontextmanager
async def devices(folder: Path, proxy: FaultyProxy) -> AsyncGenerator[list[Device]]:
    made = [Device(folder / f"{name}.db", user, proxy) for name, user in (("a", "u1"), ("b", "u1"), ("c", "u2"))]
    for device in made:
        await device.open()
    try:
        yield made
    finally:
        for device in made:
            await device.close()


def random_transaction(draw: random.Random, number: int) -> str:
    """A few changes, and one of the pair, in one transaction."""
    statements = [f"UPDATE lists SET name = '{number}' WHERE id LIKE 'pair-%'"]
    for _ in range(draw.randrange(5)):
        list_id, todo_id = f"l{draw.randrange(8)}", f"t{draw.randrange(20)}"
        owner, text = (
            draw.choice(["u1", "u1", "u2", "nobody"]),
            draw.choice(["x", "é漢😀", 'quote " \\ tab\t', "y" * 3000]),
        )
        statements.append(
            draw.choice(
                [
                    f"INSERT INTO lists VALUES ('{list_id}', '{text}', '{owner}') ON CONFLICT DO NOTHING",
                    f"UPDATE lists SET name = '{text}' WHERE id = '{list_id}'",
                    f"UPDATE lists SET owner_id = '{owner}' WHERE id = '{list_id}'",
                    f"DELETE FROM lists WHERE id = '{list_id}'",
                    f"INSERT INTO todos VALUES ('{todo_id}', '{text}', '{list_id}') ON CONFLICT DO NOTHING",
                    f"UPDATE todos SET list_id = '{list_id}' WHERE id = '{todo_id}'",
                    f"UPDATE todos SET description = '{text}' WHERE id = '{todo_id}'",
                    f"UPDATE todos SET id = 'k{draw.randrange(10**9)}' WHERE id = '{todo_id}'",
                    f"DELETE FROM todos WHERE id = '{todo_id}'",
                ]
            )
        )
    return "BEGIN; " + "; ".join(statements) + "; " + draw.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"])


async def see_the_pair_change(source: ScratchDatabase, device: Device) -> None:
    """Where faults have left little to see, the pair changes on: a torn pair cannot be found by who never looks."""
    while device.looks <= LOOKS_MIN:
        seen = device.looks
        source.execute("UPDATE lists SET name = name || 'x' WHERE id LIKE 'pair-%'")
        await eventually(lambda seen=seen: device.looks > seen, timeout_s=SETTLE_TIMEOUT_S, what="the pair is seen")


async def one_step(draw: random.Random, source: ScratchDatabase, service: ServiceProcess, made: list[Device]) -> str:
    """Do something, and say what."""
    what = draw.choices(["write", "cut", "stall", "reopen", "kill"], weights=[80, 8, 4, 6, 2])[0]
    if what == "write":
        await asyncio.to_thread(source.execute, random_transaction(draw, draw.randrange(10**9)))
    elif what == "cut":
        made[0].proxy.cut()
    elif what == "stall":
        made[0].proxy.stall()
        await asyncio.to_thread(source.execute, random_transaction(draw, draw.randrange(10**9)))
        made[0].proxy.resume()
    elif what == "reopen":
        device = draw.choice(made)
        await device.close()
        await device.open()
    else:
        service.kill()
        await asyncio.to_thread(source.execute, random_transaction(draw, draw.randrange(10**9)))
        await asyncio.to_thread(service.start)
    return what


@pytest.mark.timeout(600)
@pytest.mark.requirement(172)
async def test_every_device_ends_with_exactly_the_rows_of_the_authorised_query(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SYNCLINE_SEED") or random.randrange(2**32))
    print(f"SYNCLINE_SEED={seed}")
    draw = random.Random(seed)
    postgres_database.execute(SOURCE_SQL)
    done: Counter[str] = Counter()
    with ServiceProcess(tmp_path / "service", dsn=postgres_database.dsn, sync_config=SYNC_CONFIG) as service:
        async with FaultyProxy("127.0.0.1", service.port) as proxy, devices(tmp_path, proxy) as made:
            for _ in range(STEPS):
                done[await one_step(draw, postgres_database, service, made)] += 1
                await asyncio.sleep(draw.random() * 0.02)  # lets streams get anywhere between two steps
            postgres_database.execute(LAST_SQL)  # an oracle over empty sets proves nothing
            held: Counter[str] = Counter()
            await see_the_pair_change(postgres_database, made[0])
            for device in made:
                for table, query in AUTHORISED.items():
                    expected = sorted(postgres_database.execute(query, (device.user_id,)))

                    async def agrees(device: Device = device, table: str = table, expected: object = expected) -> bool:
                        return await device.rows(table) == expected

                    what = f"{device.file.stem} has the rows of {table}"
                    try:
                        await eventually(agrees, timeout_s=SETTLE_TIMEOUT_S, what=what)
                    except AssertionError:
                        print(
                            f"{device.db.current_status}\n{len(proxy.connections)} connections\n{service.log[-3000:]}"
                        )
                        raise
                    held[f"{device.user_id} {table}"] = len(expected)
                stored = await device.db.get_all("SELECT count(*) AS n FROM ps_oplog")
                assert stored[0]["n"] == sum(
                    held[f"{device.user_id} {table}"] for table in AUTHORISED
                )  # nothing extra on disk
                assert device.torn == []
            print(dict(done), dict(held), "looks at the pair:", [device.looks for device in made])
            assert done["write"] > STEPS // 2
            assert min(held.values()) >= 3
