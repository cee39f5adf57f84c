from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from syncline.client import HttpConnector, SyncDatabase
from syncline.client.errors import RetryableUploadError, ServiceError, UploadNotCompleted, UploadRejected
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, Fixed, names, until
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

EMPTY = [checkpoint(0), complete(0)]


async def write(db: SyncDatabase, row_id: str) -> None:
    await db.execute("INSERT INTO lists(id, name) VALUES (?, ?)", [row_id, row_id])


async def count(db: SyncDatabase) -> int:
    return (await db.get_upload_queue_stats()).count


async def drained(db: SyncDatabase) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await count(db):  # noqa: ASYNC110 - the queue is a table
            await asyncio.sleep(0.005)


@pytest.mark.requirement(25)
async def test_connecting_uploads_what_was_written_offline(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    await write(db, "a")
    await write(db, "b")
    await db.connect(connector, retry_delay_s=FAST_S)
    await drained(db)
    [body] = service.uploads
    assert body["client_id"] == await db.get_client_id()
    assert [entry["id"] for transaction in body["transactions"] for entry in transaction["crud"]] == ["a", "b"]
    assert [transaction["crud"][0]["client_op_id"] for transaction in body["transactions"]] == [1, 2]
    assert body["transactions"][0]["crud"][0]["op"] == "PUT"


@pytest.mark.requirement(25)
async def test_a_local_write_is_uploaded_at_once(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    await db.connect(connector, retry_delay_s=60)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "a")
    await drained(db)


@pytest.mark.requirement(25)
async def test_a_failed_upload_is_tried_again_after_the_delay(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.upload_answers = [(502, "<html>bad gateway</html>")]
    await write(db, "a")
    await db.connect(connector, retry_delay_s=FAST_S)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, ServiceError)
    await drained(db)
    assert (await db.wait_for_status(lambda s: s.upload_error is None, DEADLINE_S)).upload_error is None


@pytest.mark.requirement(25)
async def test_a_keepalive_uploads_what_another_process_wrote(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    service.lines = EMPTY
    await db.connect(connector, retry_delay_s=60)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await until(lambda: not db.current_status.uploading)
    # In a process of its own: two SQLite libraries in one process take away each other's file locks.
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()"
    sql = "INSERT INTO lists(id, name) VALUES ('foreign', 'x')"
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path / "app.db"), sql)
    assert await other.wait() == 0
    assert await count(db) == 1
    service.send({"token_expires_in": 300})
    await drained(db)


async def test_own_writes_stay_visible_until_they_come_back(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "a")
    await until(lambda: service.write_checkpoints == 1)
    # A checkpoint without the write must not take the row away; the one with it replaces it.
    service.send(checkpoint(0), complete(0))
    await db.wait_for_status(lambda s: s.blocked_by == "write_checkpoint", DEADLINE_S)
    assert await names(db) == ["a"]
    ops = [put(1, "lists", "a", name="from the source")]
    service.send(checkpoint(1, bucket("1#a[]", ops), write_checkpoint="1"), data("1#a[]", ops), complete(1))
    await db.wait_for_status(lambda s: s.blocked_by is None and not s.downloading, DEADLINE_S)
    assert await names(db) == ["from the source"]


async def test_a_checkpoint_that_overtakes_the_answer_is_applied_after_it(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    ops = [put(1, "lists", "a", name="from the source")]

    async def overtake(number: int) -> None:
        service.send(checkpoint(1, bucket("1#a[]", ops), write_checkpoint=str(number)), data("1#a[]", ops), complete(1))
        await db.wait_for_status(lambda s: s.blocked_by is not None, DEADLINE_S)

    service.on_write_checkpoint = overtake
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "a")
    await db.wait_for_status(lambda s: s.blocked_by is not None, DEADLINE_S)
    await db.wait_for_status(lambda s: s.blocked_by is None and not s.downloading, DEADLINE_S)
    assert await names(db) == ["from the source"]


