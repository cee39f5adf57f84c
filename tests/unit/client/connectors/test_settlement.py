from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.client import CrudEntry, CrudTransaction, Refusal, UpdateType, UploadPolicy
from syncline.client.connectors.outcomes import Accepted, LeftToApp, Outcome, Rejected, Skipped, Unsettled
from syncline.client.connectors.settlement import plan_settlement
from syncline.client.connectors.write_api import outcome_of
from syncline.client.core.upload_stats import UploadQueueStats
from syncline.client.crud import QueuedTransaction
from syncline.client.dead_letters import DeadLettersFull, Refused
from syncline.client.errors import ClientForked, RetryableUploadError, UploadRejected
from syncline.protocol.crud import FailedOperation, ResultStatus, TransactionResult

NO = Refusal("NO", "never")
LATER = Unsettled(RetryableUploadError("later"))


class FakeQueue:
    """Notes what is completed; the letters are full where `full`."""

    def __init__(self, *, full: bool = False) -> None:
        self.completed: list[tuple[int, int | None, list[tuple[int, int]]]] = []
        self.full = full

    async def complete(
        self, last_crud_id: int, write_checkpoint: int | None = None, *, refused: Sequence[Refused] = ()
    ) -> None:
        if refused and self.full:
            raise DeadLettersFull(1)
        ranges = [(each.first_crud_id, each.last_crud_id) for each in refused]
        self.completed.append((last_crud_id, write_checkpoint, ranges))


def transactions(queue: FakeQueue, count: int) -> list[CrudTransaction]:
    """Transactions of two entries each: crud ids 1 and 2, 3 and 4, and so on."""
    return [
        CrudTransaction(
            cast("Any", queue),
            QueuedTransaction(
                n, [CrudEntry(2 * n - 1 + i, f"{n}{i}", UpdateType.PUT, "lists", {}, n) for i in range(2)]
            ),
        )
        for n in range(1, count + 1)
    ]


async def settle(
    outcomes: list[Outcome],
    policy: UploadPolicy | None = None,
    *,
    queue: FakeQueue | None = None,
    exhausted: bool = False,
) -> tuple[FakeQueue, Exception | None]:
    queue = queue or FakeQueue()
    sent = transactions(queue, len(outcomes))
    plan = await plan_settlement(sent, outcomes, policy or UploadPolicy(), exhausted=lambda _: exhausted)
    await plan.carry_out()
    return queue, plan.failure


@pytest.mark.requirement(43)
@pytest.mark.parametrize(
    ("outcomes", "completed", "letters", "failure"),
    [
        ([Accepted(), Accepted()], 4, [], None),
        ([Accepted(), LATER, Accepted()], 2, [], RetryableUploadError),
        ([LATER, Accepted()], None, [], RetryableUploadError),
        ([Rejected(NO), Accepted()], 4, [(1, 2)], None),
        ([Rejected(NO, closed=True), Accepted()], 4, [(1, 2)], None),
        ([Accepted(), Rejected(NO, applied=1)], 4, [(4, 4)], None),
        ([Accepted((Skipped(1, NO),))], 2, [(2, 2)], None),
        ([Accepted(), LeftToApp(NO), Accepted()], 2, [], UploadRejected),
        ([Accepted(), Unsettled(ClientForked())], 2, [], ClientForked),
        ([Accepted(), Unsettled(RetryableUploadError("x"), not_attempted=True)], 2, [], None),
        ([Unsettled(RetryableUploadError("x"), not_attempted=True)], None, [], RetryableUploadError),
    ],
)
async def test_only_a_settled_prefix_leaves_and_what_stopped_it_is_told(
    outcomes: list[Outcome], completed: int | None, letters: list[tuple[int, int]], failure: type[Exception] | None
) -> None:
    queue, found = await settle(outcomes)
    assert queue.completed == ([] if completed is None else [(completed, None, letters)])
    assert found is None if failure is None else isinstance(found, failure)


@pytest.mark.parametrize("on_reject", ["dead_letter", "drop", "block"])
async def test_the_policy_says_what_becomes_of_a_refusal(on_reject: Any) -> None:
    queue, failure = await settle([Accepted(), Rejected(NO), Accepted()], UploadPolicy(on_reject=on_reject))
    expected: dict[str, list[Any]] = {
        "dead_letter": [(6, None, [(3, 4)])],
        "drop": [(6, None, [])],
        "block": [(2, None, [])],
    }
    assert queue.completed == expected[on_reject]
    assert (failure is not None) == (on_reject == "block")


@pytest.mark.parametrize("on_reject", ["dead_letter", "drop", "block", "skip_entry"])
@pytest.mark.parametrize("kept", [True, False])
async def test_a_refusal_that_wants_no_decision_never_blocks_and_is_kept_somewhere(on_reject: Any, kept: bool) -> None:
    policy = UploadPolicy(on_reject=on_reject, backend_keeps_refusals=kept)
    queue, failure = await settle([Rejected(NO, closed=True)], policy)
    letters = [] if kept or on_reject == "drop" else [(1, 2)]
    assert (queue.completed, failure) == ([(2, None, letters)], None)


@pytest.mark.parametrize(
    ("said", "answered", "letters"),
    [(None, True, []), (None, False, [(1, 2)]), (True, False, []), (False, True, [(1, 2)])],
)
async def test_a_refusal_that_the_backend_keeps_makes_no_second_letter_unless_the_app_wants_one(
    said: bool | None, answered: bool, letters: list[tuple[int, int]]
) -> None:
    fatal = TransactionResult(ResultStatus.FATAL_ERROR, requires_client_handling=False, dead_lettered=answered)
    queue, failure = await settle([outcome_of(fatal)], UploadPolicy(backend_keeps_refusals=said))
    assert (queue.completed, failure) == ([(2, None, letters)], None)


