"""Refused transactions over real Postgres: kept with their verdict, applied again once, reported back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from syncline.backend import AuthenticatedUser, SyncBackend, TablePolicy
from syncline.backend.dead_letters.letters import DeadLetter, DeadLetterState
from syncline.backend.limits import DEAD_LETTERS_KEPT_DAYS, UNKNOWN_FAILURES_MAX
from syncline.backend.mutators import MutatorCall, Mutators
from syncline.backend.persisters.base import RetryLater
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.protocol.crud import ResultStatus
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from syncline.testing.waiting import eventually
from tests.integration.backend.conftest import SCHEMA_SQL, Uploads, patch, put
from tests.integration.backend.conftest import make_backend as make_plain_backend

RAISES_SQL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'a value' USING ERRCODE = '{sqlstate}'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON lists FOR EACH ROW EXECUTE FUNCTION refuse();
"""
DIES_AT_COMMIT_SQL = """
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER die AFTER INSERT ON lists DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die();
"""
WAITS_AT_COMMIT_SQL = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON lists DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();
"""
APPLIED_SQL = """
CREATE TABLE effects (id text);
CREATE FUNCTION count_effect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO effects VALUES (NEW.id); RETURN NEW; END $$;
CREATE TRIGGER count_effect AFTER INSERT ON lists FOR EACH ROW EXECUTE FUNCTION count_effect();
"""
BAD = put("a", name="1", stars=9, crud_id=1)  # CHECK_VIOLATION


@asynccontextmanager
async def opened(dsn: str, database: ScratchDatabase) -> AsyncGenerator[Uploads]:
    """A backend over this way to the database."""
    persister = PostgresPersister(dsn)
    uploads = Uploads(make_plain_backend(persister), persister, database)
    await uploads.backend.open()
    try:
        yield uploads
    finally:
        await uploads.backend.close()


async def only_letter(uploads: Uploads) -> DeadLetter:
    [letter] = await uploads.backend.dead_letters.list()
    return letter


async def fatal(uploads: Uploads, *crud: dict[str, Any], client_id: str | None = "c1") -> dict[str, Any]:
    [result] = await uploads.send(list(crud), client_id=client_id)
    assert result["status"] == "fatal_error", result
    return result


@pytest.mark.requirement(147)
async def test_letter_and_verdict_are_there_when_the_refusal_is_heard(uploads: Uploads) -> None:
    result = await fatal(uploads, put("b", name="2", crud_id=0), BAD)
    assert result["dead_lettered"] is True
    [(content, code, index, state)] = uploads.database.execute(
        "SELECT content, code, operation_index, state FROM syncline_dead_letters"
    )
    assert [entry["id"] for entry in json.loads(content)["crud"]] == ["b", "a"]
    assert (code, index, state) == ("CHECK_VIOLATION", 1, "open")
    assert uploads.database.execute("SELECT count(*) FROM syncline_uploads") == [(1,)]
    assert uploads.database.execute("SELECT count(*) FROM lists") == [(0,)]


async def test_a_policy_s_refusal_is_kept_too_and_so_is_one_without_ids(uploads: Uploads) -> None:
    assert (await fatal(uploads, put("a", table="nowhere", name="1"), client_id=None))["dead_lettered"] is True
    letter = await only_letter(uploads)
    assert (letter.code, letter.client_id) == ("SCHEMA_MISMATCH", None)


@pytest.mark.requirement(147)
async def test_a_repeat_hears_the_same_and_makes_no_second_letter(uploads: Uploads) -> None:
    first = await fatal(uploads, BAD)
    uploads.database.execute("ALTER TABLE lists DROP CONSTRAINT lists_stars_check")  # it would go through now
    assert await fatal(uploads, BAD) == first | {"deduplicated": True}
    assert await uploads.backend.dead_letters.count() == 1
    assert uploads.database.execute("SELECT count(*) FROM lists") == [(0,)]


@pytest.mark.requirement(147)
async def test_where_the_letter_cannot_be_kept_nothing_is_refused(uploads: Uploads) -> None:
    uploads.database.execute("ALTER TABLE syncline_dead_letters RENAME TO away")
    [result] = await uploads.send([BAD], client_id="c1")
    assert result["status"] == "retryable_error"
    assert uploads.database.execute("SELECT count(*) FROM syncline_uploads") == [(0,)]
    uploads.database.execute("ALTER TABLE away RENAME TO syncline_dead_letters")
    assert "deduplicated" not in await fatal(uploads, BAD)


async def test_a_letter_and_its_verdict_are_stored_together_or_not_at_all(uploads: Uploads) -> None:
    """The connection is lost at the COMMIT of the letter: nobody knows, so the device repeats, and all is well."""
    uploads.database.execute(
        DIES_AT_COMMIT_SQL.replace("ON lists", "ON syncline_dead_letters").replace("die", "die_letter")
    )
    [result] = await uploads.send([BAD], client_id="c1")
    assert result["status"] == "retryable_error"
    counts = "SELECT (SELECT count(*) FROM syncline_uploads), (SELECT count(*) FROM syncline_dead_letters)"
    assert uploads.database.execute(counts) == [(0, 0)]
    uploads.database.execute("DROP TRIGGER die_letter ON syncline_dead_letters")
    await fatal(uploads, BAD)
    assert uploads.database.execute(counts) == [(1, 1)]


@pytest.mark.requirement(147)
async def test_a_retry_applies_the_transaction_as_its_user_once(uploads: Uploads) -> None:
    await fatal(uploads, BAD)
    uploads.database.execute("ALTER TABLE lists DROP CONSTRAINT lists_stars_check;" + APPLIED_SQL)
    letter = await only_letter(uploads)
    letters = uploads.backend.dead_letters
    verdicts = await asyncio.gather(*(letters.retry(letter.id) for _ in range(4)))
    assert {verdict.status for verdict in verdicts} == {ResultStatus.SUCCESS}
    assert sum(not verdict.deduplicated for verdict in verdicts) == 1
    assert uploads.database.execute("SELECT id, name, stars, owner_id FROM lists") == [("a", "1", 9, "ann")]
    assert uploads.database.execute("SELECT count(*) FROM effects") == [(1,)]
    assert (await only_letter(uploads)).state is DeadLetterState.RETRIED


@pytest.mark.requirement(147)
async def test_a_retry_that_ended_before_the_letter_was_marked_has_no_second_effect(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fatal(uploads, BAD)
    uploads.database.execute("ALTER TABLE lists DROP CONSTRAINT lists_stars_check;" + APPLIED_SQL)
    letter = await only_letter(uploads)

    async def crash(*_: object) -> None:
        raise RetryLater("as if the process had ended here")

    with monkeypatch.context() as patched:
        patched.setattr(uploads.persister.dead_letters, "settle", crash)
        with pytest.raises(RetryLater):
            await uploads.backend.dead_letters.retry(letter.id)
    assert (await only_letter(uploads)).state is DeadLetterState.OPEN
    verdict = await uploads.backend.dead_letters.retry(letter.id)
    assert (verdict.status, verdict.deduplicated) == (ResultStatus.SUCCESS, True)
    assert (await only_letter(uploads)).state is DeadLetterState.RETRIED
    assert uploads.database.execute("SELECT count(*) FROM effects") == [(1,)]


async def test_a_retry_goes_through_the_policies_of_now_and_reaches_no_row_of_others(uploads: Uploads) -> None:
    await fatal(uploads, BAD)
    uploads.database.execute("ALTER TABLE lists DROP CONSTRAINT lists_stars_check")
    await uploads.send([put("a", name="his")], user="bob")
    letter = await only_letter(uploads)
    verdict = await uploads.backend.dead_letters.retry(letter.id)
    assert verdict.failed_operation is not None
    assert verdict.failed_operation.error_code == "UNAUTHORIZED"
    again = await only_letter(uploads)
    assert (again.state, again.retries, again.code) == (DeadLetterState.OPEN, 1, "UNAUTHORIZED")
    assert uploads.database.execute("SELECT name, owner_id FROM lists") == [("his", "bob")]


@pytest.mark.requirement(147, 150)
async def test_a_refused_call_of_a_mutator_is_a_letter_and_its_retry_has_one_effect(uploads: Uploads) -> None:
    """A call need not be idempotent: only the letter's own identity keeps two retries from counting twice."""
    uploads.database.execute("CREATE TABLE counters (n integer CHECK (n < 1)); INSERT INTO counters VALUES (0)")
    mutators = Mutators()

    @mutators.register()
    async def count(call: MutatorCall, args: dict[str, Any]) -> None:
        await call.connection.execute("UPDATE counters SET n = n + %s", (args["by"],))

    auth, persister = uploads.backend.auth, uploads.persister
    tables = {"lists": TablePolicy(owner="owner_id")}
    backend = SyncBackend(persister=persister, auth=auth, tables=tables, mutators=mutators)
    calls = Uploads(backend, persister, uploads.database)
    call = put("call", "syncline_mutations", crud_id=1, name="count", args=json.dumps({"by": 1}))
    assert (await fatal(calls, call))["failed_operation"]["error_code"] == "CHECK_VIOLATION"
    uploads.database.execute("ALTER TABLE counters DROP CONSTRAINT counters_n_check")
    letter = await only_letter(calls)
    verdicts = await asyncio.gather(*(backend.dead_letters.retry(letter.id) for _ in range(3)))
    assert {verdict.status for verdict in verdicts} == {ResultStatus.SUCCESS}
    assert uploads.database.execute("SELECT n FROM counters") == [(1,)]


