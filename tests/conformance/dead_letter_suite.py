"""The contract of a store of dead letters, over a real database. Subclasses give the fixture `stores`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncline.backend.dead_letters.letters import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterLimits,
    DeadLettersFull,
    DeadLetterState,
    DeadLetterStore,
    new_letter_id,
)
from syncline.backend.limits import DEAD_LETTER_REPEAT_HOURS, DEAD_LETTERS_LISTED_BYTES_MAX
from syncline.backend.persisters.base import CLIENT_FORKED, UploadIdentity, WriteRefused
from syncline.protocol.crud import (
    CrudOperation,
    CrudTransaction,
    FailedOperation,
    ResultStatus,
    TransactionResult,
    UpdateType,
    content_hash,
)

__all__ = ["DeadLetterSuite", "Stores", "check_one_letter_is_kept", "identity", "letter", "refused"]

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
EVERYTHING = DeadLetterFilter()

Stores = Callable[..., DeadLetterStore]
"""Makes a store over the database of the test, prepared by `prepare`; its limits are an option."""


def letter(
    name: str = "x", *, user: str = "ann", client_id: str | None = "c1", at: datetime = NOW, **changes: Any
) -> DeadLetter:
    """A refused insert of a row with this name."""
    data = {"name": name}
    transaction = CrudTransaction([CrudOperation(op=UpdateType.PUT, table="lists", id="l1", op_data=data)], 7)
    made = DeadLetter(
        new_letter_id(int(at.timestamp() * 1000) * 1_000_000),
        at,
        user,
        client_id,
        transaction,
        content_hash(transaction),
        "CHECK_VIOLATION",
        "no",
        operation_index=0,
    )
    return replace(made, **changes)


def refused(code: str = "CHECK_VIOLATION") -> TransactionResult:
    """A verdict that says that the letter is kept."""
    failed = FailedOperation(code, "no", operation_index=0)
    return TransactionResult(
        ResultStatus.FATAL_ERROR, requires_client_handling=False, failed_operation=failed, dead_lettered=True
    )


def identity(of: DeadLetter, first: int = 1) -> UploadIdentity:
    """As if the device had sent ids."""
    return UploadIdentity(of.user_id, of.client_id or "", first, first, of.content_hash)


async def check_one_letter_is_kept(store: DeadLetterStore) -> None:
    """The store, which is empty, has the limit `letters_max` 1."""
    await store.add(letter("1"), None, refused())
    with pytest.raises(DeadLettersFull):
        await store.add(letter("2", user="bob"), None, refused())


class DeadLetterSuite:
    """What every store of letters does."""

    @pytest.mark.requirement(147)
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"client_id": None, "message": "", "operation_index": None},
            {"details": {"columns": ["a", "ü\0"], "n": 2**60, "deep": [[None, 1.5]]}, "claims": {"org": {"id": 7}}},
            {"occurrences": 1, "code": "X" * 60, "message": "é 漢 'quoted' 100%s"},
        ],
    )
    async def test_what_was_kept_comes_back_whole(self, stores: Stores, changes: dict[str, Any]) -> None:
        store = stores()
        data = {"text": "zero\0 é 漢 '", "number": 2**53 + 1, "real": 0.1, "nothing": None}
        crud = [CrudOperation(op=UpdateType.PATCH, table="lists", id="zero\0", op_data=data, client_op_id=4)]
        kept = letter(transaction=CrudTransaction(crud, 12), **changes)
        assert (await store.add(kept, None, refused())).is_new
        found = await store.get(kept.id)
        assert found == kept
        assert found is not None
        assert (found.claims, found.created_at.utcoffset()) == (kept.claims, timedelta(0))
        assert await store.get(new_letter_id()) is None

    @pytest.mark.requirement(147)
    async def test_a_repeat_with_ids_hears_the_first_verdict_and_makes_no_second_letter(self, stores: Stores) -> None:
        store = stores()
        first = letter()
        assert (await store.add(first, identity(first), refused())).verdict == refused()
        again = await store.add(letter(at=NOW + timedelta(days=2)), identity(first), refused("OTHER"))
        assert again.is_new is False
        assert (again.verdict.deduplicated, again.verdict.dead_lettered) == (True, True)
        assert again.verdict.failed_operation == refused().failed_operation
        assert await store.count(EVERYTHING) == 1

    async def test_ids_with_another_content_are_a_fork_and_make_no_letter(self, stores: Stores) -> None:
        store = stores()
        first, other = letter(), letter("other")
        await store.add(first, identity(first), refused())
        with pytest.raises(WriteRefused) as caught:
            await store.add(other, identity(other), refused())
        assert caught.value.error_code == CLIENT_FORKED
        assert await store.count(EVERYTHING) == 1

    async def test_repeats_that_arrive_together_make_one_letter(self, stores: Stores) -> None:
        store = stores()
        with_ids = [letter(client_id="c1") for _ in range(4)]
        without = [letter(client_id=None) for _ in range(4)]
        kept = await asyncio.gather(
            *(store.add(each, identity(each), refused()) for each in with_ids),
            *(store.add(each, None, refused()) for each in without),
        )
        assert [sum(each.is_new for each in kept[:4]), sum(each.is_new for each in kept[4:])] == [1, 1]
        assert await store.count(EVERYTHING) == 2
        [counted] = [each for each in await store.list(EVERYTHING) if each.client_id is None]
        assert counted.occurrences == 4

    @pytest.mark.requirement(147)
    async def test_a_repeat_without_ids_counts_while_its_letter_is_open_and_young(self, stores: Stores) -> None:
        store = stores()
        first = letter(client_id=None)
        await store.add(first, None, refused())
        later = NOW + timedelta(hours=DEAD_LETTER_REPEAT_HOURS) - timedelta(seconds=1)
        repeat = letter(client_id=None, at=later, code="OTHER", details=[1])
        assert (await store.add(repeat, None, refused("OTHER"))).is_new is False
        [counted] = await store.list(EVERYTHING)
        assert (counted.id, counted.occurrences, counted.last_at) == (first.id, 2, later)
        assert (counted.code, counted.details, counted.created_at) == ("OTHER", [1], NOW)
        for another in (
            letter(client_id=None, at=NOW + timedelta(hours=DEAD_LETTER_REPEAT_HOURS)),
            letter(client_id="c2"),
            letter(client_id=None, user="bob"),
            letter("other", client_id=None),
        ):
            assert (await store.add(another, None, refused())).is_new

    async def test_a_settled_letter_counts_no_repeats(self, stores: Stores) -> None:
        store = stores()
        first = letter()
        await store.add(first, None, refused())
        await store.settle(first.id, DeadLetterState.DISCARDED)
        assert (await store.add(letter(), None, refused())).is_new

    @pytest.mark.parametrize(
        "limits",
        [
            DeadLetterLimits(letters_max=2),
            DeadLetterLimits(letters_per_user_max=2),
            DeadLetterLimits(bytes_per_user_max=250),
        ],
        ids=["letters", "letters of a user", "bytes of a user"],
    )
    async def test_more_open_letters_than_their_limit_are_not_kept(
        self, stores: Stores, limits: DeadLetterLimits
    ) -> None:
        store = stores(limits)
        kept = [letter(name) for name in ("1", "2")]
        for each in kept:
            await store.add(each, None, refused())
        third = letter("3")
        with pytest.raises(DeadLettersFull):
            await store.add(third, identity(third), refused())
        assert await store.count(EVERYTHING) == 2
        everybody = limits.letters_max == 2
        if not everybody:
            assert (await store.add(letter(user="bob"), None, refused())).is_new
        await store.settle(kept[0].id, DeadLetterState.DISCARDED)
        added = await store.add(third, identity(third), refused())
        assert (added.is_new, added.verdict.deduplicated) == (True, False)  # no verdict was left behind

    async def test_letters_are_found_by_what_is_asked(self, stores: Stores) -> None:
        store = stores()
        kept = [
            letter("1"),
            letter("2", user="bob", client_id="c2", at=NOW + timedelta(hours=1)),
            letter("3", code="CONFLICT", at=NOW + timedelta(hours=2)),
        ]
        for each in kept:
            await store.add(each, None, refused())
        await store.settle(kept[2].id, DeadLetterState.DISCARDED)
        questions: dict[DeadLetterFilter, list[int]] = {
            EVERYTHING: [0, 1, 2],
            DeadLetterFilter(user_id="ann"): [0, 2],
            DeadLetterFilter(client_id="c2"): [1],
            DeadLetterFilter(state=DeadLetterState.OPEN): [0, 1],
            DeadLetterFilter(code="CONFLICT"): [2],
            DeadLetterFilter(since=NOW + timedelta(hours=1)): [1, 2],
            DeadLetterFilter(until=NOW + timedelta(hours=1)): [0],
            DeadLetterFilter(user_id="ann", code="CHECK_VIOLATION"): [0],
            DeadLetterFilter(user_id="ANN"): [],
        }
        for where, expected in questions.items():
            assert [each.id for each in await store.list(where)] == [kept[index].id for index in expected], where
            assert await store.count(where) == len(expected)

    async def test_pages_follow_each_other(self, stores: Stores) -> None:
        store = stores()
        kept = [letter(str(index), at=NOW + timedelta(seconds=index)) for index in range(5)]
        for each in reversed(kept):
            await store.add(each, None, refused())
        seen: list[str] = []
        while page := await store.list(EVERYTHING, after=seen[-1] if seen else "", limit=2):
            assert len(page) <= 2
            seen += [each.id for each in page]
        assert seen == [each.id for each in kept]

    async def test_a_page_ends_early_where_letters_are_large(self, stores: Stores) -> None:
        store = stores()
        large = "x" * (DEAD_LETTERS_LISTED_BYTES_MAX // 2)
        kept = [letter(large, client_id=str(index), at=NOW + timedelta(seconds=index)) for index in range(3)]
        for each in kept:
            await store.add(each, None, refused())
        first = await store.list(EVERYTHING)
        assert [each.id for each in first] == [each.id for each in kept[:2]]
        assert [each.id for each in await store.list(EVERYTHING, after=first[-1].id)] == [kept[2].id]

    @pytest.mark.requirement(147)
    async def test_a_letter_is_settled_once_and_applied_counts_more_than_given_up(self, stores: Stores) -> None:
        store = stores()
        kept = letter()
        await store.add(kept, None, refused())
        discarded = await store.settle(kept.id, DeadLetterState.DISCARDED)
        assert discarded is not None
        assert (discarded.state, discarded.settled_at is not None) == (DeadLetterState.DISCARDED, True)
        retried = await store.settle(kept.id, DeadLetterState.RETRIED)
        assert retried is not None
        assert retried.state is DeadLetterState.RETRIED
        assert await store.settle(kept.id, DeadLetterState.DISCARDED) == retried
        assert await store.settle(new_letter_id(), DeadLetterState.DISCARDED) is None

    async def test_a_retry_that_was_refused_again_is_counted(self, stores: Stores) -> None:
        store = stores()
        kept = letter(details={"old": 1})
        await store.add(kept, None, refused())
        for count in (1, 2):
            found = await store.refused_again(kept.id, refused("UNIQUE_VIOLATION"))
            assert found == replace(kept, code="UNIQUE_VIOLATION", details=None, retries=count)
        assert await store.refused_again(new_letter_id(), refused()) is None

    @pytest.mark.requirement(148)
    async def test_failures_are_counted_for_each_transaction_of_each_device(self, stores: Stores) -> None:
        store = stores()
        for count in (1, 2, 3):
            assert await store.count_failure("ann", "c1", "hash") == count
        for other in (("ann", "c2", "hash"), ("ann", None, "hash"), ("bob", "c1", "hash"), ("ann", "c1", "other")):
            assert await store.count_failure(*other) == 1
        counts = await asyncio.gather(*(store.count_failure("ann", None, "together") for _ in range(5)))
        assert sorted(counts) == [1, 2, 3, 4, 5]

    async def test_the_failures_of_a_user_are_bounded_and_the_latest_are_remembered(self, stores: Stores) -> None:
        store = stores(DeadLetterLimits(failures_per_user_max=3))
        for name in ("a", "b", "c", "d"):
            await store.count_failure("ann", "c1", name)
        await store.count_failure("bob", "c1", "a")
        assert await store.count_failure("ann", "c1", "d") == 2
        assert await store.count_failure("ann", "c1", "a") == 1
        assert await store.count_failure("bob", "c1", "a") == 2
