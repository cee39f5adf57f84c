"""Every call of a mutator has one effect, whatever the network does. Seeds are printed; SYNCLINE_SEED=… plays one again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from pathlib import Path
from typing import Any

import pytest

from syncline.backend import MutatorCall, Mutators, TablePolicy
from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table, http_connector, mutations_table
from syncline.client.errors import ConnectionFailed
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import Direction, FaultyProxy
from tests.support.backend_server import running_backend

CALLS = 2_000 if os.environ.get("SYNCLINE_SOAK") else 120
SCHEMA = Schema([Table("notes", [Column.text("text")]), mutations_table()])
SQL = """
CREATE TABLE notes (id text PRIMARY KEY, text text, owner_id text);
CREATE TABLE counted (call_id text, number integer);
"""


def counting() -> Mutators:
    mutators = Mutators()

    @mutators.register("count")
    async def count(call: MutatorCall, args: dict[str, Any]) -> None:
        await call.connection.execute("INSERT INTO counted VALUES (%s, %s)", (call.id, args["number"]))

    return mutators


@pytest.mark.requirement(150, 28)
@pytest.mark.timeout(400)
async def test_each_call_counts_once_over_a_network_that_loses_answers(
    postgres_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connector, "BATCHES_PER_CALL_MAX", 1)  # each call of upload_data is a request of its own
    seed = int(os.environ.get("SYNCLINE_SEED") or random.randrange(2**32))
    print(f"SYNCLINE_SEED={seed}")
    chance = random.Random(seed)
    postgres_database.execute(SQL)
    tables = {"notes": TablePolicy(owner="owner_id")}
    lost = requests = 0
    with running_backend(
        postgres_database.dsn, service_url="http://127.0.0.1:1", tables=tables, mutators=counting()
    ) as url:
        async with (
            FaultyProxy("127.0.0.1", int(url.rpartition(":")[2])) as proxy,
            SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db,
        ):
            db.mutators.declare("count")
            for number in range(CALLS):
                async with db.write_transaction() as tx:
                    await db.mutators.call("count", {"number": number}, transaction=tx)
                    if chance.random() < 0.3:
                        await tx.execute("INSERT INTO notes(id, text) VALUES (uuid(), 'beside a call')")
            async with asyncio.timeout(300):
                while (await db.upload_queue.stats()).count:
                    connector = HttpConnector(proxy.url, user_id="ann", max_transactions=chance.randint(1, 9))
                    cut: asyncio.Event | None = None
                    if chance.random() < 0.4:
                        cut = proxy.cut_after(Direction.TO_CLIENT, marker=b'"results"', forward=False)
                    with contextlib.suppress(ConnectionFailed):
                        await connector.upload_data(db)
                    lost += cut is not None and cut.is_set()
            requests = sum(bytes(each.sent).count(b"POST /api/data") for each in proxy.connections)
    counted = postgres_database.execute("SELECT number FROM counted ORDER BY number")
    print(f"{CALLS} calls in {requests} requests, of which {lost} lost their answer after the commit")
    assert [number for (number,) in counted] == [*range(CALLS)]
    assert lost >= 3
