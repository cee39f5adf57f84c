from __future__ import annotations

from syncline.client import HttpConnector, SyncDatabase
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, names, until
from tests.integration.client.test_upload import EMPTY, write
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

TIMEOUT_S = 0.1


async def test_a_write_checkpoint_that_does_not_come_is_requested_anew(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    await db.connect(connector, retry_delay_s=FAST_S, write_checkpoint_timeout_s=TIMEOUT_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "a")
    # Nothing comes: the status says what is waited for, and a second number is asked for.
    await db.wait_for_status(lambda s: s.blocked_by == "write_checkpoint", DEADLINE_S)
    await until(lambda: service.write_checkpoints >= 2)
    assert len(service.uploads) == 1
    ops = [put(1, "lists", "a", name="from the source")]
    service.send(checkpoint(1, bucket("1#a[]", ops), write_checkpoint="1000"), data("1#a[]", ops), complete(1))
    await db.wait_for_status(lambda s: s.blocked_by is None and not s.downloading, DEADLINE_S)
    assert await names(db) == ["from the source"]


async def test_a_silent_stream_is_opened_again(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    await db.connect(connector, retry_delay_s=FAST_S, read_idle_timeout_s=TIMEOUT_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await until(lambda: len(service.requests) >= 3)
    await db.wait_for_status(lambda s: s.connected, DEADLINE_S)
