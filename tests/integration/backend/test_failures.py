from __future__ import annotations

import uuid
from collections.abc import Generator
from urllib.parse import urlsplit, urlunsplit

import pytest
from psycopg import sql

from syncline.backend.limits import CONFLICT_ATTEMPTS_MAX, RETRY_AFTER_MS
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.errors import ConfigError
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from tests.integration.backend.conftest import SCHEMA_SQL, Uploads, make_backend, put

# A sequence is not rolled back: it counts the attempts.
CONFLICTS_SQL = """
CREATE SEQUENCE attempts;
CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('attempts') < {succeeds_at} THEN RAISE EXCEPTION 'conflict' USING ERRCODE = '{sqlstate}'; END IF;
  RETURN NEW;
END $$;
CREATE {kind} TRIGGER conflict AFTER INSERT ON lists {deferred} FOR EACH ROW EXECUTE FUNCTION conflict();
"""
AT_COMMIT = {"kind": "CONSTRAINT", "deferred": "DEFERRABLE INITIALLY DEFERRED"}
IN_STATEMENT = {"kind": "", "deferred": ""}


@pytest.mark.parametrize("when", [IN_STATEMENT, AT_COMMIT], ids=["statement", "commit"])
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_conflict_is_tried_again_until_it_goes_through(
    uploads: Uploads, sqlstate: str, when: dict[str, str]
) -> None:
    uploads.database.execute(CONFLICTS_SQL.format(succeeds_at=CONFLICT_ATTEMPTS_MAX, sqlstate=sqlstate, **when))
    assert await uploads.send([put("a", name="1", crud_id=1)], client_id="c1") == [{"status": "success"}]
    assert uploads.database.execute("SELECT last_value FROM attempts") == [(CONFLICT_ATTEMPTS_MAX,)]
    assert uploads.database.execute("SELECT id FROM lists") == [("a",)]


async def test_a_conflict_that_stays_is_left_to_the_client_after_the_last_attempt(uploads: Uploads) -> None:
    uploads.database.execute(CONFLICTS_SQL.format(succeeds_at=1000, sqlstate="40001", **IN_STATEMENT))
    results = await uploads.send([put("a", name="1", crud_id=1)], [put("b", name="2", crud_id=2)], client_id="c1")
    assert results[0]["status"] == "retryable_error"
    assert results[0]["retry_after_ms"] == RETRY_AFTER_MS
    assert results[1] == {"status": "not_attempted"}
    assert uploads.database.execute("SELECT last_value FROM attempts") == [(CONFLICT_ATTEMPTS_MAX,)]
    assert uploads.database.execute("SELECT count(*) FROM syncline_uploads") == [(0,)]


async def test_a_lost_connection_is_retryable_and_the_repeat_goes_through(uploads: Uploads) -> None:
    uploads.database.execute(
        """
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
        CREATE TRIGGER die AFTER INSERT ON lists FOR EACH ROW EXECUTE FUNCTION die();
        """
    )
    crud = [put("a", name="1", crud_id=1)]
    [result] = await uploads.send(crud, client_id="c1")
    assert result["status"] == "retryable_error"
    uploads.database.execute("DROP TRIGGER die ON lists")
    assert await uploads.send(crud, client_id="c1") == [{"status": "success"}]


async def test_connections_ended_while_idle_cost_one_retry_each_at_most(uploads: Uploads) -> None:
    """A restart of the database, seen from the pool."""
    await uploads.succeed(put("a", name="1"))
    [(ended,)] = uploads.database.execute(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE application_name = 'syncline-backend' AND datname = current_database()"
    )
    verdicts = [(await uploads.send([put("b", name="2")]))[0]["status"] for _ in range(ended + 1)]
    assert verdicts == ["retryable_error"] * ended + ["success"]


