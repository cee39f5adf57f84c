from __future__ import annotations

import pytest

from syncline.client import HttpConnector, SyncDatabase
from syncline.client.errors import ServiceError
from syncline.client.http_connector import RETRY_AFTER_MAX_S
from tests.integration.client.test_sync import DEADLINE_S, FAST_S
from tests.integration.client.test_upload import EMPTY, count, drained, write
from tests.support.scripted_service import ScriptedService


async def test_requests_that_are_too_large_are_halved(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.upload_bytes_max = EMPTY, 700
    for number in range(16):
        await write(db, f"r{number}")
    await db.connect(connector, retry_delay_s=60)
    await drained(db)
    sizes = [len(body["transactions"]) for body in service.uploads]
    assert sizes[:2] == [16, 8]
    sent = [body["transactions"][0]["crud"][0]["id"] for body in service.uploads]
    assert sent[-1] != "r0"
    assert db.current_status.upload_error is None


async def test_a_single_transaction_that_is_too_large_is_kept_and_named(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines, service.upload_bytes_max = EMPTY, 10
    await write(db, "a")
    await write(db, "b")
    await db.connect(connector, retry_delay_s=60)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, ServiceError)
    assert "One transaction alone" in status.upload_error.hint
    assert [len(body["transactions"]) for body in service.uploads] == [2, 1]
    assert await count(db) == 2


@pytest.mark.parametrize("status_code", [429, 503])
async def test_the_wait_that_a_busy_backend_asks_for_replaces_the_retry_delay(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, status_code: int
) -> None:
    service.lines = EMPTY
    service.upload_answers, service.upload_headers = [(status_code, "busy")], {"Retry-After": "0"}
    await write(db, "a")
    await db.connect(connector, retry_delay_s=10 * DEADLINE_S)
    await drained(db)
    assert len(service.uploads) == 2


async def test_the_wait_that_a_backend_may_ask_for_is_bounded(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.upload_answers, service.upload_headers = [(503, "busy")], {"Retry-After": "999999"}
    await write(db, "a")
    await db.connect(connector, retry_delay_s=FAST_S)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, ServiceError)
    assert status.upload_error.retry_after_s == RETRY_AFTER_MAX_S


async def test_a_forbidden_upload_is_kept_and_shown(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.upload_answers = [(403, {"message": "wrong role"})]
    await write(db, "a")
    await db.connect(connector, retry_delay_s=FAST_S)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, ServiceError)
    assert status.upload_error.status_code == 403
    assert "wrong role" in str(status.upload_error)
    await drained(db)
    assert len(service.uploads) == 2
