"""Many devices whose connections are cut after the COMMIT, before the answer: every effect is there exactly once (design decision 12).

The effects count: repeated, they would count twice. Half of them are differences that a `Delta` strategy adds (such a transaction is
applied alone), half are rows whose trigger in the database counts (those go through pipelines).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncline.backend import TablePolicy
from syncline.backend.conflicts import Delta
from syncline.backend.http.request_limits import RequestLimits
from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.client.errors import ConnectionFailed, ServiceError
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import Direction, FaultyProxy
from tests.support.backend_server import running_backend

DEVICES = 50
TRANSACTIONS = 10_000 if os.environ.get("SYNCLINE_SOAK") else 1_000  # of all devices
CUT_SHARE = 0.4  # of the answers to uploads; at least CUT_SHARE_MIN must have been cut for the test to mean anything
CUT_SHARE_MIN = 0.2
ARMED = 16  # cuts that wait at the same time
MARK = b"x-this-answer: is lost"

SOURCE_SQL = """
CREATE TABLE stocks (id text PRIMARY KEY, amount bigint NOT NULL, owner_id text NOT NULL);
CREATE TABLE entries (id text PRIMARY KEY, note text, owner_id text NOT NULL);
CREATE TABLE effects (owner_id text NOT NULL, entry_id text NOT NULL);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO effects VALUES (NEW.owner_id, NEW.id); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON entries FOR EACH ROW EXECUTE FUNCTION note_effect();
"""
SCHEMA = Schema(
    [
        Table("stocks", [Column.integer("amount"), Column.text("owner_id")], track_previous=True),
        Table("entries", [Column.text("note"), Column.text("owner_id")]),
    ]
)
TABLES = {
    "stocks": TablePolicy(owner="owner_id", conflicts=Delta("amount")),
    "entries": TablePolicy(owner="owner_id"),
}


@dataclass
class Answers:
    """Marks the answers to uploads that the proxy shall cut off, and counts all of them."""

    chance: random.Random
    count: int = 0
    retries: int = field(default=0)

    def middleware(self, app: ASGIApp) -> ASGIApp:
        async def marked(scope: Scope, receive: Receive, send: Send) -> None:
            async def mark(message: Message) -> None:
                if message["type"] == "http.response.start" and scope["path"] == "/api/data":
                    self.count += 1
                    if self.chance.random() < CUT_SHARE:
                        name, _, value = MARK.partition(b": ")
                        message["headers"] = [(name, value), *message["headers"]]
                await send(message)

            await app(scope, receive, mark)

        return marked


@asynccontextmanager
async def cutting(proxy: FaultyProxy) -> AsyncGenerator[list[int]]:
    """Cut connections at marked answers, which do not get through; gives a list with the count of cuts."""
    cuts = [0]

    async def keep_one_armed() -> None:
        while True:
            await proxy.cut_after(Direction.TO_CLIENT, marker=MARK, forward=False).wait()
            cuts[0] += 1

    tasks = [asyncio.create_task(keep_one_armed()) for _ in range(ARMED)]
    try:
        yield cuts
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def device(number: int, folder: Path, url: str, answers: Answers) -> None:
    """Write its share of transactions while it uploads, and upload until the queue is empty."""
    async with SyncDatabase(folder / f"{number}.db", schema=SCHEMA) as db:
        connector = HttpConnector(url, user_id=f"user-{number}", max_transactions=answers.chance.randrange(1, 8))
        await db.execute("INSERT INTO stocks (id, amount) VALUES (?, 0)", [f"stock-{number}"])
        written = asyncio.Event()

        async def write() -> None:
            for n in range(1, TRANSACTIONS // DEVICES):
                if n % 2:
                    await db.execute("INSERT INTO entries (id, note) VALUES (?, ?)", [f"{number}-{n}", f"note {n}"])
                else:
                    await db.execute("UPDATE stocks SET amount = amount + ?", [n])
            written.set()

        writing = asyncio.create_task(write())
        while not (written.is_set() and (await db.get_upload_queue_stats()).count == 0):
            try:
                await connector.upload_data(db)
            except (ConnectionFailed, ServiceError):
                answers.retries += 1
        await writing


@pytest.mark.requirement(52, missing="long offline periods")
@pytest.mark.timeout(900)
@pytest.mark.soak
async def test_effects_that_count_are_there_exactly_once_though_answers_are_lost(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    answers = Answers(random.Random(seed))
    postgres_database.execute(SOURCE_SQL)
    started = time.monotonic()
    with running_backend(
        postgres_database.dsn,
        service_url="http://127.0.0.1",
        tables=TABLES,
        middleware=[Middleware(answers.middleware)],  # pyright: ignore[reportArgumentType]  # a function that wraps an app is one
        limits=RequestLimits(requests_per_second=None),
    ) as backend_url:
        async with FaultyProxy("127.0.0.1", int(backend_url.rpartition(":")[2])) as proxy, cutting(proxy) as cuts:
            await asyncio.gather(*(device(n, tmp_path, proxy.url, answers) for n in range(DEVICES)))
    seconds = time.monotonic() - started
    share = cuts[0] / answers.count
    print(f"{cuts[0]} of {answers.count} answers cut ({share:.0%}), {answers.retries} retries, {seconds:.1f} s")

    each = TRANSACTIONS // DEVICES
    entries = [n for n in range(1, each) if n % 2]
    stock = sum(n for n in range(1, each) if not n % 2)
    effects = "SELECT owner_id, count(*), count(DISTINCT entry_id) FROM effects GROUP BY 1 ORDER BY 1"
    users = sorted(f"user-{n}" for n in range(DEVICES))
    assert postgres_database.execute(effects) == [(user, len(entries), len(entries)) for user in users]
    stocks = "SELECT owner_id, amount FROM stocks ORDER BY owner_id"
    assert postgres_database.execute(stocks) == [(user, stock) for user in users]
    assert share >= CUT_SHARE_MIN, f"seed {seed}"
