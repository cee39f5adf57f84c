"""Polling of a backend's own change feed: pages into tables, `since` over restarts, and the same uploads as with a stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from syncline.client import SyncDatabase
from syncline.client.connector import Credentials
from syncline.client.errors import ServiceError
from syncline.client.transport.polling import PollingTransport
from syncline.protocol.requests import StreamRequest
from syncline.testing.waiting import eventually
from tests.integration.client.conftest import SCHEMA
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, Fixed, names
from tests.integration.client.test_upload import drained, write
from tests.support.scripted_service import bucket, checkpoint, complete, data, put, serve
from tests.support.web_server import serving

PAGE_ROWS = 2


class ChangeFeed:
    """A backend with one table: `rows` by id with the number of their last change, which is the timestamp."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.Request] = []
        self.rows: dict[str, dict[str, Any]] = {}
        self.changes: dict[str, int] = {}
        self.number = 0
        self.refuse: list[int] = []
        self.answers_max: int | None = None  # requests after so many are refused

    def change(self, row_id: str, **columns: Any) -> None:
        self.number += 1
        self.rows[row_id] = {"id": row_id, **columns}
        self.changes[row_id] = self.number

    def delete(self, row_id: str) -> None:
        self.change(row_id, _deleted=True)

    def since(self) -> list[str | None]:
        return [request.query.get("since") for request in self.requests]

    async def page(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.refuse:
            return web.Response(status=self.refuse.pop(0))
        if self.answers_max is not None and len(self.requests) > self.answers_max:
            return web.Response(status=503)
        since = int(request.query.get("since", "0"))
        changed = sorted((number, row_id) for row_id, number in self.changes.items() if number > since)
        page = changed[:PAGE_ROWS]
        rows = [self.rows[row_id] for _, row_id in page]
        return web.json_response(
            {
                "changes": {"lists": rows} if rows else {},
                "timestamp": page[-1][0] if page else since,
                "hasMore": len(changed) > PAGE_ROWS,
            }
        )


@pytest.fixture
async def feed() -> AsyncGenerator[ChangeFeed]:
    served = ChangeFeed()
    app = web.Application()
    app.router.add_get("/api/powersync/sync", served.page)
    async with serving(app) as served.url:
        yield served


class Uploading(Fixed):
    """Uploads into the change feed."""

    def __init__(self, feed: ChangeFeed) -> None:
        super().__init__(feed.url)
        self.feed = feed
        self.may_upload = asyncio.Event()
        self.may_upload.set()

    async def upload_data(self, db: SyncDatabase) -> None:
        await self.may_upload.wait()
        async for transaction in db.crud_transactions():
            for entry in transaction.crud:
                columns = dict(entry.op_data or {})
                self.feed.change(entry.id, **{**self.feed.rows.get(entry.id, {}), **columns, "id_": 0})
            self.uploads += 1
            await transaction.complete()


async def connect(db: SyncDatabase, connector: Fixed, *, interval_s: float = FAST_S) -> None:
    await db.connect(connector, transport=PollingTransport(interval_s=interval_s), retry_delay_s=FAST_S)


@pytest.mark.requirement(82)
async def test_three_pages_become_rows_together_and_nothing_is_uploaded(db: SyncDatabase, feed: ChangeFeed) -> None:
    for number in range(5):
        feed.change(f"l{number}", name=f"List {number}")
    seen: list[int] = []
    watching = asyncio.create_task(_follow(db, seen))
    connector = Fixed(feed.url)
    await connect(db, connector)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert await names(db) == [f"List {number}" for number in range(5)]
    assert feed.since()[:3] == [None, "2", "4"]
    assert (await db.get_upload_queue_stats()).count == 0
    assert connector.uploads == 0
    await eventually(lambda: seen and seen[-1] == 5)
    assert set(seen) <= {0, 5}, "no page is visible before the last one"
    watching.cancel()
    assert feed.requests[0].headers["authorization"] == "Bearer t1"


async def _follow(db: SyncDatabase, seen: list[int]) -> None:
    async for [row] in db.watch("SELECT count(*) AS n FROM lists"):
        seen += [row["n"]]


@pytest.mark.requirement(82)
async def test_later_changes_and_deletions_arrive(db: SyncDatabase, feed: ChangeFeed) -> None:
    feed.change("a", name="one")
    feed.change("b", name="two")
    await connect(db, Fixed(feed.url))
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    feed.change("a", name="changed")
    feed.delete("b")

    async def arrived() -> bool:
        return await names(db) == ["changed"]

    await eventually(arrived)


@pytest.mark.requirement(253)
async def test_since_survives_a_restart(tmp_path: Path, feed: ChangeFeed) -> None:
    feed.change("a", name="one")
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await connect(db, Fixed(feed.url))
        await db.wait_for_first_sync(timeout=DEADLINE_S)
    feed.change("b", name="two")
    before = len(feed.requests)
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await connect(db, Fixed(feed.url))

        async def arrived() -> bool:
            return await names(db) == ["one", "two"]

        await eventually(arrived)
    assert feed.since()[before] == "1"


@pytest.mark.requirement(253)
async def test_an_interrupted_first_sync_goes_on_with_its_next_page(tmp_path: Path, feed: ChangeFeed) -> None:
    for number in range(6):
        feed.change(f"l{number}", name=str(number))
    feed.answers_max = 2
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await connect(db, Fixed(feed.url))
        await db.wait_for_status(lambda status: status.download_error is not None, DEADLINE_S)
        assert not db.current_status.has_synced
    feed.answers_max = None
    before = len(feed.requests)
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await connect(db, Fixed(feed.url))
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert await names(db) == [str(number) for number in range(6)]
    assert feed.since()[:2] == [None, "2"]
    assert feed.since()[before] == "4"


@pytest.mark.requirement(83)
async def test_local_writes_are_uploaded_as_with_a_stream_and_seen_again(db: SyncDatabase, feed: ChangeFeed) -> None:
    feed.change("a", name="one")
    connector = Uploading(feed)
    await connect(db, connector, interval_s=60)  # the round that the upload waits for comes at once
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "b")
    await drained(db)
    await db.wait_for_status(lambda status: status.blocked_by is None and not status.uploading, DEADLINE_S)

    async def arrived() -> bool:
        rows = await db.get_all("SELECT id FROM lists ORDER BY id")
        return [row["id"] for row in rows] == ["a", "b"] and feed.since()[-1] is not None

    await eventually(arrived)
    assert connector.uploads == 1