async def test_a_database_that_is_away_is_retryable(
    postgres_database: ScratchDatabase,
) -> None:
    postgres_database.execute(SCHEMA_SQL)
    parts = urlsplit(postgres_database.dsn)
    async with FaultyProxy(parts.hostname or "", parts.port or 5432) as proxy:
        address = proxy.url.removeprefix("http://")
        dsn = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{address}"))
        through_proxy = PostgresPersister(dsn, transaction_seconds_max=0.3)
        uploads = Uploads(make_backend(through_proxy), through_proxy, postgres_database)
        await uploads.backend.open()
        try:
            await uploads.succeed(put("a", name="1"))
            proxy.refuse = True
            proxy.cut()
            for _ in range(2):  # the broken connection, then none at all
                [result] = await uploads.send([put("b", name="2")])
                assert result["status"] == "retryable_error"
        finally:
            await uploads.backend.close()


async def test_an_upload_that_waits_too_long_for_a_lock_is_retryable_and_leaves_nothing(
    postgres_database: ScratchDatabase,
) -> None:
    postgres_database.execute(SCHEMA_SQL)
    impatient = PostgresPersister(postgres_database.dsn, transaction_seconds_max=0.3)
    uploads = Uploads(make_backend(impatient), impatient, postgres_database)
    await uploads.backend.open()
    try:
        await uploads.succeed(put("a", name="1"))
        with postgres_database.connect() as other, other.transaction():
            other.execute("UPDATE lists SET name = 'held'")
            crud = [put("b", name="2", crud_id=1), put("a", name="2", crud_id=2)]
            [result] = await uploads.send(crud, client_id="c1")
            assert result["status"] == "retryable_error"
        assert postgres_database.execute("SELECT id, name FROM lists") == [("a", "held")]
        assert await uploads.send(crud, client_id="c1") == [{"status": "success"}]
    finally:
        await uploads.backend.close()


@pytest.fixture
def modest_dsn(postgres_database: ScratchDatabase) -> Generator[str]:
    """A role that may write `lists` and make nothing."""
    role = f"modest_{uuid.uuid4().hex[:8]}"
    postgres_database.execute(SCHEMA_SQL)
    postgres_database.execute(f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    postgres_database.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON lists TO {role}")
    parts = urlsplit(postgres_database.dsn)
    yield urlunsplit(parts._replace(netloc=f"{role}:{role}@{parts.netloc.rpartition('@')[2]}"))
    with postgres_database.connect() as connection:
        connection.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(role)))
        connection.execute(sql.SQL("DROP ROLE {0}").format(sql.Identifier(role)))


async def test_a_role_that_may_not_make_the_table_of_verdicts_is_told_what_to_run(
    postgres_database: ScratchDatabase, modest_dsn: str
) -> None:
    refused = PostgresPersister(modest_dsn)
    with pytest.raises(ConfigError) as caught:
        await refused.open()
    await refused.close()
    statement = caught.value.hint.partition(":")[2]
    role = urlsplit(modest_dsn).username
    postgres_database.execute(f"{statement}; GRANT SELECT, INSERT, DELETE ON syncline_uploads TO {role}")

    modest = PostgresPersister(modest_dsn)
    with pytest.raises(ConfigError, match="refused transactions are kept") as caught:
        await make_backend(modest).open()
    await modest.close()
    statement = caught.value.hint.partition(":")[2]
    letters = "syncline_dead_letters, syncline_upload_failures"
    postgres_database.execute(f"{statement}; GRANT SELECT, INSERT, UPDATE, DELETE ON {letters} TO {role}")

    modest = PostgresPersister(modest_dsn)
    uploads = Uploads(make_backend(modest), modest, postgres_database)
    await uploads.backend.open()
    try:
        crud = [put("a", name="1", crud_id=1)]
        assert await uploads.send(crud, client_id="c1") == [{"status": "success"}]
        assert await uploads.send(crud, client_id="c1") == [{"status": "success", "deduplicated": True}]
        postgres_database.execute(f"REVOKE INSERT ON lists FROM {role}")
        assert await uploads.code(put("b", name="2")) == ("UNAUTHORIZED", 0)
    finally:
        await uploads.backend.close()


async def test_backends_that_start_at_the_same_time_do_not_disturb_each_other(
    postgres_database: ScratchDatabase,
) -> None:
    persisters = [PostgresPersister(postgres_database.dsn) for _ in range(3)]
    for one in persisters:
        await one.open()
        await one.close()
    assert postgres_database.execute("SELECT count(*) FROM syncline_uploads") == [(0,)]
