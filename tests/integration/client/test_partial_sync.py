from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from syncline.client import HttpConnector, SyncDatabase
from syncline.client.core.status import SyncStatus
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, WHOLE, names, until
from tests.integration.client.test_upload import EMPTY, write
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

URGENT = [put(1, "lists", "l1", name="Urgent")]
LATER = [put(2, "lists", "l2", name="Later"), put(3, "lists", "l3", name="Last")]
BOTH = checkpoint(3, bucket("1#urgent[]", URGENT, priority=1), bucket("1#later[]", LATER, priority=3))


def partial(last_op_id: int, priority: int) -> dict[str, Any]:
    """A partial_checkpoint_complete line."""
    return {"partial_checkpoint_complete": {"last_op_id": str(last_op_id), "priority": priority}}


@pytest.mark.requirement(57)
async def test_a_wait_with_a_priority_ends_when_this_priority_is_complete(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = [BOTH, data("1#urgent[]", URGENT), partial(3, 1)]
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(priority=1, timeout=DEADLINE_S)
    assert await names(db) == ["Urgent"]
    status = db.current_status
    assert (status.has_synced, status.downloading) == (False, True)
    assert status.for_priority(1) is not None
    assert status.for_priority(3) is None
    with pytest.raises(TimeoutError):
        await db.wait_for_first_sync(timeout=0.05)
    service.send(data("1#later[]", LATER), complete(3))
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert await names(db) == ["Urgent", "Later", "Last"]


@pytest.mark.requirement(57)
async def test_a_wait_for_the_first_sync_can_be_cancelled(db: SyncDatabase) -> None:
    waiting = asyncio.create_task(db.wait_for_first_sync())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_partial_sync_survives_a_restart_of_the_database(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = [BOTH, data("1#urgent[]", URGENT), partial(3, 1)]
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(priority=1, timeout=DEADLINE_S)
    service.lines = [BOTH, data("1#later[]", LATER), complete(3)]
    service.end()
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert service.requests[-1]["buckets"][0] == {"name": "1#urgent[]", "after": "3"}
    assert await names(db) == ["Urgent", "Later", "Last"]


async def test_priority_0_passes_local_writes_and_other_priorities_wait(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.upload_answers = [(503, "busy")] * 99
    await write(db, "mine")
    first = checkpoint(3, bucket("1#urgent[]", URGENT, priority=0), bucket("1#later[]", LATER, priority=1))
    service.lines = [
        first,
        data("1#urgent[]", URGENT),
        partial(3, 0),
        data("1#later[]", LATER),
        partial(3, 1),
        complete(3),
    ]
    await db.connect(connector, retry_delay_s=60)
    await db.wait_for_status(lambda s: s.blocked_by == "pending_uploads", DEADLINE_S)
    assert await names(db) == ["Urgent", "mine"]
    assert db.current_status.for_priority(0) is not None
    assert db.current_status.for_priority(1) is None


async def test_progress_counts_operations_and_goes_on_after_a_broken_stream(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    seen: list[tuple[int, int]] = []

    def note(status: SyncStatus) -> None:
        if status.progress is not None:
            seen.append((status.progress.downloaded, status.progress.total))

    db.register_listener(note)
    service.lines = [BOTH, data("1#urgent[]", URGENT)]
    await db.connect(connector, retry_delay_s=FAST_S)
    progress = (await db.wait_for_status(lambda s: s.progress is not None and s.progress.downloaded == 1)).progress
    assert progress is not None
    assert (progress.until(1), progress.until(3)) == ((1, 1), (1, 3))
    service.lines = [BOTH, data("1#later[]", LATER), complete(3)]
    service.end()
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await db.wait_for_status(lambda s: s.progress is None, DEADLINE_S)
    assert seen == sorted(seen)
    assert seen[0] == (0, 3)
    assert seen[-1] == (3, 3)


async def test_a_subscription_ends_when_its_ttl_is_over_and_the_stream_is_asked_for_without_it(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    handle = await db.sync_stream("list", {"id": 1}).subscribe(ttl=timedelta(seconds=0))
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert [entry["stream"] for entry in service.requests[0]["streams"]["subscriptions"]] == ["list"]
    service.send({"token_expires_in": 300})  # a keepalive: the handle renews it
    await db.wait_for_status(lambda s: s.for_stream("list", {"id": 1}) is not None, DEADLINE_S)
    asked = len(service.requests)
    handle.unsubscribe()
    service.send({"token_expires_in": 300})  # the next one finds it expired
    await until(lambda: len(service.requests) > asked)
    assert service.requests[-1]["streams"]["subscriptions"] == []
    await db.wait_for_status(lambda s: s.for_stream("list", {"id": 1}) is None, DEADLINE_S)


async def test_the_first_sync_is_complete_when_there_is_nothing_to_sync(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = [*EMPTY, {"token_expires_in": 300}]
    await db.connect(connector)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert db.current_status.has_synced
