from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from syncline.client import BackendConnector, Credentials, HttpConnector, SyncDatabase
from syncline.client.errors import AuthFailed, ChecksumMismatch, NotSignedIn, PendingWrites, ServiceError
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

ROWS = [put(1, "lists", "l1", name="Groceries"), put(2, "lists", "l2", name="Work")]
WHOLE = [checkpoint(2, bucket("1#a[]", ROWS)), data("1#a[]", ROWS), complete(2)]
DEADLINE_S = 10.0
FAST_S = 0.05


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, at most DEADLINE_S."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds
            await asyncio.sleep(0.005)


async def names(db: SyncDatabase) -> list[Any]:
    return [row["name"] for row in await db.get_all("SELECT name FROM lists ORDER BY id")]


class Fixed(BackendConnector):
    """Counts calls; uploads by completing."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.calls = 0
        self.uploads = 0
        self.signed_in = True

    async def fetch_credentials(self) -> Credentials | None:
        self.calls += 1
        return Credentials(self.endpoint, f"t{self.calls}") if self.signed_in else None

    async def upload_data(self, db: SyncDatabase) -> None:
        self.uploads += 1
        transaction = await db.get_next_crud_transaction()
        assert transaction is not None
        await transaction.complete()


@pytest.mark.requirement(55, 57)
async def test_a_connected_database_gets_the_rows_of_the_service(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    await db.connect(connector)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert await names(db) == ["Groceries", "Work"]
    status = await db.wait_for_status(lambda s: s.connected and not s.downloading, DEADLINE_S)
    assert status.has_synced
    assert status.last_synced_at is not None
    assert service.headers[0]["authorization"] == "Token token-1"
    assert service.headers[0]["x-user-agent"].startswith("syncline-python/")
    assert service.requests[0]["client_id"] == await db.get_client_id()
    assert [stream.name for stream in status.streams if stream.has_synced] == ["all"]


@pytest.mark.requirement(56)
async def test_connect_returns_before_anything_happens_on_the_network(db: SyncDatabase) -> None:
    durations_s: list[float] = []
    for _ in range(5):  # the shortest counts: the machine may be busy with something else
        started = time.monotonic()
        await db.connect(Fixed("http://127.0.0.1:9"), retry_delay_s=FAST_S)
        durations_s.append(time.monotonic() - started)
    assert min(durations_s) < 0.1
    status = await db.wait_for_status(lambda s: s.download_error is not None, DEADLINE_S)
    assert not status.connected


@pytest.mark.requirement(4)
async def test_one_connect_asks_once_for_credentials(db: SyncDatabase, service: ScriptedService) -> None:
    service.lines = WHOLE
    connector = Fixed(service.url + "/")
    await db.connect(connector)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert connector.calls == 1


@pytest.mark.requirement(5)
async def test_a_token_near_its_end_is_replaced_ahead(db: SyncDatabase, service: ScriptedService) -> None:
    service.lines = [*WHOLE, {"token_expires_in": 20}]
    connector = Fixed(service.url)
    await db.connect(connector, retry_delay_s=FAST_S)
    await until(lambda: len(service.requests) >= 2)
    await db.disconnect()
    assert service.headers[1]["authorization"] == "Token t2"
    assert service.requests[1]["buckets"] == [{"name": "1#a[]", "after": "2"}]


@pytest.mark.requirement(5)
async def test_a_refused_token_is_dropped_and_fetched_again(db: SyncDatabase, service: ScriptedService) -> None:
    service.refuse, service.lines = [401], WHOLE
    connector = Fixed(service.url)
    await db.connect(connector, retry_delay_s=60)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert connector.calls == 2


@pytest.mark.requirement(5)
async def test_a_token_refused_twice_waits_for_the_retry_delay(db: SyncDatabase, service: ScriptedService) -> None:
    service.refuse = [401] * 9
    connector = Fixed(service.url)
    await db.connect(connector, retry_delay_s=60)
    status = await db.wait_for_status(lambda _: len(service.requests) == 2, DEADLINE_S)
    assert isinstance(status.download_error, AuthFailed)
    assert status.download_error.error_code == "PSYNC_S2103"


@pytest.mark.requirement(7)
async def test_nobody_signed_in_is_shown_and_asked_again(db: SyncDatabase, service: ScriptedService) -> None:
    service.lines = WHOLE
    connector = Fixed(service.url)
    connector.signed_in = False
    await db.connect(connector, retry_delay_s=FAST_S)
    status = await db.wait_for_status(lambda s: s.download_error is not None, DEADLINE_S)
    assert isinstance(status.download_error, NotSignedIn)
    connector.signed_in = True
    await db.wait_for_first_sync(timeout=DEADLINE_S)


@pytest.mark.requirement(8)
async def test_an_endpoint_that_is_the_backend_is_named_as_the_mistake(
    db: SyncDatabase, service: ScriptedService
) -> None:
    await db.connect(Fixed(service.url + "/elsewhere"), retry_delay_s=FAST_S)
    status = await db.wait_for_status(lambda s: s.download_error is not None, DEADLINE_S)
    assert isinstance(status.download_error, ServiceError)
    assert "not of your backend" in status.download_error.hint


async def test_a_wrong_checksum_downloads_the_bucket_again(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = [checkpoint(2, bucket("1#a[]", ROWS, checksum=5)), data("1#a[]", ROWS), complete(2)]
    errors: list[Exception | None] = []
    db.register_listener(lambda status: errors.append(status.download_error))
    await db.connect(connector, retry_delay_s=FAST_S)
    await until(lambda: any(isinstance(error, ChecksumMismatch) for error in errors))
    service.lines = WHOLE
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert await names(db) == ["Groceries", "Work"]
    assert (await db.wait_for_status(lambda s: s.download_error is None, DEADLINE_S)).connected


async def test_an_ended_stream_is_opened_again_from_where_it_was(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    service.end()
    await until(lambda: len(service.requests) >= 2)
    assert service.requests[1]["buckets"] == [{"name": "1#a[]", "after": "2"}]


@pytest.mark.requirement(60)
async def test_disconnect_keeps_the_data_and_ends_all_traffic(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await db.disconnect()
    asked = len(service.requests)
    assert not db.current_status.connected
    assert db.current_status.download_error is None
    await db.execute("INSERT INTO lists(id, name) VALUES ('l3', 'Offline')")
    await until(lambda: service.open_streams == 0)
    assert await names(db) == ["Groceries", "Work", "Offline"]
    assert (len(service.requests), service.uploads) == (asked, [])


@pytest.mark.requirement(61, 62)
async def test_clearing_deletes_what_was_synced_and_syncs_from_nothing(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    await db.execute("INSERT INTO drafts(id, body) VALUES ('d1', 'mine')")
    await db.connect(connector)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await db.disconnect_and_clear()
    assert await names(db) == []
    assert db.current_status.has_synced is False
    assert len(await db.get_all("SELECT * FROM drafts")) == 1
    await db.connect(connector)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert service.requests[-1].get("buckets", []) == []
    assert await names(db) == ["Groceries", "Work"]


async def test_clearing_with_writes_in_the_queue_has_to_be_wanted(db: SyncDatabase) -> None:
    await db.execute("INSERT INTO lists(id, name) VALUES ('l3', 'Offline')")
    with pytest.raises(PendingWrites) as refused:
        await db.disconnect_and_clear()
    assert refused.value.count == 1
    assert await names(db) == ["Offline"]
    await db.disconnect_and_clear(discard_pending=True)
    assert await names(db) == []


async def test_a_stream_that_the_service_does_not_know_is_visible(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, caplog: pytest.LogCaptureFixture
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    async with db.sync_stream("missing", {"id": 1}).subscribe() as handle:
        await db.wait_for_status(lambda _: handle.status is not None and handle.status.unknown, DEADLINE_S)
    assert service.requests[-1]["streams"]["subscriptions"] == [
        {"stream": "missing", "parameters": {"id": 1}, "override_priority": None}
    ]
    assert "stream_unknown" in [getattr(record, "event", "") for record in caplog.records]


async def test_unreadable_lines_end_the_stream_with_an_error(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = [{"checkpoint_diff": {"last_op_id": "1", "removed_buckets": [], "updated_buckets": []}}]
    await db.connect(connector, retry_delay_s=FAST_S)
    status = await db.wait_for_status(lambda s: s.download_error is not None, DEADLINE_S)
    assert "before any checkpoint" in str(status.download_error)
