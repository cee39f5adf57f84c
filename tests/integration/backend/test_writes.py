from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.backend import AuthenticatedUser
from syncline.protocol.crud import ResultStatus, TransactionResult
from syncline.testing.postgres import ScratchDatabase
from tests.integration.backend.conftest import Uploads, delete, patch, put

DEADLINE_S = 10.0


def rows(database: ScratchDatabase, columns: str = "id, name, owner_id") -> list[tuple[Any, ...]]:
    return database.execute(f"SELECT {columns} FROM lists ORDER BY id")


@pytest.mark.requirement(129)
async def test_a_transaction_whose_third_operation_fails_leaves_nothing(uploads: Uploads) -> None:
    assert await uploads.code(
        put("a", name="1"), put("b", name="2"), put("c", name="3", parent_id="missing"), put("d", name="4")
    ) == ("FOREIGN_KEY_VIOLATION", 2)
    assert rows(uploads.database) == []


@pytest.mark.requirement(129)
async def test_each_transaction_of_a_batch_stands_for_itself(uploads: Uploads) -> None:
    results = await uploads.send([put("a", name="1")], [put("b", name="2"), put("c")], [put("d", name="4")])
    assert [result["status"] for result in results] == ["success", "fatal_error", "not_attempted"]
    assert [row[0] for row in rows(uploads.database)] == ["a"]


async def test_rows_of_one_transaction_may_refer_to_each_other(uploads: Uploads) -> None:
    await uploads.succeed(put("a", name="parent"), put("b", name="child", parent_id="a"), delete("b"), delete("a"))
    assert rows(uploads.database) == []


@pytest.mark.requirement(131)
async def test_a_patch_touches_only_the_given_columns(uploads: Uploads) -> None:
    await uploads.succeed(put("a", name="1", note="kept", stars=3))
    await uploads.succeed(patch("a", name="2", stars=None))
    assert rows(uploads.database, "name, note, stars") == [("2", "kept", None)]


@pytest.mark.requirement(131)
async def test_a_patch_of_a_missing_row_does_nothing(uploads: Uploads) -> None:
    await uploads.succeed(put("a", name="1"), delete("a"), patch("a", name="2"))
    assert rows(uploads.database) == []


@pytest.mark.requirement(132)
async def test_a_second_delete_succeeds(uploads: Uploads) -> None:
    await uploads.succeed(put("a", name="1"))
    await uploads.succeed(delete("a"))
    await uploads.succeed(delete("a"))
    assert rows(uploads.database) == []


async def test_a_put_over_a_row_merges_its_columns(uploads: Uploads) -> None:
    """A device leaves NULL columns out of a PUT, so what is not listed says nothing."""
    await uploads.succeed(put("a", name="1", note="kept"))
    await uploads.succeed(put("a", name="2"))
    assert rows(uploads.database, "name, note") == [("2", "kept")]


async def test_a_put_without_columns_makes_a_row_of_defaults(uploads: Uploads) -> None:
    uploads.database.execute("ALTER TABLE lists ALTER name SET DEFAULT 'new'")
    await uploads.succeed(put("a"), put("a"))
    assert rows(uploads.database, "id, name, note, owner_id") == [("a", "new", "none", "ann")]


IDS = st.sampled_from(["a", "b", "c"])
DATA = st.fixed_dictionaries(
    {"name": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)},
    optional={"stars": st.none() | st.integers(-9, 5), "note": st.none() | st.sampled_from(["x", "y"])},
)


def putting(row_id: str, data: dict[str, Any]) -> dict[str, Any]:
    return put(row_id, **data)


def patching(row_id: str, data: dict[str, Any]) -> dict[str, Any]:
    return patch(row_id, **data)


OPERATIONS = st.one_of(st.builds(putting, IDS, DATA), st.builds(patching, IDS, DATA), st.builds(delete, IDS))


@pytest.mark.requirement(130, 132)
@given(operations=st.lists(OPERATIONS, min_size=1, max_size=8))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_operations_applied_twice_leave_what_they_leave_when_applied_once(
    uploads: Uploads, operations: list[dict[str, Any]]
) -> None:
    left: list[list[tuple[Any, ...]]] = []
    for times in (1, 2):
        uploads.database.execute("DELETE FROM lists")
        results = await uploads.send(*([operation] for operation in operations for _ in range(times)))
        assert {result["status"] for result in results} == {"success"}
        left.append(rows(uploads.database, "*"))
    assert left[0] == left[1]


