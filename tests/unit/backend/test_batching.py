from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from syncline.backend.batching import BatchAttempts, batches_together
from syncline.backend.hooks import Hooks
from syncline.backend.persisters.base import RetryLater, Upload, UploadOutcome, Write, WriteContext, WriteRefused
from syncline.backend.verdicts import Attempt
from syncline.protocol.crud import CrudOperation, CrudTransaction, ResultStatus, TransactionResult, UpdateType

SUCCESS = TransactionResult(ResultStatus.SUCCESS)
ATTEMPTS = [
    Attempt(CrudTransaction([CrudOperation(op=UpdateType.DELETE, table="t", id=str(n))]), WriteContext(), None)
    for n in range(6)
]


class Recorded:
    """Takes batches; `failing` are the ids of transactions that do not go through, each once."""

    def __init__(self, **failing: Exception) -> None:
        self.failing = {name.removeprefix("t"): failure for name, failure in failing.items()}
        self.batches: list[list[str]] = []

    async def apply_batch(self, uploads: Sequence[Upload]) -> list[UploadOutcome]:
        self.batches.append([upload.writes[0].id for upload in uploads])
        outcomes: list[UploadOutcome] = []
        for upload in uploads:
            outcomes.append(self.failing.get(upload.writes[0].id, SUCCESS))
            if outcomes[-1] is not SUCCESS:
                break
        return outcomes


def together(persister: Any, *refused: str) -> BatchAttempts:
    async def prepare(attempt: Attempt) -> list[Write]:
        operation = attempt.transaction.crud[0]
        if operation.id in refused:
            raise WriteRefused("SCHEMA_MISMATCH", "no")
        return [Write(operation.op, operation.table, operation.id, {}, None, 0)]

    return BatchAttempts(persister, ATTEMPTS, prepare)


async def test_what_goes_through_is_handed_over_once() -> None:
    persister = Recorded()
    batch = together(persister)
    assert [await batch.apply(n) for n in range(6)] == [SUCCESS] * 6
    assert persister.batches == [list("012345")]


async def test_a_failure_is_told_in_its_turn_and_the_rest_handed_over_if_it_is_asked_for() -> None:
    persister = Recorded(t2=WriteRefused("CHECK_VIOLATION", "no"), t4=RetryLater("later"))
    batch = together(persister)
    assert [await batch.apply(n) for n in range(2)] == [SUCCESS] * 2
    with pytest.raises(WriteRefused):
        await batch.apply(2)
    assert persister.batches == [list("012345")]  # nobody has asked for more
    assert await batch.apply(3) == SUCCESS
    with pytest.raises(RetryLater):
        await batch.apply(4)
    assert persister.batches == [list("012345"), list("345")]


async def test_what_policies_refuse_ends_a_batch_and_is_told_in_its_turn() -> None:
    persister = Recorded()
    batch = together(persister, "1", "2")
    assert await batch.apply(0) == SUCCESS
    for index in (1, 2):
        with pytest.raises(WriteRefused):
            await batch.apply(index)
    assert [await batch.apply(n) for n in (3, 4, 5)] == [SUCCESS] * 3
    assert persister.batches == [["0"], list("345")]


async def nothing(*_: Any) -> Any:
    return True


def test_hooks_before_a_commit_keep_transactions_apart() -> None:
    persister: Any = Recorded()
    assert batches_together(persister, Hooks(after_commit=nothing, on_fatal=nothing)) is persister
    for name in ("before_transaction", "authorize", "map", "before_op", "after_op"):
        hooks: dict[str, Any] = {name: nothing}
        assert batches_together(persister, Hooks(**hooks)) is None
    assert batches_together(object(), Hooks()) is None  # pyright: ignore[reportArgumentType]  # a persister without batches
