from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from syncline.client import CrudTransaction, HttpConnector, Refusal, SyncDatabase, UploadPolicy
from syncline.client.errors import UploadNotCompleted, UploadRejected
from syncline.errors import ClientError
from tests.integration.client.conftest import SCHEMA
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, Fixed, until
from tests.integration.client.test_upload import EMPTY, count, drained, write
from tests.support.scripted_service import ScriptedService

LEFT_TO_APP = {
    "status": "fatal_error",
    "requires_client_handling": True,
    "failed_operation": {"error_code": "USER_CONFIRMATION_REQUIRED", "message": "sure?"},
}


async def blocked(db: SyncDatabase, service: ScriptedService, policy: UploadPolicy | None = None) -> None:
    """Two transactions, of which the backend has left the first to the app."""
    service.lines = EMPTY
    service.upload_answers = [(200, {"results": [LEFT_TO_APP, {"status": "not_attempted"}]})]
    await write(db, "a")
    await write(db, "b")
    await db.connect(HttpConnector(service.url, policy=policy), retry_delay_s=10 * DEADLINE_S)
    if policy is None:
        status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
        assert isinstance(status.upload_error, UploadRejected)
        assert status.upload_error.error_code == "USER_CONFIRMATION_REQUIRED"
        assert status.upload_error.context["first_crud_id"] == 1


async def head(db: SyncDatabase) -> CrudTransaction:
    transaction = await db.get_next_crud_transaction()
    assert transaction is not None
    return transaction


def sent(service: ScriptedService) -> list[list[str]]:
    return [[entry["id"] for each in body["transactions"] for entry in each["crud"]] for body in service.uploads]


async def test_a_transaction_that_is_left_to_the_app_can_be_given_up(
    db: SyncDatabase, service: ScriptedService
) -> None:
    await blocked(db, service)
    await db.upload_queue.resolve(await head(db), "discard")
    await drained(db)
    assert sent(service) == [["a", "b"], ["b"]]
    assert await db.dead_letters.count() == 0  # the app has decided: there is nobody left to ask


async def test_a_transaction_that_is_left_to_the_app_can_be_sent_again_at_once(
    db: SyncDatabase, service: ScriptedService
) -> None:
    await blocked(db, service)
    await db.upload_queue.resolve(await head(db), "retry")
    await drained(db)
    assert sent(service) == [["a", "b"], ["a", "b"]]


async def test_a_transaction_that_is_left_to_the_app_can_be_replaced_in_one_commit(
    db: SyncDatabase, service: ScriptedService
) -> None:
    await blocked(db, service)
    correction = "UPDATE lists SET name = ? WHERE id = ?"
    await db.upload_queue.resolve(await head(db), "replace", statements=[(correction, ["corrected", "a"])])
    await drained(db)
    assert sent(service) == [["a", "b"], ["b", "a"]]
    last = service.uploads[-1]["transactions"][-1]["crud"][0]
    assert (last["op"], last["op_data"]) == ("PATCH", {"name": "corrected"})


async def test_a_replacement_that_fails_leaves_the_transaction_where_it_was(
    db: SyncDatabase, service: ScriptedService
) -> None:
    await blocked(db, service)
    with pytest.raises(Exception, match="no such table"):
        await db.upload_queue.resolve(await head(db), "replace", statements=[("INSERT INTO nowhere VALUES (1)", None)])
    assert [t.crud[0].id for t in await db.get_crud_transactions(5)] == ["a", "b"]


async def test_statements_belong_to_a_replacement_only(db: SyncDatabase) -> None:
    await write(db, "a")
    with pytest.raises(ClientError, match="replace"):
        await db.upload_queue.resolve(await head(db), "discard", statements=[("SELECT 1", None)])


@pytest.mark.parametrize("decision", ["discard", "retain"])
async def test_a_hook_can_decide(
    db: SyncDatabase, service: ScriptedService, decision: Literal["discard", "retain"]
) -> None:
    asked: list[tuple[str, str]] = []

    async def decide(transaction: CrudTransaction, refusal: Refusal) -> Literal["discard", "retain"]:
        asked.append((transaction.crud[0].id, refusal.message))
        return decision

    await blocked(db, service, UploadPolicy(decide=decide))
    if decision == "discard":
        await drained(db)
        assert sent(service) == [["a", "b"], ["b"]]
    else:
        await db.wait_for_status(lambda s: isinstance(s.upload_error, UploadRejected), DEADLINE_S)
        assert await count(db) == 2
    assert asked == [("a", "sure?")]


@pytest.mark.parametrize("answer", ["raise", "maybe", None])
async def test_a_hook_that_does_not_decide_keeps_the_transaction(
    db: SyncDatabase, service: ScriptedService, answer: str | None
) -> None:
    def decide(_: CrudTransaction, __: Refusal) -> Any:
        if answer == "raise":
            raise RuntimeError("bug in the app")
        return answer

    await blocked(db, service, UploadPolicy(decide=decide))
    await db.wait_for_status(lambda s: isinstance(s.upload_error, UploadRejected), DEADLINE_S)
    assert await count(db) == 2