@pytest.mark.requirement(49)
async def test_a_hundred_transactions_need_one_write_checkpoint(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    for number in range(100):
        await write(db, f"r{number}")
    await db.connect(connector, retry_delay_s=FAST_S)
    await until(lambda: service.write_checkpoints > 0)
    assert (len(service.uploads), service.write_checkpoints) == (2, 1)
    assert all(len(body["transactions"]) == 50 for body in service.uploads)


async def test_a_failed_write_checkpoint_request_is_tried_again(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.checkpoint_failures = 2
    await write(db, "a")
    await db.connect(connector, retry_delay_s=FAST_S)
    await until(lambda: service.write_checkpoints == 1)
    await drained(db)


async def test_a_write_during_the_write_checkpoint_request_is_uploaded_before_the_gate_opens(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY

    async def race(number: int) -> None:
        if number == 1:
            await write(db, "late")

    service.on_write_checkpoint = race
    await write(db, "a")
    await db.connect(connector, retry_delay_s=FAST_S)
    await until(lambda: service.write_checkpoints == 2)
    await drained(db)
    assert [entry["id"] for body in service.uploads for t in body["transactions"] for entry in t["crud"]] == [
        "a",
        "late",
    ]


@pytest.mark.requirement(44)
async def test_a_rejected_transaction_leaves_the_queue_and_is_counted(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    rejection = {
        "status": "fatal_error",
        "requires_client_handling": False,
        "failed_operation": {"error_code": "UNIQUE_VIOLATION"},
    }
    service.upload_answers = [(200, {"results": [rejection, {"status": "not_attempted"}]})]
    await write(db, "a")
    await write(db, "b")
    await db.connect(connector, retry_delay_s=FAST_S)
    await drained(db)
    assert connector.rejected == 1
    [letter] = await db.dead_letters.list()
    assert (letter.refusal.code, letter.entries[0].id) == ("UNIQUE_VIOLATION", "a")
    assert [len(body["transactions"]) for body in service.uploads] == [2, 1]


@pytest.mark.parametrize(
    ("answer", "kept", "error"),
    [
        (
            {"results": [{"status": "success"}, {"status": "retryable_error", "retry_after_ms": 60_000}]},
            1,
            RetryableUploadError,
        ),
        (
            {"results": [{"status": "fatal_error", "requires_client_handling": True}, {"status": "success"}]},
            2,
            UploadRejected,
        ),
        ({"results": [{"status": "not_attempted"}, {"status": "success"}]}, 2, RetryableUploadError),
        ({"results": [{"status": "success"}]}, 2, ServiceError),
        ({"results": [{"status": "fine"}, {"status": "fine"}]}, 2, ServiceError),
        ({}, 2, ServiceError),
        ("not json", 2, ServiceError),
    ],
)
@pytest.mark.requirement(43)
async def test_only_the_settled_prefix_leaves_the_queue(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, answer: Any, kept: int, error: type[Exception]
) -> None:
    service.lines = EMPTY
    service.upload_answers = [(200, answer)]
    await write(db, "a")
    await write(db, "b")
    await db.connect(connector, retry_delay_s=60)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, error)
    assert await count(db) == kept


async def test_a_forgotten_complete_is_noticed(db: SyncDatabase, service: ScriptedService) -> None:
    class Forgetful(Fixed):
        async def upload_data(self, db: SyncDatabase) -> None:
            self.calls += 1

    service.lines = EMPTY
    connector = Forgetful(service.url)
    await write(db, "a")
    await db.connect(connector, retry_delay_s=60)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, UploadNotCompleted)
    assert await count(db) == 1


async def test_a_refused_backend_token_is_fetched_again_once(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.upload_answers = [(401, {"message": "expired"})]
    await write(db, "a")
    await db.connect(connector, retry_delay_s=60)
    await drained(db)


@pytest.mark.requirement(29)
async def test_completing_a_transaction_removes_exactly_the_prefix(db: SyncDatabase) -> None:
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    transactions = [transaction async for transaction in db.crud_transactions()]
    await transactions[1].complete()
    rest = [transaction async for transaction in db.crud_transactions()]
    assert [entry.id for transaction in rest for entry in transaction.crud] == ["c"]
