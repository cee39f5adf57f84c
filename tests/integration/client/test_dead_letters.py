from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from syncline.client import HttpConnector, Refusal, SyncDatabase, blocking
from syncline.client.dead_letters import DEAD_LETTERS_MAX, DeadLettersFull
from syncline.client.errors import PendingWrites
from tests.integration.client.conftest import SCHEMA
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, names, until
from tests.integration.client.test_upload import EMPTY, count, drained, write
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

REFUSAL = Refusal("UNIQUE_VIOLATION", "taken", status_code=409, details={"column": "name"}, operation_index=1)


async def refuse_head(db: SyncDatabase, refusal: Refusal = REFUSAL) -> None:
    transaction = await db.get_next_crud_transaction()
    assert transaction is not None
    await transaction.reject(refusal)


@pytest.mark.requirement(45)
async def test_a_letter_tells_what_was_written_and_why_it_was_refused(db: SyncDatabase) -> None:
    await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'x''y'), ('b', '✓')")
    before = await db.get_next_crud_transaction()
    assert before is not None
    await refuse_head(db)
    [letter] = await db.dead_letters.list()
    assert letter.entries == before.crud
    assert letter.refusal == REFUSAL
    assert letter.client_id == await db.get_client_id()
    assert letter.transaction_id == before.transaction_id
    assert letter.created_at.tzinfo is not None
    assert await db.dead_letters.get(letter.id) == letter
    assert await count(db) == 0


@pytest.mark.requirement(45)
async def test_a_retried_letter_is_uploaded_as_a_new_transaction_behind_what_waits(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'one'), ('b', 'two')")
    await refuse_head(db)
    await write(db, "later")
    [letter] = await db.dead_letters.list()
    assert await db.dead_letters.retry(letter.id)
    assert await db.dead_letters.count() == 0
    assert not await db.dead_letters.retry(letter.id)
    await db.connect(connector, retry_delay_s=FAST_S)
    await drained(db)
    [body] = service.uploads
    assert [[entry["id"] for entry in each["crud"]] for each in body["transactions"]] == [["later"], ["a", "b"]]
    ids = [entry["client_op_id"] for each in body["transactions"] for entry in each["crud"]]
    assert ids == [3, 4, 5]  # 1 and 2 were used: their content may not come again under another verdict
    assert body["transactions"][1]["crud"][0]["op_data"] == {"name": "one"}