@pytest.mark.requirement(83)
async def test_a_local_write_is_not_overwritten_before_the_backend_has_it(db: SyncDatabase, feed: ChangeFeed) -> None:
    feed.change("a", name="theirs")
    connector = Uploading(feed)
    await connect(db, connector)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    connector.may_upload.clear()
    await db.execute("UPDATE lists SET name = 'mine' WHERE id = 'a'")
    feed.change("a", name="theirs again")
    await db.wait_for_status(lambda status: status.blocked_by == "pending_uploads", DEADLINE_S)
    assert await names(db) == ["mine"]
    connector.may_upload.set()
    await drained(db)
    await db.wait_for_status(lambda status: status.blocked_by is None, DEADLINE_S)
    assert await names(db) == ["mine"]
    assert feed.rows["a"]["name"] == "mine"


async def test_a_file_changes_from_polling_to_a_service_and_back(tmp_path: Path, feed: ChangeFeed) -> None:
    feed.change("a", name="polled")
    ops = [put(1, "lists", "s", name="streamed")]
    async with serve() as service, SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        service.lines = [checkpoint(1, bucket("1#a[]", ops)), data("1#a[]", ops), complete(1)]
        for expected in ("polled", "streamed", "polled"):
            if expected == "polled":
                await connect(db, Fixed(feed.url))
            else:
                await db.connect(Fixed(service.url), retry_delay_s=FAST_S)

            async def arrived(name: str = expected) -> bool:
                return await names(db) == [name]

            await eventually(arrived)
            await db.disconnect()


@pytest.mark.requirement(8)
async def test_a_backend_without_the_route_is_told(db: SyncDatabase, feed: ChangeFeed) -> None:
    feed.refuse = [404, 401]
    await connect(db, Fixed(feed.url))
    status = await db.wait_for_status(lambda status: status.download_error is not None, DEADLINE_S)
    assert isinstance(status.download_error, ServiceError)
    assert "no route /api/powersync/sync" in status.download_error.hint
    await db.wait_for_status(lambda status: status.connected, DEADLINE_S)


async def test_a_refused_token_is_replaced(db: SyncDatabase, feed: ChangeFeed) -> None:
    feed.refuse = [401]
    connector = Fixed(feed.url)
    await connect(db, connector)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert connector.calls == 2
    assert [request.headers["authorization"] for request in feed.requests[:2]] == ["Bearer t1", "Bearer t2"]


async def test_an_idle_round_writes_nothing(tmp_path: Path, feed: ChangeFeed) -> None:
    feed.change("a", name="one")
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await connect(db, Fixed(feed.url))
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        synced_at = db.current_status.last_synced_at
        asked = len(feed.requests)
        await eventually(lambda: len(feed.requests) >= asked + 3)
        assert db.current_status.last_synced_at == synced_at


async def test_the_transport_gives_its_connections_back(feed: ChangeFeed) -> None:
    transport = PollingTransport()
    with pytest.raises(ServiceError, match="of its own"):
        await transport.request_checkpoint("c", 5, Credentials(feed.url, "t"))
    with contextlib.suppress(ServiceError):
        async with transport.stream(StreamRequest(), Credentials(feed.url, "t")) as arriving:
            async for _ in arriving:
                break
    await transport.close()
    await transport.close()
