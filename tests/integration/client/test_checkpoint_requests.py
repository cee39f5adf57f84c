"""Asking the service for its present state: after uploads, and for the app. Both forms that services know."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from syncline.client import BackendConnector, ConnectionLimits, Credentials, HttpConnector, SyncDatabase
from syncline.client.core.status import SyncState
from syncline.client.errors import ConnectionFailed, Disconnected, ServiceError
from syncline.errors import RemoteProtocolError
from syncline.testing.waiting import eventually
from tests.integration.client.conftest import SCHEMA
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, ROWS, WHOLE, Fixed, names
from tests.integration.client.test_upload import write
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

SERVER = put(3, "lists", "l3", name="New")


def answer(service: ScriptedService, number: int, *ops: dict[str, Any], at: int = 3) -> None:
    """Send a checkpoint that contains the request with this number."""
    bucket_now = bucket("1#a[]", [*ROWS, *ops])
    lines = [checkpoint(at, bucket_now, write_checkpoint=str(number))]
    service.send(*lines, *([data("1#a[]", list(ops))] if ops else []), complete(at))


async def answered_until(service: ScriptedService, task: asyncio.Task[Any]) -> None:
    """Tell of the newest request again and again, as a service does whenever it has something to say."""

    async def answered() -> bool:
        if service.posted_requests:
            newest = str(max(service.posted_requests))
            service.send(
                {
                    "checkpoint_diff": {
                        "last_op_id": "9",
                        "write_checkpoint": newest,
                        "removed_buckets": [],
                        "updated_buckets": [],
                    }
                },
                complete(9),
            )
        return task.done()

    await eventually(answered)


async def in_sync(db: SyncDatabase, connector: BackendConnector, **options: Any) -> None:
    await db.connect(connector, retry_delay_s=FAST_S, **options)
    await db.wait_for_first_sync(timeout=DEADLINE_S)


@pytest.mark.requirement(75)
async def test_trigger_sync_returns_when_the_state_at_its_call_is_local(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.stored_requests = WHOLE, {}
    await in_sync(db, connector)
    pulled = asyncio.create_task(db.trigger_sync(timeout=DEADLINE_S))
    await eventually(lambda: len(service.posted_requests) == 2)
    number = service.posted_requests[-1]
    answer(service, number - 1, at=2)  # an older one is not enough
    await db.wait_for_status(lambda s: s.applied_write_checkpoint == number - 1, DEADLINE_S)
    assert not pulled.done()
    answer(service, number, SERVER)
    await pulled
    assert await names(db) == ["Groceries", "Work", "New"]


@pytest.mark.requirement(75)
async def test_trigger_sync_works_with_a_service_that_counts_itself(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    await in_sync(db, connector)
    pulled = asyncio.create_task(db.trigger_sync(timeout=DEADLINE_S))
    await eventually(lambda: service.write_checkpoints == 1)
    answer(service, 1, SERVER)
    await pulled
    assert await names(db) == ["Groceries", "Work", "New"]


async def test_a_checkpoint_that_is_faster_than_the_answer_counts(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE

    async def overtake(number: int) -> None:
        answer(service, number)
        await db.wait_for_status(lambda s: s.applied_write_checkpoint == number, DEADLINE_S)

    service.on_write_checkpoint = overtake
    await in_sync(db, connector)
    request = await db.request_checkpoint()
    await request.wait_for_sync(timeout=DEADLINE_S)
    assert request.is_synced


async def test_a_pull_includes_local_writes_and_waits_for_their_upload(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.stored_requests = WHOLE, {}
    service.upload_answers = [(503, "busy")] * 9999
    await in_sync(db, connector)
    await write(db, "mine")
    with pytest.raises(ServiceError) as refused:
        await db.trigger_sync(timeout=DEADLINE_S)
    assert refused.value.status_code == 503  # what keeps the pull waiting is told at once
    service.upload_answers = []
    await db.wait_for_status(lambda s: s.upload_error is None, DEADLINE_S)
    pulled = asyncio.create_task(db.trigger_sync(timeout=DEADLINE_S))
    answer(service, 1, put(4, "lists", "mine", name="back"), at=4)
    await answered_until(service, pulled)
    await pulled
    assert (await db.get("SELECT name FROM lists WHERE id = 'mine'"))["name"] == "back"


@pytest.mark.requirement(75)
async def test_a_pull_reconnects_at_once_or_says_why_it_cannot(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    with pytest.raises(Disconnected):
        await db.trigger_sync()
    service.lines, service.stored_requests, service.refuse = WHOLE, {}, [503]
    await db.connect(connector, retry_delay_s=60)
    await db.wait_for_status(lambda s: s.download_error is not None, DEADLINE_S)
    pulled = asyncio.create_task(db.trigger_sync(timeout=DEADLINE_S))
    await answered_until(service, pulled)
    await pulled


async def test_waiting_for_a_request_ends_with_the_connection_and_with_the_time(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.stored_requests = WHOLE, {}
    await in_sync(db, connector)
    request = await db.request_checkpoint()
    with pytest.raises(TimeoutError):
        await request.wait_for_sync(timeout=0.01)
    waiting = asyncio.create_task(request.wait_for_sync())
    await asyncio.sleep(0)
    await db.disconnect()
    with pytest.raises(Disconnected):
        await waiting
    assert not request.is_synced


async def test_numbers_begin_above_what_the_service_has_and_survive_a_restart(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    service.lines = WHOLE
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        service.stored_requests = {await db.get_client_id(): 41}
        await in_sync(db, connector)
        await db.request_checkpoint()
        assert service.posted_requests == [1, 42]  # learns 41, takes the next
        await db.request_checkpoint()
        assert service.posted_requests == [1, 42, 43]
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await in_sync(db, connector)
        await db.request_checkpoint()
    assert service.posted_requests[3:] == [43, 44]


async def test_numbers_that_another_copy_of_the_file_took_are_passed_over(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.stored_requests = WHOLE, {}
    await in_sync(db, connector)
    await db.request_checkpoint()
    service.stored_requests[await db.get_client_id()] = 90
    request = await db.request_checkpoint()
    assert request.request_id == 91
    assert service.posted_requests[-2:] == [3, 91]


@pytest.mark.requirement(49)
@pytest.mark.parametrize("numbered", [True, False])
async def test_an_emptied_queue_asks_once_and_the_gate_opens_with_the_answer(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, numbered: bool
) -> None:
    service.lines, service.stored_requests = WHOLE, {} if numbered else None
    for number in range(100):
        await write(db, f"r{number:03}")
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_status(lambda s: s.pending_changes == 0 and not s.uploading, DEADLINE_S)
    await eventually(lambda: len(service.posted_requests) == 2 or service.write_checkpoints == 1)
    assert (service.write_checkpoints, service.posted_requests) == ((0, [1, 2]) if numbered else (1, []))
    answer(service, 2 if numbered else 1)
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
    assert await names(db) == ["Groceries", "Work"]


async def test_a_lost_request_is_repeated_under_its_own_number(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.stored_requests = WHOLE, {}
    await db.connect(connector, retry_delay_s=FAST_S, write_checkpoint_timeout_s=0.05)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "a")
    await eventually(lambda: len(service.posted_requests) >= 4)
    assert service.posted_requests[:4] == [1, 2, 2, 2]
    assert len(service.uploads) == 1


@pytest.mark.parametrize("numbered", [True, False])
async def test_a_request_of_the_app_that_stays_without_an_answer_is_repeated(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, numbered: bool
) -> None:
    service.lines, service.stored_requests = WHOLE, {} if numbered else None
    await in_sync(db, connector, limits=ConnectionLimits(checkpoint_repeat_s=0.02))
    request = await db.request_checkpoint()
    await eventually(lambda: len(service.posted_requests) >= 4 or service.write_checkpoints >= 3)
    assert service.posted_requests[:4] == ([1, 2, 2, 2] if numbered else [])
    answer(service, 2 if numbered else 3)
    await request.wait_for_sync(timeout=DEADLINE_S)


async def test_a_service_that_takes_no_number_is_a_protocol_error(db: SyncDatabase, service: ScriptedService) -> None:
    class Odd(Fixed):
        async def post_checkpoint_request(self, client_id: str, request_id: int) -> int:
            del client_id
            return request_id + 1

    service.lines = WHOLE
    await in_sync(db, Odd(service.url))
    with pytest.raises(RemoteProtocolError):
        await db.request_checkpoint()


async def test_mode_requests_tells_of_a_service_that_is_too_old(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    await in_sync(db, connector, checkpoint_mode="requests")
    with pytest.raises(ServiceError) as refused:
        await db.request_checkpoint()
    assert refused.value.status_code == 404
    assert service.write_checkpoints == 0


async def test_mode_legacy_never_posts_a_number(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.stored_requests = WHOLE, {}
    await in_sync(db, connector, checkpoint_mode="legacy")
    request = await db.request_checkpoint()
    assert (request.request_id, service.posted_requests) == (1, [])


async def test_a_connector_may_pass_requests_on_itself(db: SyncDatabase, service: ScriptedService) -> None:
    class Passing(Fixed):
        async def post_checkpoint_request(self, client_id: str, request_id: int) -> int:
            posted.append((client_id, request_id))
            return max(request_id, 7)

    posted: list[tuple[str, int]] = []
    service.lines = WHOLE
    await in_sync(db, Passing(service.url))
    request = await db.request_checkpoint()
    assert request.request_id == 8
    assert posted == [(await db.get_client_id(), 1), (await db.get_client_id(), 8)]
    assert (service.posted_requests, service.write_checkpoints) == ([], 0)


@pytest.mark.requirement(84)
async def test_sync_once_uploads_downloads_and_disconnects(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.stored_requests = WHOLE, {}
    await write(db, "mine")

    running = asyncio.create_task(db.sync_once(connector, timeout=DEADLINE_S, retry_delay_s=FAST_S))
    await answered_until(service, running)
    status = await running
    assert status.state is SyncState.SYNCED
    assert (status.pending_changes, len(service.uploads)) == (0, 1)
    assert await names(db) == ["Groceries", "Work"]
    assert db.current_status.state is SyncState.OFFLINE
    await eventually(lambda: service.open_streams == 0)


@pytest.mark.requirement(84)
async def test_sync_once_without_a_network_says_so_and_leaves_nothing_running(db: SyncDatabase) -> None:
    class Nowhere(Fixed):
        async def fetch_credentials(self) -> Credentials | None:
            return Credentials("http://127.0.0.1:9", "t")

    with pytest.raises(ConnectionFailed):
        await db.sync_once(Nowhere(""), timeout=DEADLINE_S)
    assert db.current_status.state is SyncState.OFFLINE
    assert not db.current_status.connecting


@pytest.mark.requirement(84)
async def test_sync_once_uses_a_connection_that_is_there_and_keeps_it(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.stored_requests = WHOLE, {}
    await in_sync(db, connector)
    running = asyncio.create_task(db.sync_once(connector, timeout=DEADLINE_S))
    await answered_until(service, running)
    await running
    assert db.current_status.connected
    assert len(service.requests) == 1