@pytest.mark.requirement(148)
@pytest.mark.parametrize("client_id", ["c1", None])
async def test_an_error_that_nobody_knows_is_retryable_n_times_and_then_a_letter(
    uploads: Uploads, client_id: str | None
) -> None:
    uploads.database.execute(RAISES_SQL.format(sqlstate="XX000"))
    crud = [patch("z", name="0"), put("a", name="1")] if client_id is None else [put("a", name="1", crud_id=1)]
    verdicts = [(await uploads.send(crud, client_id=client_id))[0] for _ in range(UNKNOWN_FAILURES_MAX + 1)]
    assert [verdict["status"] for verdict in verdicts] == ["retryable_error"] * UNKNOWN_FAILURES_MAX + ["fatal_error"]
    failed = verdicts[-1]["failed_operation"]
    assert (failed["error_code"], failed["operation_index"]) == ("UNCLASSIFIED_ERROR", len(crud) - 1)
    assert "a value" not in str(verdicts)
    assert (await only_letter(uploads)).code == "UNCLASSIFIED_ERROR"
    assert uploads.database.execute("SELECT failures FROM syncline_upload_failures") == [(UNKNOWN_FAILURES_MAX + 1,)]


async def test_what_the_app_raises_itself_is_refused_at_once(uploads: Uploads) -> None:
    uploads.database.execute(RAISES_SQL.format(sqlstate="P0001"))
    await fatal(uploads, put("a", name="1", crud_id=1))


