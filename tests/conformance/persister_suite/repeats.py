"""Uploads that arrive again, ids that were used before, and checkpoints."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from syncline.backend import AuthenticatedUser, TablePolicy
from syncline.backend.limits import UPLOADS_BETWEEN_PRUNINGS, UPLOADS_KEPT_DAYS, UPLOADS_KEPT_MAX
from syncline.protocol.crud import TRANSACTIONS_MAX
from tests.conformance.persister_suite.uploads import DEADLINE_S, Uploads, patch, put

__all__ = ["CheckpointSuite", "RepeatSuite"]


async def effects(uploads: Uploads) -> int:
    """How many rows of `lists` were written: the database counts, for an upsert that runs twice looks the same otherwise."""
    return (await uploads.rows("SELECT count(*) FROM effects"))[0][0]


def is_fork(result: dict[str, Any]) -> bool:
    """Refused as a fork, with the writes left to the device."""
    return result["failed_operation"]["error_code"] == "CLIENT_FORKED" and result["requires_client_handling"] is True


class RepeatSuite:
    """Each upload has its effect once."""

    async def test_a_repeat_has_no_second_effect_and_says_so(self, uploads: Uploads) -> None:
        crud = [put("a", name="1", crud_id=1), patch("a", name="2", crud_id=2)]
        assert await uploads.send(crud, client_id="c1") == [{"status": "success"}]
        assert await uploads.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]
        assert await effects(uploads) == 2

    async def test_a_repeat_is_recognised_after_a_restart_of_the_backend(self, uploads: Uploads) -> None:
        crud = [put("a", name="1", crud_id=1)]
        await uploads.send(crud, client_id="c1")
        again = Uploads.over(uploads.subject.persister(), uploads.subject, uploads.observer)
        await again.backend.open()
        try:
            assert await again.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]
        finally:
            await again.backend.close()
        assert await effects(uploads) == 1

    async def test_repeats_at_the_same_time_have_one_effect(self, uploads: Uploads) -> None:
        crud = [put("a", name="1", crud_id=1)]
        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(uploads.send(crud, client_id="c1") for _ in range(6)))
        assert {results[0]["status"] for results in answers} == {"success"}
        assert sum("deduplicated" in results[0] for results in answers) == 5
        assert await effects(uploads) == 1

    async def test_a_refusal_is_repeated_even_where_the_write_would_go_through_by_now(self, uploads: Uploads) -> None:
        crud = [put("b", name="2", parent_id="a", crud_id=2)]
        [first] = await uploads.send(crud, client_id="c1")
        assert first["failed_operation"]["error_code"] == "FOREIGN_KEY_VIOLATION"
        await uploads.send([put("a", name="1", crud_id=3)], client_id="c1")
        assert await uploads.send(crud, client_id="c1") == [first | {"deduplicated": True}]
        assert await uploads.rows("SELECT id FROM lists") == [("a",)]

    async def test_a_success_is_repeated_even_where_the_policy_has_changed(self, uploads: Uploads) -> None:
        crud = [put("a", name="1", crud_id=1)]
        await uploads.send(crud, client_id="c1")
        later = uploads.with_tables(others=TablePolicy(owner=None))
        assert await later.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]

    async def test_the_same_ids_with_other_content_mean_a_copied_device(self, uploads: Uploads) -> None:
        await uploads.send([put("a", name="1", crud_id=1)], client_id="c1")
        results = await uploads.send([put("b", name="2", crud_id=1)], [put("c", name="3", crud_id=2)], client_id="c1")
        assert is_fork(results[0])
        assert results[1] == {"status": "not_attempted"}
        assert await effects(uploads) == 1
        assert await uploads.send([put("b", name="2", crud_id=1)], client_id="c2") == [{"status": "success"}]

    async def test_ranges_of_ids_that_overlap_mean_a_copied_device(self, uploads: Uploads) -> None:
        await uploads.send([put("a", name="1", crud_id=1), put("b", name="2", crud_id=2)], client_id="c1")
        for first, last in ((2, 3), (1, 1), (2, 2), (0, 5)):
            crud = [put("c", name="3", crud_id=first), put("d", name="4", crud_id=last)]
            [result] = await uploads.send(crud, client_id="c1")
            assert is_fork(result)
        assert await effects(uploads) == 2

    async def test_copies_that_overlap_at_the_same_time_do_not_both_go_through(self, uploads: Uploads) -> None:
        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(
                *(
                    uploads.send(
                        [put(f"{n}", name="x", crud_id=n), patch(f"{n}", name="y", crud_id=n + 1)], client_id="c1"
                    )
                    for n in range(6)
                )
            )
        accepted = [n for n, [result] in enumerate(answers) if result["status"] == "success"]
        assert 2 <= len(accepted) <= 3  # no two of six neighbours
        assert all(second - first > 1 for first, second in itertools.pairwise(accepted))
        assert await effects(uploads) == 2 * len(accepted)

    async def test_the_ids_of_one_user_or_device_say_nothing_about_anothers(self, uploads: Uploads) -> None:
        devices = [("ann", "c1"), ("bob", "c1"), ("ann", "c2"), ("Ann", "c1"), ("ann", "C1"), ("ann", "c1 ")]
        for number, (user, client_id) in enumerate(devices):
            crud = [put(str(number), name="1", crud_id=1)]
            assert await uploads.send(crud, user=user, client_id=client_id) == [{"status": "success"}]
        assert await effects(uploads) == len(devices)

    async def test_clients_without_ids_are_served_without_dedup(self, uploads: Uploads) -> None:
        for _ in range(2):
            await uploads.succeed(put("a", name="1"))
        assert await effects(uploads) == 2
        assert await uploads.rows("SELECT * FROM syncline_uploads") == []

    async def test_old_verdicts_are_forgotten_at_the_start(self, uploads: Uploads) -> None:
        await uploads.send([put("a", name="1", crud_id=1)], [put("b", name="2", crud_id=2)], client_id="c1")
        old = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=UPLOADS_KEPT_DAYS + 1)
        await uploads.rows("UPDATE syncline_uploads SET created_at = :old WHERE first_crud_id = 1", old=old)
        persister = uploads.subject.persister()
        await persister.open()
        await persister.close()
        assert await uploads.rows("SELECT first_crud_id FROM syncline_uploads") == [(2,)]

    async def test_a_device_keeps_its_last_verdicts_and_no_more(self, uploads: Uploads) -> None:
        await uploads.send([put("a", name="1", crud_id=1)], client_id="c1")
        columns = "user_id, client_id, first_crud_id, last_crud_id, content_hash, verdict, created_at"
        copied = f"INSERT INTO syncline_uploads ({columns}) SELECT {columns.replace('first_crud_id, last_crud_id', ':id, :id')}"
        async with uploads.observer.engine.begin() as connection:
            rows = [{"id": number} for number in range(2, UPLOADS_KEPT_MAX + 5)]
            await connection.execute(text(f"{copied} FROM syncline_uploads WHERE first_crud_id = 1"), rows)
        last = UPLOADS_KEPT_MAX + 5 + UPLOADS_BETWEEN_PRUNINGS
        for first in range(last - UPLOADS_BETWEEN_PRUNINGS, last, TRANSACTIONS_MAX):
            batch = [[put("a", name="1", crud_id=first + number)] for number in range(TRANSACTIONS_MAX)]
            assert {result["status"] for result in await uploads.send(*batch, client_id="c1")} == {"success"}
        [(kept, newest)] = await uploads.rows("SELECT count(*), max(first_crud_id) FROM syncline_uploads")
        assert newest == last - 1
        assert UPLOADS_KEPT_MAX <= kept <= UPLOADS_KEPT_MAX + TRANSACTIONS_MAX
        again = await uploads.send([put("a", name="1", crud_id=last - 1)], client_id="c1")
        assert again == [{"status": "success", "deduplicated": True}]


class CheckpointSuite:
    """Custom write checkpoints."""

    @pytest.mark.requirement(127, 152)
    async def test_checkpoints_of_a_device_are_counted_one_by_one(self, uploads: Uploads) -> None:
        ann = AuthenticatedUser("ann")
        async with asyncio.timeout(DEADLINE_S):
            counts = await asyncio.gather(*(uploads.backend.next_checkpoint("phone", ann) for _ in range(5)))
        assert sorted(counts) == [1, 2, 3, 4, 5]
        assert await uploads.backend.next_checkpoint("laptop", ann) == 1
        assert await uploads.backend.next_checkpoint("phone", AuthenticatedUser("Ann")) == 1
        rows = await uploads.rows("SELECT user_id, client_id, checkpoint FROM syncline_checkpoints")
        assert sorted(rows) == [("Ann", "phone", 1), ("ann", "laptop", 1), ("ann", "phone", 5)]
        await uploads.rows("DELETE FROM syncline_checkpoints")
