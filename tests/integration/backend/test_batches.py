"""Batches that go through pipelines have the meaning that their transactions have one by one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import pytest

from syncline.backend import SyncBackend, TablePolicy, via
from syncline.backend.limits import PIPELINE_WRITES_MAX, PREPARED_STATEMENTS_MAX
from syncline.backend.ownership import RowSecurity
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.persisters.postgres.pipeline import Pipeline, PipelinedTransaction, PipelineOutcome
from syncline.protocol.crud import TRANSACTIONS_MAX
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import Direction, FaultyProxy
from syncline.testing.waiting import eventually
from tests.integration.backend.conftest import TABLES, Uploads, make_backend, patch, put

BATCH_SQL = """
CREATE TABLE lists (
  id text PRIMARY KEY, name text NOT NULL CHECK (name <> 'refused'), stars integer, owner_id text NOT NULL,
  parent_id text REFERENCES lists (id) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE todos (id text PRIMARY KEY, list_id text, title text);
CREATE SEQUENCE attempts;
CREATE FUNCTION fail_sometimes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.name = 'conflict' AND nextval('attempts') < 3 THEN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END IF;
  IF NEW.name = 'away' THEN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER sometimes BEFORE INSERT ON lists FOR EACH ROW EXECUTE FUNCTION fail_sometimes();
"""


@dataclass
class Runs:
    """What went through pipelines."""

    lengths: list[int] = field(default_factory=list[int])
    outcomes: list[PipelineOutcome] = field(default_factory=list[PipelineOutcome])


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    seen = Runs()
    run = Pipeline.run

    async def noted(
        self: Pipeline, connection: Any, transactions: Sequence[PipelinedTransaction], *, seconds_max: float
    ) -> PipelineOutcome:
        outcome = await run(self, connection, transactions, seconds_max=seconds_max)
        seen.lengths.append(len(transactions))
        seen.outcomes.append(outcome)
        return outcome

    monkeypatch.setattr(Pipeline, "run", noted)
    return seen


async def start(
    database: ScratchDatabase, *, on_fatal: Literal["stop", "skip"] = "stop", dsn: str = "", **options: Any
) -> Uploads:
    """A backend that has read the columns of its tables."""
    persister = PostgresPersister(dsn or database.dsn, **options)
    made = make_backend(persister, {**TABLES, "todos": TablePolicy(owner=via("lists", "list_id"))})
    tables = {**TABLES, "todos": TablePolicy(owner=via("lists", "list_id"))}
    backend = SyncBackend(persister=persister, auth=made.auth, tables=tables, on_fatal=on_fatal)
    uploads = Uploads(backend, persister, database)
    await backend.open()
    await uploads.succeed(put("known", name="x"), put("todo", table="todos", list_id="known"))
    database.execute("DELETE FROM lists; DELETE FROM todos")
    return uploads


@pytest.fixture
async def warm(postgres_database: ScratchDatabase) -> AsyncGenerator[Uploads]:
    postgres_database.execute(BATCH_SQL)
    uploads = await start(postgres_database)
    yield uploads
    await uploads.backend.close()


def batch(count: int, *, first: int = 1, values: dict[int, dict[str, Any]] | None = None) -> list[list[dict[str, Any]]]:
    """Transactions of one new row each; `values` are others for some of them, by number."""
    return [
        [put(f"r{n}", crud_id=n, **({"name": f"n{n}"} | (values or {}).get(n, {})))]
        for n in range(first, first + count)
    ]


def stored_ids(uploads: Uploads) -> list[int]:
    return sorted(int(row_id[1:]) for (row_id,) in uploads.database.execute("SELECT id FROM lists"))


@pytest.mark.requirement(129, 154)
async def test_a_batch_is_one_pipeline_and_each_of_its_transactions_has_its_own_commit(
    warm: Uploads, runs: Runs
) -> None:
    results = await warm.send(*batch(TRANSACTIONS_MAX), client_id="c1")
    assert results == [{"status": "success"}] * TRANSACTIONS_MAX
    assert runs.lengths == [TRANSACTIONS_MAX]
    assert warm.database.execute("SELECT count(DISTINCT xmin::text) FROM lists") == [(TRANSACTIONS_MAX,)]
    same = "SELECT count(*) FROM lists l JOIN syncline_uploads u ON u.xmin = l.xmin AND 'r' || u.first_crud_id = l.id"
    assert warm.database.execute(same) == [(TRANSACTIONS_MAX,)]


FAULTS = {
    "check": ({"name": "refused"}, "CHECK_VIOLATION"),
    "at the commit": ({"parent_id": "nobody"}, "FOREIGN_KEY_VIOLATION"),
    "value": ({"stars": "many"}, "INVALID_DATA"),
    "column": ({"unknown": 1}, "SCHEMA_MISMATCH"),
}


@pytest.mark.parametrize("on_fatal", ["stop", "skip"])
async def test_a_refusal_at_any_place_stops_or_is_skipped(
    postgres_database: ScratchDatabase, runs: Runs, on_fatal: Literal["stop", "skip"]
) -> None:
    """Every position of 50, the kinds of faults in turn."""
    postgres_database.execute(BATCH_SQL)
    uploads = await start(postgres_database, on_fatal=on_fatal)
    faults = list(FAULTS.values())
    try:
        for k in range(1, TRANSACTIONS_MAX + 1):
            values, code = faults[k % len(faults)]
            client_id = f"{on_fatal}{k}"
            results = await uploads.send(*batch(TRANSACTIONS_MAX, values={k: values}), client_id=client_id)
            assert results[: k - 1] == [{"status": "success"}] * (k - 1)
            assert results[k - 1]["failed_operation"]["error_code"] == code
            assert results[k - 1]["failed_operation"].get("operation_index") in (0, None)
            rest = "not_attempted" if on_fatal == "stop" else "success"
            assert results[k:] == [{"status": rest}] * (TRANSACTIONS_MAX - k)
            last = k if on_fatal == "stop" else TRANSACTIONS_MAX
            assert stored_ids(uploads) == [n for n in range(1, last + 1) if n != k]
            verdicts = "SELECT first_crud_id FROM syncline_uploads WHERE client_id = %s ORDER BY 1"
            assert postgres_database.execute(verdicts, (client_id,)) == [(n,) for n in range(1, last + 1)]
            postgres_database.execute("DELETE FROM lists")
    finally:
        await uploads.backend.close()
    assert sum(outcome.committed for outcome in runs.outcomes) > 40 * TRANSACTIONS_MAX / 2  # else this tested nothing


async def test_what_may_pass_later_stops_a_batch_even_where_refusals_are_skipped(
    postgres_database: ScratchDatabase, runs: Runs
) -> None:
    postgres_database.execute(BATCH_SQL)
    uploads = await start(postgres_database, on_fatal="skip")
    try:
        results = await uploads.send(*batch(6, values={4: {"name": "away"}}), client_id="c1")
        assert [result["status"] for result in results] == ["success"] * 3 + ["retryable_error"] + ["not_attempted"] * 2
        assert stored_ids(uploads) == [1, 2, 3]
        assert runs.lengths == [6]
    finally:
        await uploads.backend.close()


async def test_a_conflict_within_a_batch_is_tried_again(warm: Uploads, runs: Runs) -> None:
    results = await warm.send(*batch(8, values={3: {"name": "conflict"}}), client_id="c1")
    assert results == [{"status": "success"}] * 8
    assert warm.database.execute("SELECT last_value FROM attempts") == [(3,)]
    assert runs.outcomes[0] == PipelineOutcome(2, sqlstate="40001")


async def test_a_batch_that_is_repeated_has_no_second_effect(warm: Uploads) -> None:
    first = batch(20)
    await warm.send(*first[:13], client_id="c1")
    warm.database.execute("UPDATE lists SET name = 'touched since'")
    results = await warm.send(*first, client_id="c1")
    assert results == [{"status": "success", "deduplicated": True}] * 13 + [{"status": "success"}] * 7
    assert warm.database.execute("SELECT count(*) FROM lists WHERE name = 'touched since'") == [(13,)]


async def test_a_copy_of_a_device_is_found_within_a_batch(warm: Uploads) -> None:
    await warm.send(*batch(3), client_id="c1")
    results = await warm.send(*batch(3, first=4), [put("other", name="x", crud_id=2)], client_id="c1")
    assert [result["status"] for result in results] == ["success"] * 3 + ["fatal_error"]
    assert results[3]["failed_operation"]["error_code"] == "CLIENT_FORKED"
    [overlapping] = await warm.send([put("z", name="x", crud_id=6), put("z", name="y", crud_id=7)], client_id="c1")
    assert overlapping["failed_operation"]["error_code"] == "CLIENT_FORKED"
    assert await warm.send([put("z", name="x", crud_id=7)], client_id="c1") == [{"status": "success"}]


async def test_another_users_row_and_parent_are_out_of_reach_within_a_batch(warm: Uploads, runs: Runs) -> None:
    await warm.send([put("r1", name="ann's", crud_id=1)], client_id="c1")
    mine = [put("mine", name="bob's", crud_id=1)]
    todo = [put("t1", table="todos", list_id="mine", title="x", crud_id=2)]
    quiet = [patch("r1", name="stolen", crud_id=3)]
    foreign_parent = [put("t2", table="todos", list_id="r1", crud_id=4)]
    results = await warm.send(mine, todo, quiet, foreign_parent, user="bob", client_id="b")
    assert [result["status"] for result in results] == ["success"] * 3 + ["fatal_error"]
    assert results[3]["failed_operation"]["error_code"] == "UNAUTHORIZED"
    [takeover] = await warm.send([put("r1", name="stolen", crud_id=5)], user="bob", client_id="b")
    assert takeover["failed_operation"]["error_code"] == "UNAUTHORIZED"
    assert warm.database.execute("SELECT name FROM lists WHERE id = 'r1'") == [("ann's",)]
    assert warm.database.execute("SELECT id, list_id FROM todos") == [("t1", "mine")]
    assert runs.lengths[1] == 4


async def test_row_security_holds_within_a_pipeline(postgres_database: ScratchDatabase, runs: Runs) -> None:
    postgres_database.execute(BATCH_SQL)
    role = f"devices_{postgres_database.name[-8:]}"
    postgres_database.execute(
        f"CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON lists, todos TO {role};"
        f" GRANT USAGE ON SEQUENCE attempts TO {role};"
        " ALTER TABLE lists ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY own ON lists USING (owner_id = current_setting('app.user_id'))"
        " WITH CHECK (name <> 'hidden' AND owner_id = current_setting('app.user_id'));"
    )
    uploads = await start(postgres_database, row_security=RowSecurity(user_setting="app.user_id", role=role))
    try:
        results = await uploads.send(*batch(5, values={4: {"name": "hidden"}}), client_id="c1")
        assert [result["status"] for result in results] == ["success"] * 3 + ["fatal_error", "not_attempted"]
        assert results[3]["failed_operation"]["error_code"] == "UNAUTHORIZED"
        assert runs.outcomes[0].committed == 3
        assert runs.outcomes[0].sqlstate == "42501"
    finally:
        await uploads.backend.close()
        postgres_database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_transaction_that_waits_too_long_ends_the_batch_and_is_given_up(
    postgres_database: ScratchDatabase, runs: Runs
) -> None:
    postgres_database.execute(BATCH_SQL)
    uploads = await start(postgres_database, transaction_seconds_max=1.0)
    try:
        await uploads.succeed(put("r5", name="before"))
        transactions = batch(8)
        with postgres_database.connect() as other, other.transaction():
            other.execute("UPDATE lists SET name = 'held'")
            results = await uploads.send(*transactions, client_id="c1")
        assert [result["status"] for result in results] == ["success"] * 4 + ["retryable_error"] + ["not_attempted"] * 3
        assert runs.outcomes[-1] == PipelineOutcome(4, sqlstate="57014", late=True)
        assert stored_ids(uploads) == [1, 2, 3, 4, 5]
        assert postgres_database.execute("SELECT name FROM lists WHERE id = 'r5'") == [("held",)]
        results = await uploads.send(*transactions, client_id="c1")
        assert results == [{"status": "success", "deduplicated": True}] * 4 + [{"status": "success"}] * 4
    finally:
        await uploads.backend.close()


async def test_an_upload_whose_task_is_cancelled_leaves_a_prefix_and_a_usable_pool(
    postgres_database: ScratchDatabase,
) -> None:
    postgres_database.execute(BATCH_SQL)
    uploads = await start(postgres_database, connections_max=1)
    try:
        await uploads.succeed(put("r5", name="before"))
        with postgres_database.connect() as other, other.transaction():
            other.execute("UPDATE lists SET name = 'held' WHERE id = 'r5'")
            sending = asyncio.create_task(uploads.send(*batch(8), client_id="c1"))
            await eventually(lambda: stored_ids(uploads) == [1, 2, 3, 4, 5])
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert stored_ids(uploads) == [1, 2, 3, 4, 5]
        assert await uploads.send([put("after", name="x", crud_id=99)], client_id="c1") == [{"status": "success"}]
    finally:
        await uploads.backend.close()


async def test_a_connection_cut_anywhere_leaves_a_prefix_and_the_repeat_the_rest(
    postgres_database: ScratchDatabase,
) -> None:
    """Cuts both ways at random bytes: nothing is lost, doubled or out of order."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    postgres_database.execute(BATCH_SQL + "CREATE TABLE effects (n bigserial, id text);")
    postgres_database.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN INSERT INTO effects (id) VALUES (NEW.id); RETURN NEW; END $$;"
        " CREATE TRIGGER note AFTER INSERT OR UPDATE ON lists FOR EACH ROW EXECUTE FUNCTION note();"
    )
    parts = urlsplit(postgres_database.dsn)
    async with FaultyProxy(parts.hostname or "", parts.port or 5432) as proxy:
        address = proxy.url.removeprefix("http://")
        dsn = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{address}"))
        uploads = await start(postgres_database, dsn=dsn, transaction_seconds_max=10)
        postgres_database.execute("TRUNCATE effects")
        cuts = 0
        try:
            for round_number in range(12):
                first = 1 + round_number * 20
                transactions = batch(20, first=first)
                direction = chance.choice(list(Direction))
                size = 12_000 if direction is Direction.TO_SERVER else 5_000
                cut = proxy.cut_after(direction, bytes_count=chance.randrange(1, size), forward=chance.random() < 0.5)
                while True:
                    results = await uploads.send(*transactions, client_id="c1")
                    statuses = [result["status"] for result in results]
                    done = statuses.count("success")
                    assert statuses == ["success"] * done + (
                        ["retryable_error"] + ["not_attempted"] * (19 - done) if done < 20 else []
                    )
                    await eventually(lambda: _sessions_are_idle(postgres_database), timeout_s=20)
                    stored = stored_ids(uploads)
                    assert stored == list(range(1, len(stored) + 1))
                    assert len(stored) >= first - 1 + done
                    if done == 20:
                        break
                cuts += cut.is_set()
        finally:
            await uploads.backend.close()
    assert cuts >= 3, f"seed {seed}"
    assert postgres_database.execute("SELECT id FROM effects ORDER BY n") == [(f"r{n}",) for n in range(1, 241)]