async def test_a_connection_lost_at_commit_is_no_failure_of_the_transaction(uploads: Uploads) -> None:
    """The outcome is unknown: the device repeats for as long as it takes."""
    uploads.database.execute(DIES_AT_COMMIT_SQL)
    for _ in range(UNKNOWN_FAILURES_MAX + 2):
        [result] = await uploads.send([put("a", name="1", crud_id=1)], client_id="c1")
        assert result["status"] == "retryable_error"
    assert uploads.database.execute("SELECT count(*) FROM syncline_upload_failures") == [(0,)]
    uploads.database.execute("DROP TRIGGER die ON lists")
    assert await uploads.send([put("a", name="1", crud_id=1)], client_id="c1") == [{"status": "success"}]


async def test_a_socket_cut_at_commit_leaves_the_outcome_open_and_the_repeat_finds_it(
    postgres_database: ScratchDatabase,
) -> None:
    """The transaction is committed behind the back of the backend, which cannot know it: retryable, and not counted."""
    postgres_database.execute(SCHEMA_SQL + WAITS_AT_COMMIT_SQL)
    parts = urlsplit(postgres_database.dsn)
    async with FaultyProxy(parts.hostname or "", parts.port or 5432) as proxy:
        address = f"{parts.netloc.rpartition('@')[0]}@{proxy.url.removeprefix('http://')}"
        crud = [put("a", name="1", crud_id=1)]
        async with opened(urlunsplit(parts._replace(netloc=address)), postgres_database) as uploads:
            with postgres_database.connect() as holder:
                holder.execute("SELECT pg_advisory_lock(77)")
                sending = asyncio.create_task(uploads.send(crud, client_id="c1"))
                waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted"
                await eventually(lambda: postgres_database.execute(waits) == [(1,)], timeout_s=60)
                proxy.cut()
                assert [result["status"] for result in await sending] == ["retryable_error"]
    async with opened(postgres_database.dsn, postgres_database) as uploads:
        assert await uploads.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]
    assert postgres_database.execute("SELECT count(*) FROM syncline_upload_failures") == [(0,)]
    assert postgres_database.execute("SELECT id FROM lists") == [("a",)]