async def test_full_dead_letters_let_what_is_before_them_leave() -> None:
    queue = FakeQueue(full=True)
    with pytest.raises(DeadLettersFull):
        await settle([Accepted(), Accepted(), Rejected(NO), Accepted()], queue=queue)
    assert queue.completed == [(4, None, [])]


async def test_too_many_attempts_are_a_refusal() -> None:
    failing = Unsettled(RetryableUploadError("boom"), counts=True)
    queue, failure = await settle([failing], exhausted=True)
    assert (queue.completed, failure) == ([(2, None, [(1, 2)])], None)
    queue, failure = await settle([LATER], exhausted=True)  # nothing that the backend did: it does not count
    assert queue.completed == []


async def test_a_hook_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def hook(_: CrudTransaction, __: Refusal) -> None:
        raise RuntimeError("bug in the app")

    policy = UploadPolicy(on_rejected=hook)
    queue = FakeQueue()
    sent = transactions(queue, 1)
    plan = await plan_settlement(sent, [Rejected(NO)], policy, exhausted=lambda _: False)
    await plan.carry_out()
    await plan.tell(policy)
    assert "on_rejected failed" in caplog.text


async def test_a_hook_can_be_a_coroutine_function() -> None:
    told: list[str] = []

    async def hook(transaction: CrudTransaction, refusal: Refusal) -> None:
        await asyncio.sleep(0)
        told.append(f"{transaction.first_crud_id} {refusal.code}")

    policy = UploadPolicy(on_rejected=hook)
    plan = await plan_settlement(transactions(FakeQueue(), 1), [Rejected(NO)], policy, exhausted=lambda _: False)
    await plan.tell(policy)
    assert told == ["1 NO"]


@pytest.mark.requirement(43)
@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (TransactionResult(ResultStatus.SUCCESS), Accepted),
        (TransactionResult(ResultStatus.SUCCESS, deduplicated=True), Accepted),
        (TransactionResult(ResultStatus.RETRYABLE_ERROR), Unsettled),
        (TransactionResult(ResultStatus.NOT_ATTEMPTED), Unsettled),
        (TransactionResult(ResultStatus.FATAL_ERROR, requires_client_handling=False), Rejected),
        (TransactionResult(ResultStatus.FATAL_ERROR, requires_client_handling=True), LeftToApp),
        (TransactionResult(ResultStatus.FATAL_ERROR), LeftToApp),
        (
            TransactionResult(
                ResultStatus.FATAL_ERROR,
                requires_client_handling=False,
                failed_operation=FailedOperation("CLIENT_FORKED"),
            ),
            Unsettled,
        ),
    ],
)
def test_each_verdict_of_the_write_api_has_one_meaning(result: TransactionResult, expected: type[Outcome]) -> None:
    assert isinstance(outcome_of(result), expected)


OUTCOMES = st.sampled_from(
    [
        Accepted(),
        Accepted((Skipped(0, NO),)),
        Rejected(NO),
        Rejected(NO, closed=True),
        Rejected(NO, closed=True, kept=True),
        Rejected(NO, applied=1),
        LeftToApp(NO),
        LATER,
        Unsettled(RetryableUploadError("not attempted"), not_attempted=True),
        Unsettled(ClientForked()),
    ]
)


@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=6),
    on_reject=st.sampled_from(["dead_letter", "block", "drop", "skip_entry"]),
    kept=st.sampled_from([None, False, True]),
)
def test_whatever_the_backend_says_nothing_leaves_past_what_stays(
    outcomes: list[Outcome], on_reject: Any, kept: bool | None
) -> None:
    policy = UploadPolicy(on_reject=on_reject, backend_keeps_refusals=kept)
    queue, failure = asyncio.run(settle(outcomes, policy))

    def stays(outcome: Outcome) -> bool:
        blocked = isinstance(outcome, Rejected) and on_reject == "block" and not outcome.closed
        return blocked or isinstance(outcome, LeftToApp | Unsettled)

    settled = next((index for index, outcome in enumerate(outcomes) if stays(outcome)), len(outcomes))
    completed = [last for last, _, _ in queue.completed]
    assert completed == ([2 * settled] if settled else [])  # the whole prefix, in one commit, and nothing else
    letters = [
        crud_id for _, _, refused in queue.completed for part in refused for crud_id in range(part[0], part[1] + 1)
    ]
    assert len(letters) == len(set(letters))
    assert all(1 <= crud_id <= 2 * settled for crud_id in letters)
    for index, outcome in enumerate(
        outcomes[:settled]
    ):  # a refusal is somewhere: in a letter, with the backend, or dropped on demand
        mine = {2 * index + 1, 2 * index + 2} & set(letters)
        with_backend = isinstance(outcome, Rejected) and outcome.closed and (outcome.kept if kept is None else kept)
        lost_on_demand = on_reject == "drop" or with_backend
        if isinstance(outcome, Rejected) and not lost_on_demand:
            assert mine == {2 * index + 1 + n for n in range(outcome.applied, 2)}
        elif isinstance(outcome, Rejected) or not outcome_skips(outcome):
            assert mine == set()
    if failure is None and settled < len(outcomes):
        assert settled
        stopped = outcomes[settled]
        assert isinstance(stopped, Unsettled)
        assert stopped.not_attempted


def outcome_skips(outcome: Outcome) -> bool:
    return isinstance(outcome, Accepted) and bool(outcome.skipped)


def test_statistics_of_an_empty_queue_are_zero() -> None:
    assert UploadQueueStats() == UploadQueueStats(0, 0, None)