@pytest.mark.requirement(134)
async def test_a_forged_owner_is_replaced_and_a_patch_gives_nothing_away(uploads: Uploads) -> None:
    await uploads.succeed(put("a", name="1", owner_id="bob"))
    await uploads.succeed(patch("a", name="2", owner_id="bob"))
    assert rows(uploads.database) == [("a", "2", "ann")]


@pytest.mark.requirement(137, missing="the owner syncs back to the device")
@pytest.mark.parametrize("data", [{"name": "1"}, {"name": "1", "owner_id": None}])
async def test_a_row_without_an_owner_on_the_device_gets_the_writer(uploads: Uploads, data: dict[str, Any]) -> None:
    await uploads.succeed(put("a", **data))
    await uploads.succeed(patch("a", owner_id=None))
    assert rows(uploads.database) == [("a", "1", "ann")]


@pytest.mark.requirement(136)
async def test_a_put_on_another_users_row_is_refused_and_changes_nothing(uploads: Uploads) -> None:
    await uploads.succeed(put("a", name="hers"))
    assert await uploads.code(put("b", name="his"), put("a", name="taken"), user="bob") == ("UNAUTHORIZED", 1)
    assert rows(uploads.database) == [("a", "hers", "ann")]


@pytest.mark.requirement(135)
@pytest.mark.parametrize("attempt", [patch("a", name="his"), delete("a")])
async def test_another_users_row_is_out_of_reach_and_the_answer_does_not_tell(
    uploads: Uploads, attempt: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    await uploads.succeed(put("a", name="hers"))
    with caplog.at_level(logging.WARNING, "syncline.backend"):
        foreign = await uploads.send([attempt], user="bob")
        missing = await uploads.send([attempt | {"id": "nowhere"}], user="bob")
    assert foreign == missing == [{"status": "success"}]
    assert rows(uploads.database) == [("a", "hers", "ann")]
    events = [record for record in caplog.records if getattr(record, "event", "") == "backend.foreign_row"]
    assert len(events) == 1
    assert "hers" not in str(events[0].__dict__)


async def test_a_row_without_an_owner_belongs_to_nobody(uploads: Uploads) -> None:
    uploads.database.execute("ALTER TABLE lists ALTER owner_id DROP NOT NULL")
    uploads.database.execute("INSERT INTO lists (id, name) VALUES ('a', 'ours')")
    assert await uploads.code(put("a", name="mine")) == ("UNAUTHORIZED", 0)
    await uploads.succeed(patch("a", name="mine"), delete("a"))
    assert rows(uploads.database) == [("a", "ours", None)]


COMMIT_WAITS_SQL = """
CREATE FUNCTION wait_for_42() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON lists DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION wait_for_42();
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"


@pytest.mark.requirement(154)
async def test_the_answer_comes_after_the_commit_never_before(uploads: Uploads) -> None:
    uploads.database.execute(COMMIT_WAITS_SQL)
    with uploads.database.connect() as other:
        other.execute("SELECT pg_advisory_lock(42)")
        answer = asyncio.create_task(uploads.send([put("a", name="1")]))
        async with asyncio.timeout(DEADLINE_S):
            while other.execute(WAITING).fetchone() != (1,):  # noqa: ASYNC110 - the lock is in the database
                await asyncio.sleep(0.005)
        assert not answer.done()
        assert rows(uploads.database) == []
        other.execute("SELECT pg_advisory_unlock(42)")
        async with asyncio.timeout(DEADLINE_S):
            assert await answer == [{"status": "success"}]
        assert other.execute("SELECT id FROM lists").fetchall() == [("a",)]


@pytest.mark.requirement(127, 152)
async def test_both_forms_of_the_write_api_and_checkpoints_work_on_postgres(uploads: Uploads) -> None:
    """The batch is what all other tests here send; this one sends the first form, and counts checkpoints."""
    ann = AuthenticatedUser("ann")
    body = json.dumps({"crud": [put("l1", name="first form")]}).encode()
    assert await uploads.backend.handle_upload(body, ann) == TransactionResult(ResultStatus.SUCCESS)
    assert uploads.database.execute("SELECT name, owner_id FROM lists") == [("first form", "ann")]
    counts = await asyncio.gather(*(uploads.backend.next_checkpoint("phone", ann) for _ in range(5)))
    assert sorted(counts) == [1, 2, 3, 4, 5]
    assert await uploads.backend.next_checkpoint("laptop", ann) == 1
    assert await uploads.backend.next_checkpoint("phone", AuthenticatedUser("bob")) == 1
    rows = uploads.database.execute("SELECT user_id, client_id, checkpoint FROM syncline_checkpoints ORDER BY 1, 2")
    assert rows == [("ann", "laptop", 1), ("ann", "phone", 5), ("bob", "phone", 1)]
