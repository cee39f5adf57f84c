"""What the stream says of changes, on a real Postgres."""

from __future__ import annotations

import psycopg
import pytest

from syncline.replication.postgres import stream as stream_module
from syncline.replication.postgres.source import PostgresSource
from syncline.replication.source import UNCHANGED, ChangeKind, Marker, RowChange, TransactionEnd
from syncline.sync_config.plan import TablePattern
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.following import following, read_snapshot

INSERT, UPDATE, DELETE, TRUNCATE = ChangeKind.INSERT, ChangeKind.UPDATE, ChangeKind.DELETE, ChangeKind.TRUNCATE
BIG = "SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n"  # 16 kB that do not compress: stored out of line


async def test_every_kind_of_change_is_told_in_commit_order(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    async with following(source) as follower:
        database.execute("INSERT INTO t VALUES (1, 'a'), (2, NULL)")
        database.execute("UPDATE t SET name = 'b' WHERE id = 1")
        database.execute("UPDATE t SET id = 3 WHERE id = 1")
        database.execute("DELETE FROM t WHERE id = 2")
        database.execute("TRUNCATE t")
        await follower.caught_up()
    changes = [(change.kind, change.row, change.old_key) for change in follower.changes("t")]
    assert changes == [
        (INSERT, (1, "a"), None),
        (INSERT, (2, None), None),
        (UPDATE, (1, "b"), None),
        (UPDATE, (3, "b"), (1,)),
        (DELETE, None, (2,)),
        (TRUNCATE, None, None),
    ]


async def test_an_update_leaves_out_large_values_that_it_did_not_touch(
    database: ScratchDatabase, source: PostgresSource
) -> None:
    database.execute(f"CREATE TABLE t (id int PRIMARY KEY, n int, big text); INSERT INTO t VALUES (1, 0, ({BIG}))")
    async with following(source) as follower:
        database.execute("UPDATE t SET n = 1")
        await follower.caught_up()
    assert follower.changes("t")[0].row == (1, 1, UNCHANGED)
    assert [column.toastable for column in follower.relations("t")[0].columns] == [False, False, True]


async def test_full_identity_gives_the_whole_old_row(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute(
        f"CREATE TABLE t (a int, big text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, ({BIG}))"
    )
    async with following(source) as follower:
        database.execute("UPDATE t SET a = 2")
        database.execute("DELETE FROM t")
        await follower.caught_up()
    update, delete = follower.changes("t")
    big = database.execute(BIG)[0][0]
    assert (update.old_key, delete.old_key) == ((1, big), (2, big))
    assert follower.relations("t")[0].key_columns == ("a", "big")


async def test_an_index_identity_names_rows_by_its_columns(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE); INSERT INTO t VALUES (1, 'a');"
        "ALTER TABLE t REPLICA IDENTITY USING INDEX t_code_key"
    )
    async with following(source) as follower:
        database.execute("UPDATE t SET code = 'b'")
        database.execute("DELETE FROM t")
        await follower.caught_up()
    assert [change.old_key for change in follower.changes("t")] == [("a",), ("b",)]
    copied = await source.relations([TablePattern("public", "t")])
    assert copied[0].key_columns == follower.relations("t")[0].key_columns == ("code",)


async def test_a_table_without_key_tells_inserts_alone(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute("CREATE TABLE t (a int)")
    async with following(source) as follower:
        database.execute("INSERT INTO t VALUES (1), (1)")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            database.execute("DELETE FROM t")
        await follower.caught_up()
    assert [change.row for change in follower.changes("t")] == [(1,), (1,)]
    assert follower.relations("t")[0].key_columns == ()


async def test_rolled_back_work_is_never_heard(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute("CREATE TABLE t (a int PRIMARY KEY)")
    async with following(source) as follower:
        database.execute("BEGIN; INSERT INTO t VALUES (1); ROLLBACK")
        database.execute(
            "BEGIN; INSERT INTO t VALUES (2); SAVEPOINT s; INSERT INTO t VALUES (3); ROLLBACK TO s; COMMIT"
        )
        await follower.caught_up()
    assert [change.row for change in follower.changes("t")] == [(2,)]


async def test_types_made_while_streaming_are_understood(database: ScratchDatabase, source: PostgresSource) -> None:
    async with following(source) as follower:
        database.execute(
            "CREATE TYPE pair AS (a int, b text); CREATE DOMAIN amount AS float8; CREATE TYPE mood AS ENUM ('so so')"
        )
        database.execute("CREATE TABLE t (id int PRIMARY KEY, p pair, ps pair[], m mood, d amount)")
        database.execute("""INSERT INTO t VALUES (1, (1, 'x "y"'), ARRAY[(2, NULL)::pair], 'so so', 1.5)""")
        await follower.caught_up()
    row = follower.changes("t")[0].row
    assert row == (1, '{"a":1,"b":"x \\"y\\""}', '[{"a":2,"b":null}]', "so so", 1.5)
    assert await read_snapshot(source, "t") == [row]


async def test_a_column_added_while_streaming_comes_with_the_next_change(
    database: ScratchDatabase, source: PostgresSource
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    async with following(source) as follower:
        database.execute("INSERT INTO t VALUES (1)")
        database.execute("ALTER TABLE t ADD COLUMN name text DEFAULT 'd'")
        database.execute("INSERT INTO t VALUES (2)")
        await follower.caught_up()
    assert [change.row for change in follower.changes("t")] == [(1,), (2, "d")]
    assert [relation.column_names for relation in follower.relations("t")] == [("id",), ("id", "name")]


async def test_a_recreated_table_is_another_relation(database: ScratchDatabase, source: PostgresSource) -> None:
    async with following(source) as follower:
        for value in (1, 2):
            database.execute(f"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES ({value})")
            database.execute("DROP TABLE t")
        await follower.caught_up()
    first, second = follower.relations("t")
    assert first.id != second.id
    assert [change.relation.id for change in follower.changes("t")] == [first.id, second.id]


async def test_only_tables_that_are_asked_for_are_told(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute("CREATE TABLE t (id int); CREATE TABLE other (id int)")
    async with following(source, patterns=[TablePattern("public", "t")]) as follower:
        database.execute("INSERT INTO other VALUES (1); INSERT INTO t VALUES (1)")
        await follower.caught_up()
    assert (len(follower.changes("t")), follower.changes("other")) == (1, [])


async def test_a_large_transaction_comes_in_bounded_batches_with_one_end(
    database: ScratchDatabase, source: PostgresSource
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    await source.create_slot("large")
    database.execute("INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 20000) n")
    sizes: list[int] = []
    seen: list[RowChange] = []
    async for batch in source.stream("large", [TablePattern("public", "t")], ""):
        sizes.append(len(batch))
        seen += [event for event in batch if isinstance(event, RowChange)]
        if any(isinstance(event, TransactionEnd) for event in batch) and seen:
            break
    assert [change.row for change in seen] == [(n, f"row {n}") for n in range(1, 20001)]
    assert max(sizes) <= stream_module.BATCH_EVENTS_MAX


async def test_a_batch_of_large_rows_is_bounded_in_bytes(
    database: ScratchDatabase, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "BATCH_BYTES_MAX", 100_000)
    database.execute("CREATE TABLE t (id int PRIMARY KEY, big text)")
    await source.create_slot("large")
    database.execute("INSERT INTO t SELECT n, repeat('x', 10000) FROM generate_series(1, 50) n")
    batches: list[int] = []
    async for batch in source.stream("large", [TablePattern("public", "t")], ""):
        batches.append(sum(isinstance(event, RowChange) for event in batch))
        if sum(batches) == 50:
            break
    assert max(batches) <= 11


async def test_a_marker_passes_the_head_where_nobody_writes(source: PostgresSource) -> None:
    async with following(source) as follower:
        head = await source.head()
        await source.emit_marker()

        def ours() -> bool:
            # Before Postgres 17 a marker is flushed at once only as a transaction of its own, so it comes as that transaction's end.
            return any(
                event.position >= head
                for event in follower.events
                if isinstance(event, TransactionEnd) or (isinstance(event, Marker) and event.ours)
            )

        await eventually(ours)  # what the server says of its own accord may pass the head before
