"""What passes: conflicts between transactions, locks, lost connections, a commit that nobody heard of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from syncline.backend.limits import CONFLICT_ATTEMPTS_MAX, RETRY_AFTER_MS
from syncline.testing.proxy import Direction, FaultyProxy
from syncline.testing.waiting import eventually
from tests.conformance.persister_suite.repeats import effects
from tests.conformance.persister_suite.subject import Lacking
from tests.conformance.persister_suite.uploads import DEADLINE_S, Uploads, patch, put

__all__ = ["FailureSuite"]

IMPATIENT_S = 1.0  # seconds of a persister that is made to wait in vain


def need(uploads: Uploads, feature: str) -> None:
    """Skip what the database cannot do."""
    if feature in uploads.subject.lacks:
        pytest.skip(f"This database has not: {feature}.")


@asynccontextmanager
async def through_proxy(uploads: Uploads, **options: float) -> AsyncGenerator[tuple[Uploads, FaultyProxy]]:
    """The same uploads over a network that can fail."""
    url = uploads.subject.url
    async with FaultyProxy(url.host or "", url.port or 0) as proxy:
        persister = uploads.subject.persister(url.set(host="127.0.0.1", port=proxy.port), **options)
        cut_off = Uploads.over(persister, uploads.subject, uploads.observer)
        await cut_off.backend.open()
        try:
            yield cut_off, proxy
        finally:
            await cut_off.backend.close()


class FailureSuite:
    """What passes is retried inside, or left to the device; nothing half is ever left behind."""

    @pytest.mark.requirement(148)
    async def test_a_conflict_is_tried_again_until_it_goes_through(self, uploads: Uploads) -> None:
        need(uploads, Lacking.CONFLICTS)
        await uploads.subject.conflicts(uploads.observer, succeeds_at=CONFLICT_ATTEMPTS_MAX)
        try:
            answer = await uploads.send([put("a", name="1", crud_id=1)], client_id="c1")
        finally:
            attempts = await uploads.subject.no_conflicts(uploads.observer)
        assert answer == [{"status": "success"}]
        assert attempts == CONFLICT_ATTEMPTS_MAX
        assert await uploads.rows("SELECT id FROM lists") == [("a",)]

    async def test_a_conflict_that_stays_is_left_to_the_client_after_the_last_attempt(self, uploads: Uploads) -> None:
        need(uploads, Lacking.CONFLICTS)
        await uploads.subject.conflicts(uploads.observer, succeeds_at=1000)
        try:
            results = await uploads.send(
                [put("a", name="1", crud_id=1)], [put("b", name="2", crud_id=2)], client_id="c1"
            )
        finally:
            attempts = await uploads.subject.no_conflicts(uploads.observer)
        assert results[0]["status"] == "retryable_error"
        assert results[0]["retry_after_ms"] == RETRY_AFTER_MS
        assert results[1] == {"status": "not_attempted"}
        assert attempts == CONFLICT_ATTEMPTS_MAX
        assert await uploads.rows("SELECT * FROM syncline_uploads") == []

    async def test_uploads_that_lock_each_others_rows_all_go_through(self, uploads: Uploads) -> None:
        await uploads.succeed(put("a", name="0"), put("b", name="0"))

        async def write(number: int) -> list[dict[str, object]]:
            first, second = ("a", "b") if number % 2 else ("b", "a")
            return await uploads.send([patch(first, name=str(number)), patch(second, name=str(number))])

        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(write(number) for number in range(4)))
        assert answers == [[{"status": "success"}]] * 4
        [(of_a,), (of_b,)] = await uploads.rows("SELECT name FROM lists ORDER BY id")
        assert of_a == of_b

    async def test_one_row_that_many_make_at_once_is_made_once_and_changed_by_the_others(
        self, uploads: Uploads
    ) -> None:
        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(uploads.send([put("a", name=str(n))]) for n in range(6)))
        assert answers == [[{"status": "success"}]] * 6
        assert len(await uploads.rows("SELECT id FROM lists")) == 1

    async def test_an_upload_that_waits_too_long_for_a_lock_is_retryable_and_leaves_nothing(
        self, uploads: Uploads
    ) -> None:
        await uploads.succeed(put("a", name="1"))
        persister = uploads.subject.persister(transaction_seconds_max=IMPATIENT_S, connections_max=1)
        others = Uploads.over(persister, uploads.subject, uploads.observer)
        await others.backend.open()
        crud = [put("b", name="2", crud_id=1), patch("a", name="2", crud_id=2)]
        try:
            async with uploads.observer.engine.connect() as holder, holder.begin():
                await uploads.subject.hold(uploads.observer, holder, "a")
                async with asyncio.timeout(DEADLINE_S):
                    answers = await asyncio.gather(
                        others.send(crud, client_id="c1"), others.send([patch("a", name="3")])
                    )  # the second waits for the only connection
            assert [result["status"] for [result] in answers] == ["retryable_error"] * 2
            assert await uploads.rows("SELECT id, name FROM lists") == [("a", "held")]
            assert await uploads.send(crud, client_id="c1") == [{"status": "success"}]
        finally:
            await others.backend.close()

    async def test_a_connection_lost_in_the_middle_is_retryable_and_the_repeat_goes_through(
        self, uploads: Uploads
    ) -> None:
        need(uploads, Lacking.NETWORK)
        async with through_proxy(uploads) as (cut_off, proxy):
            crud = [put("a", name="1", crud_id=1), put("b", name="cut here", crud_id=2)]
            cut = proxy.cut_after(Direction.TO_SERVER, marker=b"cut here")
            [result] = await cut_off.send(crud, client_id="c1")
            await asyncio.wait_for(cut.wait(), DEADLINE_S)
            assert result["status"] == "retryable_error"
            assert await uploads.rows("SELECT * FROM lists") == []
            assert await cut_off.send(crud, client_id="c1") == [{"status": "success"}]
        assert await effects(uploads) == 2

    async def test_a_commit_whose_outcome_nobody_knows_has_one_effect_in_the_end(self, uploads: Uploads) -> None:
        need(uploads, Lacking.NETWORK)
        for number in (
            1,
            2,
        ):  # heard by the server, and not; over new connections, which have not prepared the statement yet
            async with through_proxy(uploads) as (cut_off, proxy):
                crud = [put(f"r{number}", name="1", crud_id=number)]
                cut = proxy.cut_after(Direction.TO_SERVER, marker=b"COMMIT", forward=number == 1)
                [result] = await cut_off.send(crud, client_id="c1")
                await asyncio.wait_for(cut.wait(), DEADLINE_S)
                assert result["status"] == "retryable_error"
                [again] = await cut_off.send(crud, client_id="c1")
                assert again["status"] == "success"
        assert await effects(uploads) == 2

    async def test_connections_that_ended_while_idle_cost_a_retry_at_most(self, uploads: Uploads) -> None:
        need(uploads, Lacking.NETWORK)
        async with through_proxy(uploads, connections_max=2) as (cut_off, proxy):
            await cut_off.succeed(put("a", name="1"))
            ended = proxy.cut()
            verdicts = [(await cut_off.send([put("b", name="2")]))[0]["status"] for _ in range(ended + 1)]
            assert verdicts[-1] == "success"
            assert {*verdicts} <= {"success", "retryable_error"}

    async def test_a_database_that_is_away_or_silent_is_retryable(self, uploads: Uploads) -> None:
        need(uploads, Lacking.NETWORK)
        async with through_proxy(uploads, transaction_seconds_max=IMPATIENT_S) as (cut_off, proxy):
            await cut_off.succeed(put("a", name="1"))
            if uploads.subject.gives_up_at_once:
                proxy.stall()
                [silent] = await cut_off.send([put("b", name="2")])
                assert silent["status"] == "retryable_error"
            proxy.refuse = True
            proxy.cut()
            proxy.resume()
            [away] = await cut_off.send([put("b", name="2")])
            assert away["status"] == "retryable_error"
            proxy.refuse = False

            async def succeeds() -> bool:
                return (await cut_off.send([put("b", name="2")]))[0]["status"] == "success"

            await eventually(succeeds, timeout_s=DEADLINE_S)