def _sessions_are_idle(database: ScratchDatabase) -> bool:
    """Whether the server has worked off what it had received."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syncline-backend' AND state <> 'idle'"
        " AND datname = current_database()"
    )
    return database.execute(busy) == [(0,)]


@pytest.mark.parametrize("prepared", [True, False])
async def test_statements_are_prepared_up_to_a_limit_where_they_may(
    postgres_database: ScratchDatabase, prepared: bool
) -> None:
    columns = [f"c{n}" for n in range(PREPARED_STATEMENTS_MAX + 5)]
    postgres_database.execute(
        f"CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text, {', '.join(f'{c} text' for c in columns)});"
        "CREATE TABLE todos (id text PRIMARY KEY, list_id text)"
    )
    uploads = await start(postgres_database, connections_max=1, prepared_statements=prepared)
    try:
        for _ in range(4):
            for at in range(0, len(columns), TRANSACTIONS_MAX):
                chosen = columns[at : at + TRANSACTIONS_MAX]
                crud = [[put("r1") | {"op_data": {column: "x"}}] for column in chosen]
                assert await uploads.send(*crud) == [{"status": "success"}] * len(crud)
        async with uploads.persister._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'syncline%'", prepare=False
            )
            assert await cursor.fetchone() == (PREPARED_STATEMENTS_MAX if prepared else 0,)
    finally:
        await uploads.backend.close()


async def test_statements_that_a_pooler_has_dropped_are_prepared_again(
    postgres_database: ScratchDatabase, runs: Runs
) -> None:
    postgres_database.execute(BATCH_SQL)
    uploads = await start(postgres_database, connections_max=1)
    try:
        await uploads.send(*batch(5), client_id="c1")
        async with uploads.persister._pool.connection() as connection:
            await connection.execute("DEALLOCATE ALL", prepare=False)
            connection._prepared.clear()
        for first in (6, 11, 16):
            assert await uploads.send(*batch(5, first=first), client_id="c1") == [{"status": "success"}] * 5
        assert runs.outcomes[1].sqlstate == "26000"
        assert runs.outcomes[-1].committed == 5
    finally:
        await uploads.backend.close()


async def test_a_table_that_has_changed_between_two_batches_is_written_as_it_is_now(warm: Uploads) -> None:
    await warm.send(*batch(5), client_id="c1")
    warm.database.execute("ALTER TABLE lists ALTER stars TYPE text; ALTER TABLE lists ADD late text")
    later = [[put("r6", name="x", stars="many", late="1", crud_id=6)], [put("r7", name="y", stars="few", crud_id=7)]]
    assert await warm.send(*later, client_id="c1") == [{"status": "success"}] * 2
    assert warm.database.execute("SELECT stars, late FROM lists WHERE stars IS NOT NULL ORDER BY id") == [
        ("many", "1"),
        ("few", None),
    ]


async def test_a_pipeline_on_a_connection_that_is_gone_is_retryable(warm: Uploads) -> None:
    await warm.send(*batch(5), client_id="c1")
    warm.database.execute(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE application_name = 'syncline-backend' AND datname = current_database()"
    )
    results = await warm.send(*batch(5, first=6), client_id="c1")
    assert [result["status"] for result in results] == ["retryable_error"] + ["not_attempted"] * 4


async def test_a_server_that_falls_silent_costs_the_connection_and_nothing_else(
    postgres_database: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears neither of the transactions' end nor of the cancellation."""
    monkeypatch.setattr("syncline.backend.persisters.postgres.pipeline.CANCEL_SECONDS_MAX", 0.3)
    postgres_database.execute(BATCH_SQL)
    parts = urlsplit(postgres_database.dsn)
    async with FaultyProxy(parts.hostname or "", parts.port or 5432) as proxy:
        address = proxy.url.removeprefix("http://")
        dsn = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{address}"))
        uploads = await start(postgres_database, dsn=dsn, transaction_seconds_max=1.0)
        try:
            proxy.stall(Direction.TO_CLIENT)
            [first, *others] = await uploads.send(*batch(3), client_id="c1")
            assert first["status"] == "retryable_error"
            assert others == [{"status": "not_attempted"}] * 2
            proxy.resume()
            await eventually(lambda: _sessions_are_idle(postgres_database), timeout_s=20)
            committed = len(stored_ids(uploads))
            results = await uploads.send(*batch(3), client_id="c1")
            repeats = [{"status": "success", "deduplicated": True}] * committed
            assert results == repeats + [{"status": "success"}] * (3 - committed)
        finally:
            await uploads.backend.close()


async def test_a_pipeline_holds_so_many_writes_or_one_transaction(warm: Uploads, runs: Runs) -> None:
    size = PIPELINE_WRITES_MAX // 2 + 1
    large = [[put(f"r{n}", name="x") for n in range(first, first + size)] for first in (0, size, 2 * size)]
    huge = [put(f"r{n}", name="y") for n in range(2 * PIPELINE_WRITES_MAX + 1)]
    assert await warm.send(*large, huge, *batch(2)) == [{"status": "success"}] * 6
    assert runs.lengths == [1, 1, 1, 1, 2]
