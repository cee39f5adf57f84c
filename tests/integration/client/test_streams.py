"""Sync streams as an app uses them (client API reference, 8; client SQLite reference, 12)."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from syncline.client import HttpConnector, SyncDatabase
from syncline.errors import ClientError
from syncline.testing.waiting import eventually
from tests.integration.client.conftest import SCHEMA
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, WHOLE
from tests.support.scripted_service import ScriptedService, complete, data, put

KEEPALIVE = {"token_expires_in": 300}


def asked(service: ScriptedService) -> list[tuple[str, Any, int | None]]:
    """The subscriptions of the newest request."""
    found: list[dict[str, Any]] = service.requests[-1]["streams"]["subscriptions"] if service.requests else []
    return [(entry["stream"], entry["parameters"], entry["override_priority"]) for entry in found]


async def rows(db: SyncDatabase) -> list[tuple[Any, ...]]:
    sql = "SELECT stream_name, local_params, ttl, local_priority FROM ps_stream_subscriptions ORDER BY id"
    return [tuple(row) for row in await db.get_all(sql)]


def with_streams(*names: str) -> dict[str, Any]:
    ops = [put(1, "lists", "l1", name="x")]
    listed: list[dict[str, Any]] = [{"name": name, "is_default": False, "errors": []} for name in names]
    described = {"bucket": "1#l[]", "checksum": ops[0]["checksum"], "count": 1, "subscriptions": [{"sub": 0}]}
    return {"checkpoint": {"last_op_id": "1", "buckets": [described], "streams": listed}}


async def test_subscribing_works_offline_and_before_the_first_connection(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    await db.sync_stream("list", {"id": 1}).subscribe(ttl=60, priority=1)
    await db.sync_stream("plain").subscribe()
    assert [(stream.name, stream.explicit, stream.has_synced) for stream in db.current_status.streams] == [
        ("list", True, False),
        ("plain", True, False),
    ]
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert asked(service) == [("list", {"id": 1}, 1), ("plain", None, None)]
    assert await rows(db) == [
        ("list", '{"id":1}', 60, 1),
        ("plain", "null", 86400, None),
        ("all", "null", None, None),
    ]


async def test_a_stream_is_synced_when_its_own_rows_are_complete(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = [with_streams("list")]
    await db.connect(connector, retry_delay_s=FAST_S)
    async with db.sync_stream("list", {"id": 1}).subscribe() as handle:
        await db.wait_for_status(lambda s: bool(s.streams) and s.streams[0].progress is not None, DEADLINE_S)
        assert handle.status is not None
        assert handle.status.progress is not None
        assert (handle.status.active, handle.status.priority, handle.status.progress.total) == (True, 3, 1)
        with pytest.raises(TimeoutError):
            await handle.wait_for_first_sync(timeout=0.01)
        service.send(data("1#l[]", [put(1, "lists", "l1", name="x")]), complete(1))
        await handle.wait_for_first_sync(timeout=DEADLINE_S)
        assert handle.status.last_synced_at is not None


async def test_a_stream_lives_on_until_its_last_handle_is_gone_and_its_ttl_over(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    stream = db.sync_stream("list")
    first, second = await stream.subscribe(ttl=0), await stream.subscribe(ttl=0)
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    first.unsubscribe()
    first.unsubscribe()  # counts once
    service.send(KEEPALIVE, KEEPALIVE)
    service.send({"token_expires_in": 299})
    await db.wait_for_status(lambda s: s.connected, DEADLINE_S)
    assert asked(service) == [("list", None, None)]
    second.unsubscribe()

    def is_dropped() -> bool:
        service.send(KEEPALIVE)
        return asked(service) == []

    await eventually(is_dropped)
    third = await stream.subscribe()  # renewed while the stream is being opened again
    await eventually(lambda: asked(service) == [("list", None, None)])
    third.unsubscribe()


async def test_unsubscribing_all_ends_the_stream_at_once(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    stream = db.sync_stream("list", {"b": 1, "a": 2})
    handles = [await stream.subscribe() for _ in range(3)]
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert db.current_status.for_stream("list", {"a": 2, "b": 1}) is not None  # equal, whatever the order of keys
    await stream.unsubscribe_all()
    await eventually(lambda: asked(service) == [])
    assert [name for name, *_ in await rows(db)] == ["all"]
    for handle in handles:
        handle.unsubscribe()


async def test_a_priority_only_becomes_more_urgent_as_in_the_reference(db: SyncDatabase) -> None:
    stream, plain = db.sync_stream("list"), db.sync_stream("plain")
    for priority in (2, 3, 1, None):
        await stream.subscribe(priority=priority)
    for priority in (None, 1):
        await plain.subscribe(priority=priority)
    assert [(name, priority) for name, _, _, priority in await rows(db)] == [("list", 1), ("plain", None)]
    with pytest.raises(ClientError):
        stream.subscribe(priority=4)


async def test_a_subscription_survives_a_restart_for_its_ttl(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.sync_stream("long").subscribe(ttl=600)
        await db.sync_stream("short").subscribe(ttl=0)
    service.lines = WHOLE
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.connect(connector, retry_delay_s=FAST_S)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert asked(service) == [("long", None, None)]


async def test_errors_of_a_stream_are_in_its_status(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await db.sync_stream("list").subscribe()
    line = with_streams("list")
    line["checkpoint"]["streams"][0]["errors"] = [{"subscription": 0, "message": "id is missing"}]
    service.lines = [line]
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_status(lambda s: bool(s.streams) and bool(s.streams[0].errors), DEADLINE_S)
    assert handle.status is not None
    assert (handle.status.errors, handle.status.unknown) == (("id is missing",), False)
    assert "stream_error" in [getattr(record, "event", "") for record in caplog.records]


async def test_a_handle_that_is_lost_stays_subscribed_and_is_told(
    db: SyncDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await db.sync_stream("list").subscribe()
    assert handle.name == "list"
    del handle
    gc.collect()
    assert "stream_handle_lost" in [getattr(record, "event", "") for record in caplog.records]
    assert [name for name, *_ in await rows(db)] == ["list"]


async def test_progress_of_a_download_ends_with_the_connection(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    await db.sync_stream("list").subscribe()
    service.lines = [with_streams("list")]
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_status(lambda s: bool(s.streams) and s.streams[0].progress is not None, DEADLINE_S)
    await db.disconnect()
    assert [stream.progress for stream in db.current_status.streams] == [None]