@pytest.fixture
async def reporting(postgres_database: ScratchDatabase) -> AsyncGenerator[Uploads]:
    """A backend that reports refusals to a table."""
    postgres_database.execute(SCHEMA_SQL)
    persister = PostgresPersister(postgres_database.dsn)
    plain = make_plain_backend(persister)
    tables = {"lists": TablePolicy(owner="owner_id")}
    backend = SyncBackend(persister=persister, auth=plain.auth, tables=tables, write_results=True)
    await backend.open()
    yield Uploads(backend, persister, postgres_database)
    await backend.close()


@pytest.mark.requirement(235)
async def test_a_refusal_is_reported_to_the_table_that_syncs_back_and_resolved_with_its_letter(
    reporting: Uploads,
) -> None:
    crud = [put("a", name="secret", stars=9, crud_id=1)]
    body = {"client_id": "c1", "transactions": [{"crud": crud, "transaction_id": 12}]}
    await reporting.backend.handle_upload(json.dumps(body).encode(), AuthenticatedUser("ann"))
    [row] = reporting.database.execute(
        "SELECT id, user_id, client_id, transaction_id, operations, operation_index, code, message, resolved"
        " FROM powersync_write_results"
    )
    letter = await only_letter(reporting)
    assert row[:4] == (letter.id, "ann", "c1", 12)
    assert json.loads(row[4]) == [{"op": "PUT", "table": "lists", "id": "a"}]
    assert row[5:] == (0, "CHECK_VIOLATION", letter.message, False)
    await reporting.backend.handle_upload(json.dumps(body).encode(), AuthenticatedUser("ann"))
    await reporting.backend.dead_letters.discard(letter.id)
    assert reporting.database.execute("SELECT resolved FROM powersync_write_results") == [(True,)]


async def test_letters_settled_long_ago_are_dropped_with_their_reports_and_open_ones_stay(reporting: Uploads) -> None:
    for row_id in ("a", "b", "c"):
        await reporting.code(put(row_id, name="1", stars=9))
    old, settled, _ = await reporting.backend.dead_letters.list()
    for letter in (old, settled):
        await reporting.backend.dead_letters.discard(letter.id)
    reporting.database.execute(
        "UPDATE syncline_dead_letters SET settled_at = now() - make_interval(days => %s, secs => 1) WHERE id = %s",
        (DEAD_LETTERS_KEPT_DAYS, old.id),
    )
    reporting.database.execute(
        "UPDATE syncline_dead_letters SET created_at = created_at - make_interval(days => %s, secs => 1)",
        (DEAD_LETTERS_KEPT_DAYS,),
    )
    await reporting.persister.dead_letters.prepare(write_results=True)
    left = await reporting.backend.dead_letters.list()
    assert [letter.state for letter in left] == [DeadLetterState.DISCARDED, DeadLetterState.OPEN]
    assert old.id not in {letter.id for letter in left}
    assert reporting.database.execute("SELECT count(*) FROM powersync_write_results") == [(2,)]
