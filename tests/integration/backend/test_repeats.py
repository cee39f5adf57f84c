from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from syncline.backend.limits import UPLOADS_BETWEEN_PRUNINGS, UPLOADS_KEPT_DAYS, UPLOADS_KEPT_MAX
from syncline.backend.persisters.postgres import PostgresPersister
from tests.integration.backend.conftest import Uploads, make_backend, patch, put

# The effects are counted by the database itself: an upsert that runs twice looks the same otherwise.
EFFECTS_SQL = """
CREATE TABLE effects (id text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO effects VALUES (NEW.id); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON lists FOR EACH ROW EXECUTE FUNCTION note_effect();
"""


@pytest.fixture
def counted(uploads: Uploads) -> Uploads:
    uploads.database.execute(EFFECTS_SQL)
    return uploads


def effects(uploads: Uploads) -> int:
    return uploads.database.execute("SELECT count(*) FROM effects")[0][0]


def fork(result: dict[str, Any]) -> bool:
    """Refused as a fork, with the writes left to the device."""
    return result["failed_operation"]["error_code"] == "CLIENT_FORKED" and result["requires_client_handling"] is True


async def test_a_repeat_has_no_second_effect_and_says_so(counted: Uploads) -> None:
    crud = [put("a", name="1", crud_id=1), patch("a", name="2", crud_id=2)]
    assert await counted.send(crud, client_id="c1") == [{"status": "success"}]
    assert await counted.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]
    assert effects(counted) == 2


async def test_a_repeat_is_recognised_after_a_restart_of_the_backend(counted: Uploads) -> None:
    crud = [put("a", name="1", crud_id=1)]
    await counted.send(crud, client_id="c1")
    persister = PostgresPersister(counted.database.dsn)
    again = Uploads(make_backend(persister), persister, counted.database)
    await again.backend.open()
    try:
        assert await again.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]
    finally:
        await again.backend.close()
    assert effects(counted) == 1


async def test_repeats_at_the_same_time_have_one_effect(counted: Uploads) -> None:
    crud = [put("a", name="1", crud_id=1)]
    answers = await asyncio.gather(*(counted.send(crud, client_id="c1") for _ in range(6)))
    assert sorted(len(results[0]) for results in answers) == [1, 2, 2, 2, 2, 2]  # five say `deduplicated`
    assert {results[0]["status"] for results in answers} == {"success"}
    assert effects(counted) == 1


async def test_a_refusal_is_repeated_even_where_the_write_would_go_through_by_now(counted: Uploads) -> None:
    crud = [put("b", name="2", parent_id="a", crud_id=2)]
    [first] = await counted.send(crud, client_id="c1")
    assert first["failed_operation"]["error_code"] == "FOREIGN_KEY_VIOLATION"
    await counted.send([put("a", name="1", crud_id=3)], client_id="c1")
    assert await counted.send(crud, client_id="c1") == [first | {"deduplicated": True}]
    assert counted.database.execute("SELECT id FROM lists") == [("a",)]


async def test_a_success_is_repeated_even_where_the_policy_has_changed(counted: Uploads) -> None:
    crud = [put("a", name="1", crud_id=1)]
    await counted.send(crud, client_id="c1")
    backend = make_backend(counted.persister, {"others": next(iter(counted.backend._tables.values()))})
    later = Uploads(backend, counted.persister, counted.database)
    assert await later.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]


async def test_the_same_ids_with_other_content_mean_a_copied_device(counted: Uploads) -> None:
    await counted.send([put("a", name="1", crud_id=1)], client_id="c1")
    results = await counted.send([put("b", name="2", crud_id=1)], [put("c", name="3", crud_id=2)], client_id="c1")
    assert fork(results[0])
    assert results[1] == {"status": "not_attempted"}
    assert effects(counted) == 1
    assert await counted.send([put("b", name="2", crud_id=1)], client_id="c2") == [{"status": "success"}]


@pytest.mark.parametrize("ids", [(2, 3), (1, 1), (2, 2), (0, 5)])
async def test_ranges_of_ids_that_overlap_mean_a_copied_device(counted: Uploads, ids: tuple[int, int]) -> None:
    await counted.send([put("a", name="1", crud_id=1), put("b", name="2", crud_id=2)], client_id="c1")
    [result] = await counted.send(
        [put("c", name="3", crud_id=ids[0]), put("d", name="4", crud_id=ids[1])], client_id="c1"
    )
    assert fork(result)
    assert effects(counted) == 2