@pytest.mark.requirement(31)
async def test_forgetting_to_complete_makes_no_hot_loop(
    db: SyncDatabase, service: ScriptedService, caplog: pytest.LogCaptureFixture
) -> None:
    class Forgetful(Fixed):
        uploads: int

        async def upload_data(self, db: SyncDatabase) -> None:
            self.uploads += 1

    service.lines = EMPTY
    connector = Forgetful(service.url)
    await write(db, "a")
    started = asyncio.get_running_loop().time()
    await db.connect(connector, retry_delay_s=0.2)
    await until(lambda: connector.uploads >= 4)
    # Pauses of 0.2, 0.4 and 0.8 s, each shorter by a tenth at most.
    assert asyncio.get_running_loop().time() - started >= 0.9 * (0.2 + 0.4 + 0.8)
    assert isinstance(db.current_status.upload_error, UploadNotCompleted)
    assert "complete()" in caplog.text
    assert await count(db) == 1


async def test_local_writes_do_not_shorten_the_pause_after_a_failure(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.upload_answers = [(500, {"message": "down"})]
    await write(db, "a")
    await db.connect(connector, retry_delay_s=10 * DEADLINE_S)
    await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    for number in range(20):
        await write(db, f"r{number}")
    await db.wait_for_status(lambda s: s.connected, DEADLINE_S)
    service.send({"token_expires_in": 300})  # nor does a keepalive
    await until(lambda: len(service.requests) == 1)
    assert len(service.uploads) == 1


async def test_the_app_can_have_the_queue_looked_at_now(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.upload_answers = [(500, {"message": "down"})]
    await write(db, "a")
    await db.connect(connector, retry_delay_s=10 * DEADLINE_S)
    await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    db.upload_queue.wake()
    await drained(db)


@pytest.mark.requirement(41, 53)
async def test_the_queue_says_how_much_waits_and_since_when_nothing_has_moved(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    before = datetime.now(UTC)
    stats = await db.upload_queue.stats()
    assert (stats.count, stats.size_bytes, stats.head_since) == (0, 0, None)
    await write(db, "a")
    await write(db, "b")
    stats = await db.upload_queue.stats()
    assert stats.count == 2
    [row] = await db.get_all("SELECT sum(length(CAST(data AS BLOB)) + 20) AS size FROM ps_crud")
    assert stats.size_bytes == row["size"]
    assert stats.head_since is not None
    assert before - timedelta(milliseconds=1) <= stats.head_since <= datetime.now(UTC)
    assert stats.head_age_s(stats.head_since + timedelta(seconds=90)) == 90.0
    first = stats.head_since
    assert (await db.upload_queue.stats()).head_since == first
    service.lines = EMPTY
    service.upload_answers = [(500, "")]
    await db.connect(connector, retry_delay_s=10 * DEADLINE_S)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert status.upload_queue_since == first
    await db.close()
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as again:
        kept = (await again.upload_queue.stats()).head_since
        assert kept is not None
        assert abs(kept - first) < timedelta(milliseconds=1)  # a restart makes a stuck queue no younger


@pytest.mark.requirement(254)
async def test_every_upload_is_logged_with_counts_and_names_and_without_values(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "syncline.client")
    service.lines = EMPTY
    await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'very secret')")
    await db.connect(connector, retry_delay_s=FAST_S)
    await drained(db)
    await until(lambda: any(getattr(each, "event", "") == "upload_finished" for each in caplog.records))
    [record] = [each for each in caplog.records if getattr(each, "event", "") == "upload_finished"]
    fields = vars(record)
    assert (fields["operations"], fields["transactions"], fields["settled"], fields["rejected"]) == (1, 1, 1, 0)
    assert fields["tables"] == ["lists"]
    assert 0 <= fields["duration_ms"] < 1000 * DEADLINE_S
    assert "very secret" not in caplog.text
    assert "token-1" not in caplog.text


@pytest.mark.requirement(51)
async def test_a_slow_backend_does_not_slow_a_local_write(db: SyncDatabase, service: ScriptedService) -> None:
    class Slow(Fixed):
        uploads: int

        async def upload_data(self, db: SyncDatabase) -> None:
            self.uploads += 1
            await asyncio.Event().wait()

    service.lines = EMPTY
    connector = Slow(service.url)
    await write(db, "first")
    await db.connect(connector)
    await until(lambda: connector.uploads == 1)
    async with asyncio.timeout(DEADLINE_S):
        for number in range(50):
            await write(db, f"r{number}")
    assert connector.uploads == 1
    assert await count(db) == 51


@pytest.mark.requirement(52)
async def test_writes_of_an_offline_run_arrive_once_after_a_restart(service: ScriptedService, tmp_path: Path) -> None:
    service.lines = EMPTY
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.connect(HttpConnector("http://127.0.0.1:9"), retry_delay_s=FAST_S)
        for row_id in ("a", "b", "c"):
            await write(db, row_id)
        await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.connect(HttpConnector(service.url), retry_delay_s=FAST_S)
        await drained(db)
    assert sent(service) == [["a", "b", "c"]]
