from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from syncline.backend import AuthenticatedUser
from syncline.backend.hooks import Hooks, HooksBehindAnswers
from syncline.backend.limits import MAPPED_OPERATIONS_MAX
from syncline.backend.mapping import map_operations
from syncline.backend.persisters.base import RetryLater, UnknownFailure, WriteContext, WriteRefused
from syncline.protocol.crud import CrudOperation, CrudTransaction, UpdateType
from syncline.testing.waiting import eventually
from tests.unit.backend.asgi import RecordingPersister, make_backend, operation, upload
from tests.unit.backend.letters import LettersInMemory, hanging

ANN = AuthenticatedUser("ann")
NO = WriteRefused("CHECK_VIOLATION", "no")


async def send(hooks: Hooks, persister: RecordingPersister | None = None, **options: Any) -> tuple[Any, list[str]]:
    """The verdict over one upload, and the ids of the rows that it would have written."""
    persister = persister or RecordingPersister()
    backend = make_backend(persister, hooks=hooks, **options)
    answer = await backend.handle_upload(upload([operation(op_data={"name": "x"})]), ANN)
    await backend.close()
    [result] = json.loads(msgspec.json.encode(answer))["results"]
    return result, [write.id for writes in persister.applied for write in writes]


@pytest.mark.requirement(146)
async def test_every_hook_is_called_in_its_turn() -> None:
    called: list[str] = []

    async def before_transaction(transaction: CrudTransaction, context: WriteContext) -> None:
        called.append(f"before_transaction {len(transaction.crud)} {context.user_id}")

    async def authorize(_transaction: CrudTransaction, context: WriteContext) -> bool:
        called.append(f"authorize {context.user_id}")
        return True

    async def to_ours(entry: CrudOperation, context: WriteContext) -> list[CrudOperation]:
        called.append(f"map {entry.id} {context.user_id}")
        return [entry]

    async def after_commit(transaction: CrudTransaction, context: WriteContext) -> None:
        called.append(f"after_commit {len(transaction.crud)} {context.user_id}")

    hooks = Hooks(before_transaction=before_transaction, authorize=authorize, map=to_ours, after_commit=after_commit)
    result, written = await send(hooks)
    assert (result, written) == ({"status": "success"}, ["l1"])
    assert called == ["before_transaction 1 ann", "authorize ann", "map l1 ann", "after_commit 1 ann"]


@pytest.mark.requirement(146)
async def test_refusals_and_letters_are_told() -> None:
    told: list[str] = []

    async def on_fatal(_transaction: CrudTransaction, context: WriteContext, result: Any) -> None:
        told.append(f"{context.user_id} {result.failed_operation.error_code}")

    async def on_dead_letter(letter: Any) -> None:
        told.append(f"{letter.user_id} {letter.code}")

    hooks = Hooks(on_fatal=on_fatal, on_dead_letter=on_dead_letter)
    result, _ = await send(hooks, RecordingPersister(failures={"l1": NO}), dead_letters=LettersInMemory())
    assert result["status"] == "fatal_error"
    assert sorted(told) == ["ann CHECK_VIOLATION", "ann CHECK_VIOLATION"]


async def refusing(*_: object) -> Any:
    raise NO


async def failing(*_: object) -> Any:
    raise KeyError("a value")


async def busy(*_: object) -> Any:
    raise RetryLater("not now")


async def saying_nothing(*_: object) -> Any:
    return None


async def saying_no(*_: object) -> Any:
    return False


