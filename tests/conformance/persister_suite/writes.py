"""Transactions and rows: all or nothing, committed before the answer, in order; what PUT, PATCH and DELETE do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from syncline.backend import TablePolicy
from syncline.backend.hooks import OperationHooks
from syncline.backend.persisters.base import (
    OpenTransaction,
    StreamingPersister,
    UploadIdentity,
    Write,
    WriteContext,
    WriteRefused,
)
from syncline.protocol.crud import ResultStatus, UpdateType
from tests.conformance.persister_suite.uploads import DEADLINE_S, Uploads, delete, patch, put

__all__ = ["RowSuite", "TransactionSuite"]

LISTS = "SELECT id, name, owner_id FROM lists ORDER BY id"


class TransactionSuite:
    """One client transaction is one database transaction."""

    @pytest.mark.requirement(129, 145)
    async def test_a_transaction_whose_third_operation_fails_leaves_nothing(self, uploads: Uploads) -> None:
        crud = [put("a", name="1"), put("b", name="2"), put("c", name="3", parent_id="missing"), put("d", name="4")]
        assert await uploads.code(*crud) == ("FOREIGN_KEY_VIOLATION", 2)
        assert await uploads.rows(LISTS) == []
        assert await uploads.rows("SELECT * FROM effects") == []

    @pytest.mark.requirement(129)
    async def test_each_transaction_of_a_batch_stands_for_itself(self, uploads: Uploads) -> None:
        results = await uploads.send([put("a", name="1")], [put("b", name="2"), put("c")], [put("d", name="4")])
        assert [result["status"] for result in results] == ["success", "fatal_error", "not_attempted"]
        assert await uploads.rows(LISTS) == [("a", "1", "ann")]

    async def test_rows_of_one_transaction_may_refer_to_each_other(self, uploads: Uploads) -> None:
        crud = [put("a", name="parent"), put("b", name="child", parent_id="a"), delete("b"), delete("a")]
        await uploads.succeed(*crud)
        assert await uploads.rows(LISTS) == []

    async def test_operations_take_effect_in_their_order(self, uploads: Uploads) -> None:
        await uploads.succeed(
            put("a", name="1"), patch("a", name="2"), delete("a"), put("a", name="3"), patch("a", note="4")
        )
        assert await uploads.rows("SELECT id, name, note FROM lists") == [("a", "3", "4")]

    @pytest.mark.requirement(154)
    async def test_nothing_is_seen_before_the_commit_and_all_of_it_with_the_answer(self, uploads: Uploads) -> None:
        seen: list[Any] = []

        async def look(_: OpenTransaction) -> None:
            seen.append(await uploads.rows(LISTS))

        written = Write(UpdateType.PUT, "lists", "a", {"name": "1"}, ("owner_id", "ann"), 0)
        looking = Write(UpdateType.PUT, "lists", "", {}, None, 1, procedure=look)
        result = await uploads.persister.apply([written, looking], None)
        assert result.status is ResultStatus.SUCCESS
        assert seen == [[]]
        assert await uploads.rows(LISTS) == [("a", "1", "ann")]

    async def test_a_procedure_writes_in_the_transaction_and_goes_with_it(self, uploads: Uploads) -> None:
        async def write(transaction: OpenTransaction) -> None:
            await transaction.write(Write(UpdateType.PUT, "lists", "b", {"name": "2"}, ("owner_id", "ann"), 1))

        calling = Write(UpdateType.PUT, "calls", "", {}, None, 1, procedure=write)
        first = Write(UpdateType.PUT, "lists", "a", {"name": "1"}, ("owner_id", "ann"), 0)
        await uploads.persister.apply([first, calling], None)
        assert await uploads.rows(LISTS) == [("a", "1", "ann"), ("b", "2", "ann")]

    async def test_batches_of_a_stream_are_one_transaction(self, uploads: Uploads) -> None:
        persister: StreamingPersister = cast("StreamingPersister", uploads.persister)

        def batches(*names: str | None) -> Callable[[], AsyncIterator[list[Write]]]:
            async def read() -> AsyncIterator[list[Write]]:
                for index, name in enumerate(names):
                    yield [Write(UpdateType.PUT, "lists", f"{index}", {"name": name}, ("owner_id", "ann"), index)]

            return read

        identity = UploadIdentity("ann", "c1", 1, 3, "hash")
        with pytest.raises(WriteRefused) as caught:
            await persister.apply_stream(batches("a", "b", None), identity, seconds_max=DEADLINE_S)
        assert (caught.value.error_code, caught.value.operation_index) == ("NOT_NULL_VIOLATION", 2)
        assert await uploads.rows(LISTS) == []
        for deduplicated in (False, True):
            result = await persister.apply_stream(batches("a", "b", "c"), identity, seconds_max=DEADLINE_S)
            assert (result.status, result.deduplicated) == (ResultStatus.SUCCESS, deduplicated)
        assert [name for _, name, _ in await uploads.rows(LISTS)] == ["a", "b", "c"]

    @pytest.mark.requirement(146)
    async def test_hooks_run_around_each_write_and_may_end_it(self, uploads: Uploads) -> None:
        called: list[str] = []

        async def before(_: Any, write: Write) -> None:
            called.append(f"before {write.id}")

        async def after(_: Any, write: Write) -> None:
            called.append(f"after {write.id}")
            if write.id == "b":
                raise WriteRefused("NOT_TODAY", "No.")

        context = WriteContext(operation_hooks=OperationHooks(before, after))
        writes = [
            Write(UpdateType.PUT, "lists", row_id, {"name": "1"}, ("owner_id", "ann"), index, context=context)
            for index, row_id in enumerate("ab")
        ]
        with pytest.raises(WriteRefused) as caught:
            await uploads.persister.apply(writes, None)
        assert (caught.value.error_code, caught.value.operation_index) == ("NOT_TODAY", 1)
        assert called == ["before a", "after a", "before b", "after b"]
        assert await uploads.rows(LISTS) == []


class RowSuite:
    """What PUT, PATCH and DELETE do to a row."""

    @pytest.mark.requirement(130)
    async def test_a_put_over_a_row_merges_its_columns(self, uploads: Uploads) -> None:
        await uploads.succeed(put("a", name="1", note="kept"))
        await uploads.succeed(put("a", name="2"))
        assert await uploads.rows("SELECT name, note FROM lists") == [("2", "kept")]

    @pytest.mark.requirement(130)
    async def test_a_put_that_changes_nothing_succeeds_again_and_again(self, uploads: Uploads) -> None:
        notes = uploads.with_tables(notes=TablePolicy(owner=None))
        for _ in range(3):
            await notes.succeed(put("n", table="notes"), put("n", table="notes", name="same"))
        assert await uploads.rows("SELECT id, name, body FROM notes") == [("n", "same", "empty")]

    async def test_a_put_that_replaces_leaves_no_value_of_the_devices_columns(self, uploads: Uploads) -> None:
        policy = TablePolicy(owner=None, columns=["name", "body"], put_mode="replace", device="device_id")
        notes = uploads.with_tables(notes=policy)
        await uploads.rows("INSERT INTO notes (id, name, body, made_by) VALUES ('n', 'old', 'old', 'a person')")
        await notes.send([put("n", table="notes", body=None)], client_id="phone")
        columns = "SELECT name, body, made_by, device_id FROM notes"
        assert await uploads.rows(columns) == [(None, None, "a person", "phone")]
        await notes.send([put("n", table="notes", name="new")], client_id="laptop")
        assert await uploads.rows(columns) == [("new", "empty", "a person", "laptop")]

    @pytest.mark.requirement(131)
    async def test_a_patch_touches_only_the_given_columns(self, uploads: Uploads) -> None:
        await uploads.succeed(put("a", name="1", note="kept", stars=3))
        await uploads.succeed(patch("a", name="2", stars=None), patch("a"))
        assert await uploads.rows("SELECT name, note, stars FROM lists") == [("2", "kept", None)]

    @pytest.mark.requirement(131, 132)
    async def test_a_row_that_is_gone_is_neither_changed_nor_missed(self, uploads: Uploads) -> None:
        await uploads.succeed(put("a", name="1"), delete("a"), patch("a", name="2"), delete("a"))
        await uploads.succeed(delete("a"))
        assert await uploads.rows(LISTS) == []

    @pytest.mark.requirement(130, 132)
    async def test_operations_applied_twice_leave_what_they_leave_when_applied_once(self, uploads: Uploads) -> None:
        crud = [
            *(put("a", name="1", stars=1), put("b", name="x"), patch("a", note=None), put("a", name="2"), delete("b")),
            *(patch("b", name="y"), put("b", name="z", note="n"), patch("a", stars=None)),
        ]
        left: list[Any] = []
        for times in (1, 2):
            await uploads.rows("DELETE FROM lists")
            results = await uploads.send(*([operation] for operation in crud for _ in range(times)))
            assert {result["status"] for result in results} == {"success"}
            left.append(await uploads.rows("SELECT * FROM lists ORDER BY id"))
        assert left[0] == left[1]

    @pytest.mark.requirement(133, 236)
    @pytest.mark.parametrize("column", ["deleted_at", "gone"])
    async def test_a_soft_delete_marks_the_row_and_a_put_brings_it_back(self, uploads: Uploads, column: str) -> None:
        notes = uploads.with_tables(notes=TablePolicy(owner=None, soft_delete=column))

        async def row() -> tuple[Any, ...]:
            [(name, deleted_at, gone)] = await uploads.rows("SELECT name, deleted_at, gone FROM notes")
            return name, deleted_at, bool(gone)

        await notes.succeed(put("n", table="notes", name="1", deleted_at="2020-01-01", gone=1))
        first = await row()
        assert (first[1] is None) if column == "deleted_at" else (first[2] is False)
        await notes.succeed(delete("n", table="notes"), patch("n", table="notes", name="2"))
        marked = await row()
        assert marked[0] == "1"
        assert (marked[1] is not None) if column == "deleted_at" else (marked[2] is True)
        await notes.succeed(delete("n", table="notes"))
        assert await row() == marked
        await notes.succeed(put("n", table="notes", name="3"), patch("n", table="notes", name="4"))
        assert await row() == ("4", *first[1:])
