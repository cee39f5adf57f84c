"""What goes wrong in a storage database, on a real one: each failure has a code and a hint, and passes where it can pass."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator

import psycopg
import pytest

from syncline.errors import ConfigError, StorageUnavailable, StorageVersionUnsupported
from syncline.storage.model import CurrentRow, FlushBatch, Lookup, WriteCheckpointCursor
from syncline.storage.postgres import PostgresStorage
from syncline.storage.postgres import chunks as chunks_module
from syncline.storage.postgres.connection import check_server, connect
from syncline.storage.postgres.migrations import LAYOUT, migrate, migrate_down, stored_layout
from syncline.storage.postgres.statements import SchemaSql
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.waiting import eventually
from tests.conformance.storage_suite.builders import begun, committed, put
from tests.support.sync_config import fixed_buckets

A = "10#a[]"
ROLE = "syncline_storage_test"
FAIL = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{state}'; END $$;
CREATE TRIGGER fail BEFORE INSERT ON syncline.op FOR EACH STATEMENT EXECUTE FUNCTION fail()
"""

FAIL_THRICE = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('public.attempts') < 4 THEN RAISE EXCEPTION 'as if' USING ERRCODE = '{state}'; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON syncline.op FOR EACH STATEMENT EXECUTE FUNCTION fail()
"""


@pytest.fixture
def storage(postgres_database: ScratchDatabase) -> PostgresStorage:
    return PostgresStorage(postgres_database.dsn)


@pytest.fixture
def role(postgres_database: ScratchDatabase) -> Generator[str]:
    """A role without any right, and the DSN to use it."""
    postgres_database.execute(f"DROP ROLE IF EXISTS {ROLE}; CREATE ROLE {ROLE} LOGIN")
    yield postgres_database.dsn.replace("postgres@", f"{ROLE}@")
    postgres_database.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


def test_a_missing_right_to_create_is_told_with_the_grant_to_run(postgres_database: ScratchDatabase, role: str) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        PostgresStorage(role).open_writer()
    grant = f"GRANT CREATE ON DATABASE {postgres_database.name} TO {ROLE};"
    assert grant in caught.value.hint
    postgres_database.execute(grant)
    PostgresStorage(role).open_writer().close()


def test_a_schema_that_an_administrator_made_needs_no_right_on_the_database(
    postgres_database: ScratchDatabase, role: str
) -> None:
    postgres_database.execute(f"CREATE SCHEMA syncline AUTHORIZATION {ROLE}")
    PostgresStorage(role).open_writer().close()


@pytest.mark.parametrize(
    ("state", "hint"), [("53100", "make room"), ("53300", "max_connections"), ("25006", "primary")]
)
def test_a_failure_of_the_server_is_told_and_passes(
    postgres_database: ScratchDatabase, storage: PostgresStorage, state: str, hint: str
) -> None:
    writer = storage.open_writer()
    version = begun(writer)
    postgres_database.execute(FAIL.format(state=state))
    batch = FlushBatch(ops=[put(A, "1")], lookups=[Lookup(1, b"k", "l", "x")], rows={(1, b"k"): CurrentRow((), ())})
    with pytest.raises(StorageUnavailable) as caught:
        writer.flush(version, batch)
    assert hint in caught.value.hint
    assert caught.value.context["sqlstate"] == state
    postgres_database.execute("DROP FUNCTION fail CASCADE")
    assert writer.flush(version, batch) == 2, "nothing of the failed batch was left"
    writer.close()


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_transaction_is_begun_again_where_postgres_asks_for_it(
    postgres_database: ScratchDatabase, storage: PostgresStorage, state: str
) -> None:
    writer = storage.open_writer()
    version = begun(writer)
    postgres_database.execute(f"CREATE SEQUENCE attempts; {FAIL_THRICE.format(state=state)}")
    assert writer.flush(version, FlushBatch(ops=[put(A, "1")])) == 1
    assert postgres_database.execute("SELECT last_value FROM attempts")[0][0] == 4
    writer.close()


def test_rows_that_nobody_looked_up_may_be_there_already(storage: PostgresStorage) -> None:
    """The source sends a transaction again after a crash: its inserts were not looked up, and are stored."""
    writer = storage.open_writer()
    version = begun(writer)
    old, new = CurrentRow((), (("l", "1"),)), CurrentRow((), (("l", "2"),))
    assert writer.flush(version, FlushBatch(ops=[put(A, "1")], rows={(1, b"a"): old, (1, b"b"): old})) == 1
    assert writer.flush(version, FlushBatch(ops=[put(A, "1")], rows={(1, b"b"): new, (1, b"c"): new})) == 2
    assert writer.current_rows(1, [b"a", b"b", b"c"]) == {b"a": old, b"b": new, b"c": new}
    writer.close()


def test_a_row_that_did_not_change_is_not_written_and_one_that_did_is(
    postgres_database: ScratchDatabase, storage: PostgresStorage
) -> None:
    writer = storage.open_writer()
    version = begun(writer)
    old, new = CurrentRow((), (("l", "1"),)), CurrentRow((), (("l", "2"),))
    writer.flush(version, FlushBatch(rows={(1, b"a"): old, (1, b"b"): old, (1, b"c"): old}))
    look = "SELECT xmin FROM syncline.current_row ORDER BY row_key"
    before = postgres_database.execute(look)
    for _ in range(2):  # once more with what the first flush has left
        assert len(writer.current_rows(1, [b"a", b"b", b"c", b"d"])) == 3
        writer.flush(version, FlushBatch(rows={(1, b"a"): old, (1, b"b"): new, (1, b"c"): None}))
        writer.flush(version, FlushBatch(rows={(1, b"c"): old}))
        assert writer.current_rows(1, [b"a", b"b", b"c", b"d"]) == {b"a": old, b"b": new, b"c": old}
    after = postgres_database.execute(look)
    assert before[0] == after[0], "the row that did not change was not written"
    assert before[1] != after[1]
    writer.close()


async def test_readers_go_on_after_their_connections_were_cut(
    postgres_database: ScratchDatabase, storage: PostgresStorage
) -> None:
    writer, reader, checkpoints = storage.open_writer(), storage.open_reader(), storage.open_write_checkpoints()
    version = begun(writer)
    checkpoint = committed(writer, version, "A", put(A, "1"))
    assert await reader.checkpoint(version) == checkpoint
    await checkpoints.create(["u"], "B")
    ended = postgres_database.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name IN ('syncline reader', 'syncline write checkpoints') AND datname = current_database()"
    )
    assert len(ended) == 2
    assert await reader.checkpoint(version) == checkpoint
    view = await reader.view(version, fixed_buckets(A))
    assert view is not None
    assert view.totals[A].op_count == 1
    assert await checkpoints.reached("u", "B") is not None
    writer.close()
    await reader.close()
    await checkpoints.close()


async def test_a_server_that_is_not_there_is_storage_that_is_unavailable() -> None:
    storage = PostgresStorage("postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=2")
    for opening in (storage.open_writer, storage.open_reader, storage.open_write_checkpoints):
        with pytest.raises(StorageUnavailable, match="storage database"):
            opening()


async def test_a_wake_up_comes_for_each_checkpoint_and_after_a_lost_connection(
    postgres_database: ScratchDatabase, storage: PostgresStorage
) -> None:
    writer = storage.open_writer()
    version = begun(writer)
    count = 0

    def wake() -> None:
        nonlocal count
        count += 1

    task = asyncio.create_task(storage.open_wakeups().run(wake))
    await eventually(lambda: count == 1, what="the listener is there")
    committed(writer, version, "A", put(A, "1"))
    await eventually(lambda: count == 2, what="the checkpoint wakes")
    writer.flush(version, FlushBatch(ops=[put(A, "2")]))
    listener = "application_name = 'syncline wake-ups' AND datname = current_database()"
    postgres_database.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {listener}")
    await eventually(lambda: count == 3, what="a new connection counts as a wake-up: a flush alone is none")
    committed(writer, version, "B", put(A, "3"))
    await eventually(lambda: count == 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    writer.close()


def test_a_newer_layout_is_refused_with_what_to_do(
    postgres_database: ScratchDatabase, storage: PostgresStorage
) -> None:
    storage.open_writer().close()
    postgres_database.execute("UPDATE syncline.storage_state SET layout = 99")
    for opening in (storage.open_writer, storage.open_reader):
        with pytest.raises(StorageVersionUnsupported, match="DROP SCHEMA"):
            opening()


def test_migrations_go_down_and_up_and_run_once_at_a_time(postgres_database: ScratchDatabase) -> None:
    sql = SchemaSql("other_schema")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with connect(postgres_database.dsn, application_name="test") as connection:
                migrate(connection, sql)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with connect(postgres_database.dsn, application_name="test") as connection:
        assert stored_layout(connection, sql) == LAYOUT
        migrate_down(connection, sql, to=0)
        left = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'other_schema'"
        assert connection.execute(left).fetchone() == (0,), "the way down leaves nothing"
        migrate(connection, sql)
        assert stored_layout(connection, sql) == LAYOUT
    PostgresStorage(postgres_database.dsn, schema="other_schema").open_writer().close()


def test_a_schema_of_another_name_is_another_storage(postgres_database: ScratchDatabase) -> None:
    one, two = PostgresStorage(postgres_database.dsn), PostgresStorage(postgres_database.dsn, schema="two")
    writers = one.open_writer(), two.open_writer()
    begun(writers[0], 10)
    assert writers[1].versions() == []
    for writer in writers:
        writer.close()
    with pytest.raises(ConfigError, match="lower-case"):
        PostgresStorage(postgres_database.dsn, schema='x"; DROP SCHEMA public; --')


def test_a_database_of_another_encoding_is_refused(
    postgres_server: PostgresServer, postgres_database: ScratchDatabase
) -> None:
    name = f"{postgres_database.name}_latin"
    postgres_database.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    dsn = postgres_database.dsn.replace(postgres_database.name, name)
    with pytest.raises(StorageUnavailable, match="UTF-8") as caught:
        PostgresStorage(dsn).open_writer()
    assert "CREATE DATABASE" in caught.value.hint
    postgres_server.drop(ScratchDatabase(dsn, name))


def test_a_server_that_is_too_old_is_refused() -> None:
    class Old(psycopg.ConnectionInfo):
        def __init__(self) -> None:
            pass

        @property
        def server_version(self) -> int:
            return 130014

    with pytest.raises(StorageUnavailable) as caught:
        check_server(Old())
    assert caught.value.error_code == "PSYNC_S1144"


def test_texts_that_postgres_cannot_hold_come_back_as_they_were(storage: PostgresStorage) -> None:
    writer = storage.open_writer()
    version = begun(writer)
    odd = put(A, 'nul\0 and \\ and "quotes" é')._replace(subkey="key")
    writer.flush(version, FlushBatch(ops=[odd, put(A, "plain")], custom_write_checkpoints={"u\0\ud800": 7}))
    writer.commit(version, "A")
    newest, first = writer.ops_before(A, before=None, ops_max=10)
    assert (first.op, first.object_id, first.object_type) == (odd.op, odd.object_id, odd.object_type)
    assert newest.object_id == "plain"
    writer.close()


async def test_user_keys_that_postgres_cannot_hold_come_back_as_they_were(storage: PostgresStorage) -> None:
    checkpoints = storage.open_write_checkpoints()
    users = ["nul\0", "half \ud800", "é", "x" * 10_000]
    values = await checkpoints.create(users, "A")
    found, _ = await checkpoints.newly_reached("B", WriteCheckpointCursor())
    assert found == dict(zip(users, values, strict=True))
    await checkpoints.close()


def test_names_of_any_length_are_found_again(storage: PostgresStorage) -> None:
    writer = storage.open_writer()
    version = begun(writer)
    long = f'10#a["{"x" * 20_000}"]'
    writer.flush(version, FlushBatch(ops=[put(long, "1")], lookups=[Lookup(1, b"k", long, long)]))
    writer.commit(version, "A")
    assert [op.op_id for op in writer.ops_before(long, before=None, ops_max=10)] == [1]
    writer.close()


def lease_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "storage-lease"}


def test_the_lease_thread_ends_with_the_writer(storage: PostgresStorage) -> None:
    before = lease_threads()
    writer = storage.open_writer()
    assert len(lease_threads() - before) == 1
    writer.close()
    assert not lease_threads() - before


async def test_one_read_holds_no_more_than_its_bytes_over_all_buckets(
    storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_module, "READ_BYTES_MAX", 2500)
    writer, reader = storage.open_writer(), storage.open_reader()
    version = begun(writer)
    buckets = [f"10#{name}[]" for name in "abc"]
    ops = [put(bucket, str(number), "x" * 1000) for bucket in buckets for number in range(2)]
    checkpoint = committed(writer, version, "A", *ops)
    positions, reads, received = dict.fromkeys(buckets, 0), 0, 0
    while received < len(ops):
        chunks = await reader.chunks(
            version,
            list(positions.items()),
            checkpoint_op=checkpoint.op_id,
            ops_max=100,
            chunk_ops_max=100,
            chunk_bytes_max=10_000,
        )
        assert sum(len(op.data or "") for chunk in chunks for op in chunk.ops) <= 3000, (
            "only a first row of a bucket goes beyond"
        )
        assert [chunk.has_more for chunk in chunks] == [chunk.next_after % 2 == 1 for chunk in chunks]
        for chunk in chunks:
            positions[chunk.bucket] = chunk.next_after
            received += len(chunk.ops)
        reads += 1
    assert reads == 3
    writer.close()
    await reader.close()