async def test_copies_that_overlap_at_the_same_time_do_not_both_go_through(counted: Uploads) -> None:
    answers = await asyncio.gather(
        *(
            counted.send([put(str(n), name="x", crud_id=n), put(str(n), name="y", crud_id=n + 1)], client_id="c1")
            for n in range(6)
        )
    )
    accepted = [n for n, [result] in enumerate(answers) if result["status"] == "success"]
    assert 2 <= len(accepted) <= 3  # no two of six neighbours
    assert all(second - first > 1 for first, second in itertools.pairwise(accepted))
    assert effects(counted) == 2 * len(accepted)


async def test_a_refused_table_with_reused_ids_is_a_fork_too(counted: Uploads) -> None:
    await counted.send([put("a", name="1", crud_id=1)], client_id="c1")
    [result] = await counted.send([put("a", table="unknown", crud_id=1)], client_id="c1")
    assert fork(result)


async def test_the_ids_of_one_user_or_device_say_nothing_about_anothers(counted: Uploads) -> None:
    for user, client_id in [("ann", "c1"), ("bob", "c1"), ("ann", "c2")]:
        crud = [put(user + client_id, name="1", crud_id=1)]
        assert await counted.send(crud, user=user, client_id=client_id) == [{"status": "success"}]
    assert effects(counted) == 3


async def test_clients_without_ids_are_served_without_dedup(counted: Uploads) -> None:
    for _ in range(2):
        await counted.succeed(put("a", name="1"))
    assert effects(counted) == 2
    assert counted.database.execute("SELECT id, name FROM lists") == [("a", "1")]
    assert counted.database.execute("SELECT count(*) FROM syncline_uploads") == [(0,)]


async def test_old_verdicts_are_forgotten_at_the_start(counted: Uploads) -> None:
    await counted.send([put("a", name="1", crud_id=1)], [put("b", name="2", crud_id=2)], client_id="c1")
    counted.database.execute(
        "UPDATE syncline_uploads SET created_at = now() - make_interval(days => %s, hours => 1) WHERE first_crud_id = 1",
        (UPLOADS_KEPT_DAYS,),
    )
    await counted.backend.close()
    persister = PostgresPersister(counted.database.dsn)
    await persister.open()
    await persister.close()
    assert counted.database.execute("SELECT first_crud_id FROM syncline_uploads") == [(2,)]


async def test_of_each_device_the_last_verdicts_are_kept(counted: Uploads) -> None:
    """And those of other devices are left alone."""
    await counted.send([put("other", name="1", crud_id=1)], client_id="c2")
    counted.database.execute(
        "INSERT INTO syncline_uploads (user_id, client_id, first_crud_id, last_crud_id, content_hash, verdict)"
        " SELECT 'ann', 'c1', n, n, '', '{\"status\": \"success\"}' FROM generate_series(1, %s::bigint) AS n",
        (UPLOADS_KEPT_MAX,),
    )
    last = UPLOADS_KEPT_MAX + UPLOADS_BETWEEN_PRUNINGS
    for first in range(UPLOADS_KEPT_MAX + 1, last, 50):
        crud = [[put("a", name=str(n), crud_id=n)] for n in range(first, first + 50)]
        assert await counted.send(*crud, client_id="c1") == [{"status": "success"}] * 50
    kept = "SELECT min(first_crud_id), max(first_crud_id), count(*) FROM syncline_uploads WHERE client_id = %s"
    assert counted.database.execute(kept, ("c1",)) == [(last - UPLOADS_KEPT_MAX + 1, last, UPLOADS_KEPT_MAX)]
    assert counted.database.execute(kept, ("c2",)) == [(1, 1, 1)]
    again = [put("a", name=str(last), crud_id=last)]
    assert await counted.send(again, client_id="c1") == [{"status": "success", "deduplicated": True}]


async def test_old_verdicts_are_forgotten_while_the_backend_runs(counted: Uploads) -> None:
    await counted.send([put("other", name="1", crud_id=1)], client_id="c2")
    counted.database.execute(
        "UPDATE syncline_uploads SET created_at = now() - make_interval(days => %s, hours => 1)", (UPLOADS_KEPT_DAYS,)
    )
    for first in range(1, UPLOADS_KEPT_MAX + UPLOADS_BETWEEN_PRUNINGS, 50):
        crud = [[put("a", name=str(n), crud_id=n)] for n in range(first, first + 50)]
        await counted.send(*crud, client_id="c1")
    assert counted.database.execute("SELECT count(*) FROM syncline_uploads WHERE client_id = 'c2'") == [(0,)]