@pytest.mark.requirement(146)
@pytest.mark.parametrize(
    ("hook", "status"), [(refusing, "fatal_error"), (failing, "retryable_error"), (busy, "retryable_error")]
)
@pytest.mark.parametrize("name", ["before_transaction", "authorize", "map"])
async def test_a_hook_before_the_commit_decides(
    name: str, hook: Any, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        result, written = await send(Hooks(**{name: hook}))
    assert (result["status"], written) == (status, [])
    assert "a value" not in caplog.text + str(result)


async def test_a_hook_that_hangs_is_ended() -> None:
    for name in ("before_transaction", "authorize"):
        result, written = await send(Hooks(**{name: hanging}, seconds_max=0.01))
        assert (result["status"], written) == ("retryable_error", [])


@pytest.mark.parametrize(("answer", "status"), [(saying_no, "fatal_error"), (saying_nothing, "retryable_error")])
async def test_authorize_must_say_yes_or_no(answer: Any, status: str) -> None:
    result, written = await send(Hooks(authorize=answer))
    assert (result["status"], written) == (status, [])
    assert (status == "fatal_error") == (result.get("failed_operation", {}).get("error_code") == "UNAUTHORIZED")


@pytest.mark.requirement(146)
async def test_hooks_behind_the_answer_neither_delay_nor_change_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for hook in (failing, hanging):
        result, written = await send(Hooks(after_commit=hook, seconds_max=0.01))
        assert (result, written) == ({"status": "success"}, ["l1"])
        hooks = Hooks(on_fatal=hook, on_dead_letter=hook, seconds_max=0.01)
        result, _ = await send(hooks, RecordingPersister(failures={"l1": NO}), dead_letters=LettersInMemory())
        assert (result["status"], result["dead_lettered"]) == ("fatal_error", True)
    assert "a value" not in caplog.text
    assert "after_commit failed: KeyError" in caplog.text
    assert "on_dead_letter failed: TimeoutError" in caplog.text


async def test_an_answer_does_not_wait_for_the_hooks_behind_it() -> None:
    released = asyncio.Event()
    ended: list[bool] = []

    async def slow(*_: object) -> None:
        await released.wait()
        ended.append(True)

    backend = make_backend(hooks=Hooks(after_commit=slow))
    await backend.handle_upload(upload([operation()]), ANN)
    assert not ended
    released.set()
    await backend.close()
    assert ended == [True]


async def test_hooks_behind_answers_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    released = asyncio.Event()
    started: list[int] = []

    async def slow() -> None:
        started.append(1)
        await released.wait()

    behind = HooksBehindAnswers(running_max=2)
    for _ in range(3):
        behind.start("after_commit", slow)
    await eventually(lambda: len(started) == 2)
    assert "Left out after_commit" in caplog.text
    released.set()
    await behind.close()
    assert len(started) == 2


def entry(row_id: str = "a", table: str = "lists", **data: Any) -> CrudOperation:
    return CrudOperation(op=UpdateType.PUT, table=table, id=row_id, op_data=data)


@pytest.mark.requirement(144)
async def test_a_mapper_makes_none_one_or_many_of_an_operation_and_knows_who_asks() -> None:
    async def split(operation: CrudOperation, context: WriteContext) -> Iterable[CrudOperation]:
        if operation.table == "drafts":
            return []
        named = msgspec.structs.replace(operation, op_data={"name": f"{context.user_id}'s"})
        return [named, msgspec.structs.replace(named, id=f"{operation.id}-copy")]

    transaction = CrudTransaction([entry("a", table="drafts"), entry("b")])
    mapped = await map_operations(split, transaction, WriteContext("ann"))
    assert [(index, made.id, made.op_data) for index, made in mapped] == [
        (1, "b", {"name": "ann's"}),
        (1, "b-copy", {"name": "ann's"}),
    ]


@pytest.mark.requirement(144)
async def test_what_a_mapper_makes_goes_through_the_policies() -> None:
    async def elsewhere(operation: CrudOperation, _context: WriteContext) -> list[CrudOperation]:
        return [msgspec.structs.replace(operation, table="users")]

    result, written = await send(Hooks(map=elsewhere))
    assert (result["failed_operation"]["error_code"], written) == ("SCHEMA_MISMATCH", [])


async def test_a_mapper_s_refusal_names_the_operation_that_was_sent() -> None:
    async def picky(operation: CrudOperation, _context: WriteContext) -> list[CrudOperation]:
        if operation.id == "b":
            raise WriteRefused("VALIDATION_ERROR", "no")
        return [operation, operation]

    with pytest.raises(WriteRefused) as caught:
        await map_operations(picky, CrudTransaction([entry("a"), entry("b")]), WriteContext())
    assert caught.value.operation_index == 1


async def test_a_mapper_is_bounded_in_operations_and_time() -> None:
    async def endless(operation: CrudOperation, _context: WriteContext) -> Iterable[CrudOperation]:
        return iter(lambda: operation, None)

    with pytest.raises(UnknownFailure, match=str(MAPPED_OPERATIONS_MAX)):
        await map_operations(endless, CrudTransaction([entry()]), WriteContext())
    with pytest.raises(UnknownFailure):
        await map_operations(hanging, CrudTransaction([entry()]), WriteContext(), seconds_max=0.01)
