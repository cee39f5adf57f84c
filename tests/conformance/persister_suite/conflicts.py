"""Conflict strategies on a real database: what they are shown, and that nobody comes in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from typing import Any

import pytest

from syncline.backend import TablePolicy
from syncline.backend.conflicts import (
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
from tests.conformance.persister_suite.uploads import DEADLINE_S, Uploads, delete, patch, put

__all__ = ["ConflictSuite", "Watching"]


class Watching:
    """Remembers what it was shown."""

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self.shown: list[CurrentRow | None] = []
        self.answer: Callable[[Write], Decision] = Apply

    def needs(self, write: Write) -> Collection[str]:
        """What it was made with."""
        del write
        return self.columns

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """What it was told to answer."""
        self.shown.append(current)
        return self.answer(write)


def documents(uploads: Uploads, conflicts: ConflictStrategy, **options: Any) -> Uploads:
    """Uploads to documents that have a strategy."""
    return uploads.with_tables(documents=TablePolicy(owner="owner_id", conflicts=conflicts, **options))


def doc_put(row_id: str = "d", **data: Any) -> dict[str, Any]:
    return put(row_id, table="documents", **data)


def doc_patch(row_id: str = "d", *, previous: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    entry = patch(row_id, table="documents", **data)
    return entry if previous is None else entry | {"previous_values": previous}


async def stored(uploads: Uploads, columns: str) -> Any:
    return await uploads.rows(f"SELECT {columns} FROM documents ORDER BY id")


class ConflictSuite:
    """Strategies that look at the row as it is."""

    async def test_a_version_is_compared_and_set(self, uploads: Uploads) -> None:
        docs = documents(uploads, VersionColumn("version"))
        await docs.succeed(doc_put(title="1"), doc_patch(title="2", version=2), doc_patch(title="3", version=3))
        assert await docs.code(doc_patch(title="late", version=3)) == ("CONFLICT", 0)
        [result] = await docs.send([doc_put("other", title="lost too"), doc_patch(title="late", version=2)])
        assert result["failed_operation"]["details"] == {"columns": ["version"]}
        assert await stored(docs, "title, version") == [("3", 3)]

    async def test_a_write_that_arrives_again_is_no_conflict_whatever_forms_its_values_have(
        self, uploads: Uploads
    ) -> None:
        """A client without ids repeats itself after a lost answer."""
        docs = documents(uploads, VersionColumn("version"))
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
            await docs.succeed(entry)
            await docs.succeed(entry)
        assert await stored(docs, "version") == [(2,)]

    async def test_one_of_many_who_write_the_same_version_wins(self, uploads: Uploads) -> None:
        docs = documents(uploads, VersionColumn("version"))
        await docs.succeed(doc_put(title="0"))
        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(docs.send([doc_patch(title=str(n), version=2)]) for n in range(6)))
        assert sorted(answer[0]["status"] for answer in answers) == ["fatal_error"] * 5 + ["success"]
        [(title, version)] = await stored(docs, "title, version")
        assert version == 2
        assert answers[int(title)] == [{"status": "success"}]

    async def test_one_of_many_who_make_the_same_row_makes_it(self, uploads: Uploads) -> None:
        """The row is not there to be locked: the insert itself decides, and the others are judged by what it left."""
        docs = documents(uploads, VersionColumn("version"))
        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(docs.send([doc_put(title=str(n), version=1)]) for n in range(6)))
        assert sorted(answer[0]["status"] for answer in answers) == ["fatal_error"] * 5 + ["success"]
        failed = [answer[0]["failed_operation"] for answer in answers if "failed_operation" in answer[0]]
        assert {failure["error_code"] for failure in failed} == {"CONFLICT"}

    async def test_another_users_row_is_not_shown_to_a_strategy(self, uploads: Uploads) -> None:
        docs = documents(uploads, VersionColumn("version"))
        await docs.succeed(doc_put(title="hers", version=5))
        assert await docs.code(doc_put(title="his", version=1), user="bob") == ("UNAUTHORIZED", 0)
        foreign = await docs.send([doc_patch(title="his", version=2)], user="bob")
        missing = await docs.send([doc_patch("nowhere", title="his", version=2)], user="bob")
        assert foreign == missing == [{"status": "success"}]
        assert await stored(docs, "title, version") == [("hers", 5)]

    async def test_a_write_older_than_the_row_is_a_conflict(self, uploads: Uploads) -> None:
        watching = Watching("modified_at")
        docs = documents(uploads, OnStale("modified_at"))
        await docs.succeed(doc_put(title="1", modified_at="2026-01-02T10:00:00Z"))
        assert await docs.code(doc_patch(title="old", modified_at="2026-01-02T09:59:59.999Z")) == ("CONFLICT", 0)
        await docs.succeed(doc_patch(title="2", modified_at="2026-01-02 11:00:00+01:00"))
        await docs.succeed(doc_patch(title="3", modified_at=1767351600000))
        await documents(uploads, watching).succeed(doc_patch(title="4"))
        [shown] = watching.shown
        assert shown is not None
        assert shown["modified_at"].removesuffix("Z") == "2026-01-02T11:00:00.000000"

    async def test_differences_of_many_devices_add_up_and_a_repeat_does_not(self, uploads: Uploads) -> None:
        docs = documents(uploads, Delta("quantity"))
        await docs.succeed(doc_put(quantity="10.50"))

        async def take(device: int) -> Any:
            entry = doc_patch(previous={"quantity": "10.50"}, quantity="9.25") | {"client_op_id": 1}
            return await docs.send([entry], client_id=f"device {device}")

        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(take(device % 4) for device in range(8)))
        assert sum("deduplicated" in answer[0] for answer in answers) == 4
        assert [float(value) for (value,) in await stored(docs, "quantity")] == [5.5]
        assert await docs.code(doc_patch(previous={"quantity": 1}, quantity=2)) == ("IDENTITY_REQUIRED", 0)

    async def test_values_are_merged_with_what_is_there_now(self, uploads: Uploads) -> None:
        watching = Watching("title", "tags", "settings")
        docs = documents(uploads, ThreeWay({"title": merge_text, "tags": merge_set, "settings": merge_json}))
        read = {"title": "a\nb\nc\n", "tags": '["x"]', "settings": '{"k": 1}'}
        await docs.succeed(doc_put(**read))
        await docs.succeed(doc_patch(previous=read, title="A\nb\nc\n", tags='["x","y"]', settings='{"k":1,"m":2}'))
        await docs.succeed(doc_patch(previous=read, title="a\nb\nC\n", tags='["z"]', settings='{"k":3}'))
        assert await docs.code(doc_patch(previous=read, title="other\nb\nc\n")) == ("CONFLICT", 0)
        await documents(uploads, watching).succeed(doc_patch(version=1))
        [shown] = watching.shown
        assert shown is not None
        assert shown["title"] == "A\nb\nC\n"
        assert (json.loads(shown["tags"]), json.loads(shown["settings"])) == (["y", "z"], {"k": 3, "m": 2})

    async def test_a_conflict_becomes_a_row_that_syncs_back_once(self, uploads: Uploads) -> None:
        docs = documents(uploads, RecordConflicts(VersionColumn("version")))
        await docs.succeed(doc_put(title="theirs", version=5, done=1))
        late = doc_patch(title="mine", version=2, done=0)
        await docs.succeed(late, doc_put("other", title="goes on"))
        await docs.rows("UPDATE write_conflicts SET resolved = {true}")
        await docs.succeed(late)
        rows = await docs.rows(
            "SELECT user_id, table_name, row_id, conflict_type, client_data, server_data, resolved FROM write_conflicts"
        )
        [(*head, client_data, server_data, resolved)] = rows
        assert head == ["ann", "documents", "d", "patch"]
        assert json.loads(client_data) == {"title": "mine", "version": 2, "done": 0}
        assert json.loads(server_data) == {"title": "theirs", "version": 5, "done": 1}
        assert bool(resolved) is True  # the repeat left the record as a person had left it
        assert await stored(docs, "id, title") == [("d", "theirs"), ("other", "goes on")]

    async def test_states_and_versions_one_after_another(self, uploads: Uploads) -> None:
        steps = Transitions("title", {"draft": {"sent"}}, first={"draft"})
        docs = documents(uploads, InOrder(steps, VersionColumn("version")))
        await docs.succeed(doc_put(title="draft"), doc_patch(title="sent", version=2))
        assert await docs.code(doc_patch(title="draft", version=3)) == ("VALIDATION_ERROR", 0)
        assert await docs.code(doc_put("new", title="sent")) == ("VALIDATION_ERROR", 0)

    async def test_payloads_that_merge_themselves_lose_nothing_when_they_meet(self, uploads: Uploads) -> None:
        def union(current: str, arriving: str) -> str:
            return " ".join(sorted({*current.split(), *arriving.split()}))

        docs = documents(uploads, MergeValues({"title": union}))
        await docs.succeed(doc_put(title=""))
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(docs.succeed(doc_patch(title=f"x{n}")) for n in range(6)))
        assert await stored(docs, "title") == [("x0 x1 x2 x3 x4 x5",)]

    async def test_the_current_row_is_shown_in_values_that_devices_know(self, uploads: Uploads) -> None:
        shown = dict(uploads.subject.shown)
        watching = Watching(*shown)
        docs = documents(uploads, watching)
        await docs.succeed(doc_put(**shown), doc_patch(title="x"), doc_patch("nowhere", title="x"))
        await docs.succeed(doc_put("empty"), doc_patch("empty", title="x"))
        assert watching.shown == [None, shown, None, None, dict.fromkeys(shown)]

    async def test_a_strategy_without_needs_reads_nothing_and_an_unknown_column_is_named(
        self, uploads: Uploads
    ) -> None:
        watching = Watching()
        await documents(uploads, watching).succeed(doc_put(title="1"), doc_put(title="2"))
        assert watching.shown == [None, None]
        [result] = await documents(uploads, Watching("nothing")).send([doc_patch(title="3")])
        assert result["failed_operation"]["error_code"] == "SCHEMA_MISMATCH"
        assert "'nothing'" in result["message"]

    async def test_a_soft_deleted_row_is_not_shown_and_a_put_brings_it_back(self, uploads: Uploads) -> None:
        docs = documents(uploads, VersionColumn("version"), soft_delete="modified_at")
        await docs.succeed(doc_put(title="1"), doc_patch(title="2", version=2), doc_patch(title="3", version=3))
        await docs.succeed(delete("d", table="documents"), doc_patch(title="late", version=9))
        [(title, deleted_at)] = await stored(docs, "title, modified_at")
        assert title == "3"
        assert deleted_at is not None
        await docs.succeed(doc_put(title="again", version=1))
        assert await stored(docs, "title, version, modified_at") == [("again", 1, None)]

    async def test_a_strategy_that_fails_leaves_the_write_with_the_device(
        self, uploads: Uploads, caplog: pytest.LogCaptureFixture
    ) -> None:
        watching = Watching("title")
        docs = documents(uploads, watching)
        await docs.succeed(doc_put(title="a secret"))

        def fail(write: Write) -> Decision:
            raise KeyError(str(write.data))

        watching.answer = fail
        [result] = await docs.send([doc_patch(title="a secret")])
        assert result["status"] == "retryable_error"
        assert "KeyError" in caplog.text
        assert "a secret" not in caplog.text + str(result)

    async def test_a_rejection_of_ones_own_reaches_the_device(self, uploads: Uploads) -> None:
        watching = Watching("title")
        watching.answer = lambda _: Reject("USER_CONFIRMATION_REQUIRED", "Really?", {"ask": "owner"})
        [result] = await documents(uploads, watching).send([doc_put(title="1")])
        failed = result["failed_operation"]
        assert failed["error_code"] == "USER_CONFIRMATION_REQUIRED"
        assert (failed["message"], failed["details"]) == ("Really?", {"ask": "owner"})