@pytest.mark.requirement(45)
async def test_a_discarded_letter_is_gone_and_its_rows_return_to_the_servers(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    await write(db, "a")
    await refuse_head(db)
    [letter] = await db.dead_letters.list()
    assert await db.dead_letters.discard(letter.id)
    assert not await db.dead_letters.discard(letter.id)
    assert await db.dead_letters.list() == []
    assert await names(db) == ["a"]
    await db.connect(connector, retry_delay_s=FAST_S)
    await until(lambda: service.write_checkpoints == 1)
    ops = [put(1, "lists", "z", name="theirs")]
    service.send(checkpoint(1, bucket("1#a[]", ops), write_checkpoint="1"), data("1#a[]", ops), complete(1))
    await db.wait_for_status(lambda s: s.blocked_by is None and s.last_synced_at is not None, DEADLINE_S)
    await until_names(db, ["theirs"])


async def until_names(db: SyncDatabase, wanted: list[str]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await names(db) != wanted:  # noqa: ASYNC110 - rows of a table
            await asyncio.sleep(0.01)


async def test_all_letters_can_be_retried_or_discarded_at_once(db: SyncDatabase) -> None:
    for row_id in ("a", "b"):
        await write(db, row_id)
        await refuse_head(db)
    assert await db.dead_letters.retry_all() == 2
    assert [t.crud[0].id for t in await db.get_crud_transactions(5)] == ["a", "b"]
    await refuse_head(db)
    await refuse_head(db)
    assert await db.dead_letters.discard_all() == 2
    assert (await db.dead_letters.count(), await count(db)) == (0, 0)


async def test_letters_are_listed_in_pages(db: SyncDatabase) -> None:
    for number in range(5):
        await write(db, f"{number}")
        await refuse_head(db)
    first = await db.dead_letters.list(limit=2)
    rest = await db.dead_letters.list(after=first[-1].id)
    assert [letter.entries[0].id for letter in first + rest] == ["0", "1", "2", "3", "4"]


async def test_a_letter_and_its_way_out_of_the_queue_are_one_commit(db: SyncDatabase) -> None:
    """Rejecting the second of two transactions completes the first; nothing of it is a letter."""
    await write(db, "a")
    await write(db, "b")
    _, second = await db.get_crud_transactions(2)
    await second.reject(REFUSAL)
    assert [[entry.id for entry in letter.entries] for letter in await db.dead_letters.list()] == [["b"]]
    assert await count(db) == 0
    await second.reject(REFUSAL)  # once more, after a crash in an app's code: there is nothing left to refuse
    assert await db.dead_letters.count() == 1


async def test_when_no_more_letters_are_kept_the_refused_transaction_stays_and_what_is_before_it_leaves(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    await write(db, "seed")
    await refuse_head(db)
    await db.execute(  # as many as the file may hold, in the app's own words: the table is a plain one
        "INSERT INTO syncline_dead_letters(created_at, crud, error_code, message)"
        " WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " SELECT 0, '[]', 'OLD', '' FROM n",
        [DEAD_LETTERS_MAX],
    )
    refused = {"status": "fatal_error", "requires_client_handling": False}
    service.upload_answers = [(200, {"results": [{"status": "success"}, refused]})]
    await write(db, "a")
    await write(db, "b")
    with pytest.raises(DeadLettersFull):
        await connector.upload_data(db)
    assert [transaction.crud[0].id for transaction in await db.get_crud_transactions(5)] == ["b"]
    assert await db.dead_letters.count() == DEAD_LETTERS_MAX


@pytest.mark.requirement(62)
async def test_clearing_counts_letters_as_pending_and_takes_them_along_when_told_so(db: SyncDatabase) -> None:
    await write(db, "a")
    await refuse_head(db)
    with pytest.raises(PendingWrites) as raised:
        await db.disconnect_and_clear()
    assert raised.value.count == 1
    assert await db.dead_letters.count() == 1
    await db.disconnect_and_clear(discard_pending=True)
    assert await db.dead_letters.count() == 0


async def test_letters_survive_a_restart_and_are_no_table_of_the_schema(db: SyncDatabase, tmp_path: Path) -> None:
    await write(db, "a")
    await refuse_head(db)
    await db.close()
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as again:
        assert [letter.refusal for letter in await again.dead_letters.list()] == [REFUSAL]


@pytest.mark.requirement(45)
async def test_any_sqlite_program_can_read_the_letters(db: SyncDatabase, tmp_path: Path) -> None:
    await write(db, "a")
    await refuse_head(db)
    script = (
        "import json, sqlite3, sys\n"
        "rows = sqlite3.connect(sys.argv[1]).execute('SELECT error_code, crud FROM syncline_dead_letters').fetchall()\n"
        "print(json.dumps(rows))"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path / "app.db"), stdout=asyncio.subprocess.PIPE
    )
    text, _ = await other.communicate()
    [[code, crud]] = json.loads(text)
    assert code == "UNIQUE_VIOLATION"
    [[crud_id, entry]] = json.loads(crud)
    assert (crud_id, json.loads(entry)["data"]) == (1, {"name": "a"})


async def test_watching_the_letters_tells_of_new_ones(db: SyncDatabase) -> None:
    await write(db, "seed")
    await refuse_head(db)
    seen = asyncio.Queue[int]()

    async def follow() -> None:
        async for rows in db.watch("SELECT id FROM syncline_dead_letters"):
            seen.put_nowait(len(rows))

    following = asyncio.create_task(follow())
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert await seen.get() == 1
            await write(db, "a")
            await refuse_head(db)
            assert await seen.get() == 2
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def test_plain_code_has_the_letters_and_the_queue_without_await(tmp_path: Path) -> None:
    with blocking.SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        db.execute("INSERT INTO lists(id, name) VALUES ('a', 'x')")
        transaction = db.get_next_crud_transaction()
        transaction.reject(REFUSAL)
        [letter] = db.dead_letters.list()
        assert letter.refusal == REFUSAL
        assert db.dead_letters.retry(letter.id)
        assert db.upload_queue.stats().count == 1
