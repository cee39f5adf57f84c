"""Conflict strategies on a real Postgres: what they are shown, and that nobody comes in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from typing import Any

import psycopg
import pytest

from syncline.backend import AuthenticatedUser, TablePolicy
from syncline.backend.conflicts import (
    CONFLICTS_TABLE_SQL,
    Apply,
    CurrentRow,
    Decision,
    Delta,
    InOrder,
    MergeValues,
    OnStale,
    RecordConflicts,
    Reject,
    ThreeWay,
    Transitions,
    VersionColumn,
    merge_json,
    merge_set,
    merge_text,
)
from syncline.backend.conflicts.strategy import ConflictStrategy
from syncline.backend.persisters.base import Write
from syncline.backend.persisters.postgres import PostgresPersister
from tests.integration.backend.conftest import Uploads, make_backend, patch, put

DOCUMENTS_SQL = """
CREATE TABLE documents (
  id text PRIMARY KEY,
  owner_id text NOT NULL,
  title text,
  version bigint,
  modified_at timestamptz,
  quantity numeric,
  tags text[],
  settings jsonb,
  done boolean,
  ratio double precision,
  local_time timestamp,
  payload bytea
);
"""
DEADLINE_S = 30.0
Make = Callable[..., Uploads]


@pytest.fixture
def documents(uploads: Uploads) -> Make:
    """Makes a backend whose documents have a strategy."""
    uploads.database.execute(DOCUMENTS_SQL + CONFLICTS_TABLE_SQL)

    def make(conflicts: ConflictStrategy, **options: Any) -> Uploads:
        policy = TablePolicy(owner="owner_id", conflicts=conflicts, **options)
        return Uploads(make_backend(uploads.persister, {"documents": policy}), uploads.persister, uploads.database)

    return make


def doc_put(row_id: str = "d", **data: Any) -> dict[str, Any]:
    return put(row_id, table="documents", **data)


def doc_patch(row_id: str = "d", *, previous: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    entry = patch(row_id, table="documents", **data)
    return entry if previous is None else entry | {"previous_values": previous}


def stored(uploads: Uploads, columns: str) -> Any:
    return uploads.database.execute(f"SELECT {columns} FROM documents")


async def test_a_version_is_compared_and_set(documents: Make) -> None:
    uploads = documents(VersionColumn("version"))
    await uploads.succeed(doc_put(title="1"), doc_patch(title="2", version=2), doc_patch(title="3", version=3))
    assert await uploads.code(doc_patch(title="late", version=3)) == ("CONFLICT", 0)
    assert stored(uploads, "title, version") == [("3", 3)]
    [result] = await uploads.send([doc_put("other", title="lost too"), doc_patch(title="late", version=2)])
    assert result["failed_operation"]["details"] == {"columns": ["version"]}
    assert stored(uploads, "title, version") == [("3", 3)]


async def test_a_write_that_arrives_again_is_no_conflict_whatever_forms_its_values_have(documents: Make) -> None:
    """A client without ids repeats itself after a lost answer."""
    uploads = documents(VersionColumn("version"))
    data: dict[str, Any] = {
        "modified_at": "2026-01-02 10:00:00Z",
        "settings": '{"b":1,"a":2}',
        "tags": '["x", "y"]',
        "done": True,
        "quantity": 1.5,
        "ratio": 2,
        "local_time": 1767348000000,
    }
    for entry in (doc_put(version=1, **data), doc_patch(version=2, **data)):
        await uploads.succeed(entry)
        await uploads.succeed(entry)
    assert stored(uploads, "version") == [(2,)]


async def test_one_of_many_who_write_the_same_version_wins(documents: Make) -> None:
    uploads = documents(VersionColumn("version"))
    await uploads.succeed(doc_put(title="0"))
    answers = await asyncio.gather(*(uploads.send([doc_patch(title=str(n), version=2)]) for n in range(6)))
    assert sorted(answer[0]["status"] for answer in answers) == ["fatal_error"] * 5 + ["success"]
    [(title, version)] = stored(uploads, "title, version")
    assert version == 2
    assert answers[int(title)] == [{"status": "success"}]


async def test_one_of_many_who_make_the_same_row_makes_it(documents: Make) -> None:
    """The row is not there to be locked: the insert itself decides, and the others are judged by what it left."""
    uploads = documents(VersionColumn("version"))
    answers = await asyncio.gather(*(uploads.send([doc_put(title=str(n), version=1)]) for n in range(6)))
    assert sorted(answer[0]["status"] for answer in answers) == ["fatal_error"] * 5 + ["success"]
    assert {answer[0]["failed_operation"]["error_code"] for answer in answers if "failed_operation" in answer[0]} == {
        "CONFLICT"
    }


async def test_another_users_row_is_not_shown_to_a_strategy(documents: Make) -> None:
    uploads = documents(VersionColumn("version"))
    await uploads.succeed(doc_put(title="hers", version=5))
    assert await uploads.code(doc_put(title="his", version=1), user="bob") == ("UNAUTHORIZED", 0)
    foreign = await uploads.send([doc_patch(title="his", version=2)], user="bob")
    missing = await uploads.send([doc_patch("nowhere", title="his", version=2)], user="bob")
    assert foreign == missing == [{"status": "success"}]
    assert stored(uploads, "title, version") == [("hers", 5)]


async def test_a_write_older_than_the_row_is_a_conflict(documents: Make) -> None:
    uploads = documents(OnStale("modified_at"))
    await uploads.succeed(doc_put(title="1", modified_at="2026-01-02T10:00:00Z"))
    assert await uploads.code(doc_patch(title="old", modified_at="2026-01-02T09:59:59.999Z")) == ("CONFLICT", 0)
    await uploads.succeed(doc_patch(title="2", modified_at="2026-01-02 11:00:00+01:00"))
    await uploads.succeed(doc_patch(title="3", modified_at=1767351600000))
    assert stored(uploads, "title, modified_at AT TIME ZONE 'UTC'")[0][1].isoformat() == "2026-01-02T11:00:00"


async def test_differences_of_many_devices_add_up_and_a_repeat_does_not(documents: Make) -> None:
    uploads = documents(Delta("quantity"))
    await uploads.succeed(doc_put(quantity="10.50"))

    async def take(device: int) -> Any:
        entry = doc_patch(previous={"quantity": "10.50"}, quantity="9.25") | {"client_op_id": 1}
        return await uploads.send([entry], client_id=f"device {device}")

    async with asyncio.timeout(DEADLINE_S):
        answers = await asyncio.gather(*(take(device % 4) for device in range(8)))
    assert sum("deduplicated" in answer[0] for answer in answers) == 4
    assert [str(value) for (value,) in stored(uploads, "quantity")] == ["5.50"]
    assert await uploads.code(doc_patch(previous={"quantity": 1}, quantity=2)) == ("IDENTITY_REQUIRED", 0)


async def test_values_are_merged_with_what_is_there_now(documents: Make) -> None:
    uploads = documents(ThreeWay({"title": merge_text, "tags": merge_set, "settings": merge_json}))
    read = {"title": "a\nb\nc\n", "tags": '["x"]', "settings": '{"k": 1}'}
    await uploads.succeed(doc_put(**read))
    await uploads.succeed(doc_patch(previous=read, title="A\nb\nc\n", tags='["x","y"]', settings='{"k":1,"m":2}'))
    await uploads.succeed(doc_patch(previous=read, title="a\nb\nC\n", tags='["z"]', settings='{"k":3}'))
    assert stored(uploads, "title, tags, settings") == [("A\nb\nC\n", ["y", "z"], {"k": 3, "m": 2})]
    assert await uploads.code(doc_patch(previous=read, title="other\nb\nc\n")) == ("CONFLICT", 0)


async def test_a_conflict_becomes_a_row_that_syncs_back_once(documents: Make) -> None:
    uploads = documents(RecordConflicts(VersionColumn("version")))
    await uploads.succeed(doc_put(title="theirs", version=5, done=1))
    late = doc_patch(title="mine", version=2, done=0)
    await uploads.succeed(late, doc_put("other", title="goes on"))
    uploads.database.execute("UPDATE write_conflicts SET resolved = true")
    await uploads.succeed(late)
    rows = uploads.database.execute(
        "SELECT user_id, table_name, row_id, conflict_type, client_data, server_data, resolved FROM write_conflicts"
    )
    [(*head, client_data, server_data, resolved)] = rows
    assert head == ["ann", "documents", "d", "patch"]
    assert json.loads(client_data) == {"title": "mine", "version": 2, "done": 0}
    assert json.loads(server_data) == {"title": "theirs", "version": 5, "done": 1}
    assert resolved is True  # the repeat left the record as a person had left it
    assert sorted(stored(uploads, "id, title")) == [("d", "theirs"), ("other", "goes on")]


async def test_states_and_versions_one_after_another(documents: Make) -> None:
    steps = Transitions("title", {"draft": {"sent"}}, first={"draft"})
    uploads = documents(InOrder(steps, VersionColumn("version")))
    await uploads.succeed(doc_put(title="draft"), doc_patch(title="sent", version=2))
    assert await uploads.code(doc_patch(title="draft", version=3)) == ("VALIDATION_ERROR", 0)
    assert await uploads.code(doc_put("new", title="sent")) == ("VALIDATION_ERROR", 0)


async def test_payloads_that_merge_themselves_lose_nothing_when_they_meet(documents: Make) -> None:
    def union(current: str, arriving: str) -> str:
        return " ".join(sorted({*current.split(), *arriving.split()}))

    uploads = documents(MergeValues({"title": union}))
    await uploads.succeed(doc_put(title=""))
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(uploads.succeed(doc_patch(title=f"x{n}")) for n in range(6)))
    assert stored(uploads, "title") == [("x0 x1 x2 x3 x4 x5",)]


class Watching:
    """Remembers what it was shown."""

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self.shown: list[CurrentRow | None] = []
        self.answer: Callable[[Write], Decision] = Apply

    def needs(self, write: Write) -> Collection[str]:
        del write
        return self.columns

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        self.shown.append(current)
        return self.answer(write)


SHOWN: dict[str, Any] = {
    "title": "é%",
    "version": 2**53 + 1,
    "modified_at": "2026-01-02T10:00:00.123456Z",
    "quantity": "1.10",
    "tags": '["a","b"]',
    "settings": '{"k": 1}',
    "done": 1,
    "ratio": 0.5,
    "local_time": "2026-01-02T10:00:00.000000",
    "payload": "AAEC" * 30,
}


async def test_the_current_row_is_shown_in_values_that_devices_know(documents: Make) -> None:
    """Whatever the zone of the connection is."""
    watching = Watching(*SHOWN)
    database = documents(watching).database
    persister = PostgresPersister(f"{database.dsn}?options=-c%20timezone%3DAsia/Tokyo")
    policy = TablePolicy(owner="owner_id", conflicts=watching)
    uploads = Uploads(make_backend(persister, {"documents": policy}), persister, database)
    await uploads.backend.open()
    await uploads.succeed(doc_put(**SHOWN), doc_patch(title="x"), doc_patch("nowhere", title="x"))
    await uploads.succeed(doc_put("empty"), doc_patch("empty", title="x"))
    await uploads.backend.close()
    assert watching.shown == [None, SHOWN, None, None, dict.fromkeys(SHOWN)]


async def test_a_strategy_without_needs_reads_nothing_and_an_unknown_column_is_named(documents: Make) -> None:
    watching = Watching()
    uploads = documents(watching)
    await uploads.succeed(doc_put(title="1"), doc_put(title="2"))
    assert watching.shown == [None, None]
    [result] = await documents(Watching("nothing")).send([doc_patch(title="3")])
    assert result["failed_operation"]["error_code"] == "SCHEMA_MISMATCH"
    assert "'nothing'" in result["message"]


async def test_a_soft_deleted_row_is_not_shown_and_a_put_brings_it_back(documents: Make) -> None:
    uploads = documents(VersionColumn("version"), soft_delete="modified_at")
    await uploads.succeed(doc_put(title="1"), doc_patch(title="2", version=2), doc_patch(title="3", version=3))
    await uploads.succeed({"op": "DELETE", "table": "documents", "id": "d"}, doc_patch(title="late", version=9))
    assert stored(uploads, "title, modified_at IS NOT NULL") == [("3", True)]
    await uploads.succeed(doc_put(title="again", version=1))
    assert stored(uploads, "title, version, modified_at") == [("again", 1, None)]


async def test_the_row_is_locked_from_the_question_to_the_effect(documents: Make) -> None:
    watching = Watching("title")
    uploads = documents(watching)
    await uploads.succeed(doc_put(title="1"))

    def look(write: Write) -> Decision:
        with uploads.database.connect() as other, pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("SELECT FROM documents WHERE id = 'd' FOR UPDATE NOWAIT")
        return Apply(write)

    watching.answer = look
    await uploads.succeed(doc_patch(title="2"))


async def test_a_strategy_that_fails_leaves_the_write_with_the_device(
    documents: Make, caplog: pytest.LogCaptureFixture
) -> None:
    watching = Watching("title")
    uploads = documents(watching)
    await uploads.succeed(doc_put(title="a secret"))

    def fail(write: Write) -> Decision:
        raise KeyError(str(write.data))

    watching.answer = fail
    [result] = await uploads.send([doc_patch(title="a secret")])
    assert result["status"] == "retryable_error"
    assert "KeyError" in caplog.text
    assert "a secret" not in caplog.text + str(result)


async def test_an_answer_that_is_none_is_a_failure_too(documents: Make) -> None:
    watching = Watching("title")
    watching.answer = lambda _: None  # pyright: ignore[reportAttributeAccessIssue] - a rule that answers what it must not
    [result] = await documents(watching).send([doc_put(title="1")])
    assert result["status"] == "retryable_error"


async def test_a_rejection_of_ones_own_reaches_the_device(documents: Make) -> None:
    watching = Watching("title")
    watching.answer = lambda _: Reject("USER_CONFIRMATION_REQUIRED", "Really?", {"ask": "owner"})
    answer = await documents(watching).backend.handle_upload(
        json.dumps({"crud": [doc_put(title="1")]}).encode(), AuthenticatedUser("ann")
    )
    failed = getattr(answer, "failed_operation", None)
    assert failed is not None
    assert (failed.error_code, failed.message, failed.details) == (
        "USER_CONFIRMATION_REQUIRED",
        "Really?",
        {"ask": "owner"},
    )
