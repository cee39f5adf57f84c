from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest

from syncline.client import HttpConnector, SyncDatabase
from syncline.client.errors import ClientForked, ServiceError
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, names, until
from tests.integration.client.test_upload import EMPTY, drained, write
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

FORKED = {
    "status": "fatal_error",
    "requires_client_handling": True,
    "failed_operation": {"error_code": "CLIENT_FORKED"},
}


def sent_ids(body: dict[str, Any]) -> list[str]:
    return [entry["id"] for transaction in body["transactions"] for entry in transaction["crud"]]


async def test_a_copied_file_takes_a_new_client_id_and_sends_its_whole_queue_again(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    old_id = await db.get_client_id()
    service.lines = EMPTY
    service.upload_answers = [(200, {"results": [{"status": "success"}, FORKED, {"status": "not_attempted"}]})]
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    await db.connect(connector, retry_delay_s=60)
    await drained(db)
    new_id = await db.get_client_id()
    assert new_id != old_id
    assert [(body["client_id"], sent_ids(body)) for body in service.uploads] == [
        (old_id, ["a", "b", "c"]),
        (new_id, ["b", "c"]),
    ]
    await until(lambda: bool(service.checkpoint_client_ids))
    assert service.checkpoint_client_ids == [new_id]
    await until(lambda: service.requests[-1]["client_id"] == new_id)
    assert await names(db) == ["a", "b", "c"]
    assert db.current_status.upload_error is None


async def test_write_checkpoints_of_the_old_client_id_do_not_open_the_gate(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    ops = [put(1, "lists", "z", name="from the source")]
    service.lines = [checkpoint(1, bucket("1#a[]", ops), write_checkpoint="900"), data("1#a[]", ops), complete(1)]
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    service.lines = [checkpoint(1, bucket("1#a[]", ops)), complete(1)]
    service.upload_answers = [(200, {"results": [FORKED]})]
    await write(db, "a")
    await until(lambda: service.write_checkpoints == 1)
    await db.wait_for_status(lambda s: s.connected and s.blocked_by == "write_checkpoint", DEADLINE_S)
    assert await names(db) == ["a", "from the source"]


async def test_a_client_id_is_taken_once_and_then_the_retry_delay_holds(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.upload_answers = [(200, {"results": [FORKED]})] * 9
    await write(db, "a")
    await db.connect(connector, retry_delay_s=60)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, ClientForked)
    assert len(service.uploads) == 2


async def test_the_new_client_id_is_the_files_own(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    service.upload_answers = [(200, {"results": [FORKED]})]
    await write(db, "a")
    await db.connect(connector, retry_delay_s=60)
    await drained(db)
    [row] = await db.get_all("SELECT value FROM ps_kv WHERE key = 'client_id'")
    assert row["value"] == await db.get_client_id()


async def write_from_outside(file: Path, row_id: str) -> None:
    """A commit of a program that knows nothing of us: it shares its transaction id with others of its kind."""
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2], [sys.argv[3]]); c.commit()"
    sql = "INSERT INTO lists(id, name) VALUES (?, 'x')"
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(file), sql, row_id)
    assert await other.wait() == 0


@pytest.mark.requirement(28)
async def test_a_transaction_that_was_sent_does_not_grow_by_later_commits_of_foreign_writers(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    """With another content under the same first id the backend would have to take the file for a copy."""
    service.upload_answers = [(503, "answer lost")] * 2
    groups: list[list[list[str]]] = []
    for row_id in ("a", "b", "c"):
        await write_from_outside(tmp_path / "app.db", row_id)
        with contextlib.suppress(ServiceError):
            await connector.upload_data(db)
        sent = service.uploads[-1]["transactions"]
        groups.append([[entry["id"] for entry in transaction["crud"]] for transaction in sent])
        assert len({transaction["crud"][0]["transaction_id"] for transaction in sent}) == 1
    assert groups == [[["a"]], [["a"], ["b"]], [["a"], ["b"], ["c"]]]
