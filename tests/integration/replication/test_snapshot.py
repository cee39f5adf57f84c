"""The copy of a table, on a real Postgres."""

from __future__ import annotations

import pytest

from syncline.errors import SourceError, SourceUnavailable
from syncline.replication.postgres import snapshot as snapshot_module
from syncline.replication.postgres import table_reading
from syncline.replication.postgres.source import PostgresSource
from syncline.sync_config.value_format import ValueFormat
from syncline.testing.postgres import ScratchDatabase
from tests.integration.replication.following import ALL_TABLES, following, read_snapshot

MANY = "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, CASE WHEN n % 7 > 0 THEN E'a\\tb\\\\n' || n END FROM"


@pytest.mark.parametrize("rows", [0, 1, 4000, 9001])
async def test_the_copy_equals_the_table(
    database: ScratchDatabase, source: PostgresSource, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_RANGE_BLOCKS", 7)
    database.execute(f"{MANY} generate_series(1, {rows}) n; DELETE FROM t WHERE id % 3 = 0")
    assert sorted(await read_snapshot(source, "t")) == database.execute("SELECT * FROM t ORDER BY id")


async def test_chunks_are_bounded_and_tell_progress(
    database: ScratchDatabase, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_RANGE_BLOCKS", 7)
    monkeypatch.setattr(table_reading, "SNAPSHOT_CHUNK_ROWS", 1000)
    database.execute(f"{MANY} generate_series(1, 9001) n")
    (relation,) = await source.relations(ALL_TABLES)
    chunks = [chunk async for chunk in source.snapshot(relation)]
    assert sum(len(chunk.rows) for chunk in chunks) == 9001
    assert max(len(chunk.rows) for chunk in chunks) <= 1000
    done = [chunk.progress for chunk in chunks if chunk.progress is not None]
    assert done[-1].next_block == done[-1].blocks > 7
    assert [progress.next_block for progress in done[:-1]] == [7 * n for n in range(1, len(done))]
    assert done[-1].rows == 9001


async def test_large_rows_come_in_smaller_chunks(
    database: ScratchDatabase, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_reading, "SNAPSHOT_CHUNK_BYTES", 100_000)
    database.execute("CREATE TABLE large (id int PRIMARY KEY, body text)")
    database.execute("INSERT INTO large SELECT n, repeat('x', 30000) FROM generate_series(1, 20) n")
    [relation] = [relation for relation in await source.relations(ALL_TABLES) if relation.name == "large"]
    sizes = [len(chunk.rows) async for chunk in source.snapshot(relation)]
    assert sum(sizes) == 20
    assert max(sizes) == 4


async def test_copied_and_streamed_rows_are_the_same(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute(
        "CREATE TABLE t (a bool, b int8, c float4, d numeric, e bytea, f timestamptz, g time, h text[], i jsonb, j int4range, k date)"
    )
    async with following(source) as follower:
        database.execute(
            "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German';"
            "INSERT INTO t VALUES (true, 1, 'NaN', 1.50, '\\x00ff', '2026-01-02 03:04:05.5+01', '3:04', '{a,NULL}', '{\"a\": 1}', '[1,3)',"
            " '2026-01-02')"
        )
        await follower.caught_up()
    expected = (
        *(1, 1, None, "1.50", b"\x00\xff", "2026-01-02T02:04:05.500000Z", "03:04:00.000000", '["a",null]', '{"a": 1}'),
        '{"lower":1,"upper":3,"lower_exclusive":0,"upper_exclusive":1}',
        "2026-01-02",
    )
    assert await read_snapshot(source, "t") == [expected]
    assert [change.row for change in follower.changes("t")] == [expected]


async def test_copied_and_streamed_rows_are_in_the_format_of_the_config(
    database: ScratchDatabase, source: PostgresSource
) -> None:
    legacy = ValueFormat(iso8601=False, custom_types=False)
    database.execute("CREATE DOMAIN amount AS int; CREATE TYPE mood AS ENUM ('so so', 'well')")
    database.execute("CREATE TABLE t (a timestamptz, b timestamp[], c int4range, d amount, e mood[], f int[])")
    row = "'2026-01-02 03:04:05.5+01', '{2026-01-02 03:04:05}', '[1,3)', 5, '{so so,well}', '{1,2}'"
    async with following(source, value_format=legacy) as follower:
        database.execute(f"INSERT INTO t VALUES ({row})")
        await follower.caught_up()
    expected = ("2026-01-02 02:04:05.5Z", '["2026-01-02 03:04:05"]', "[1,3)", "5", '{"so so",well}', "[1,2]")
    assert await read_snapshot(source, "t", legacy) == [expected]
    assert [change.row for change in follower.changes("t")] == [expected]


async def test_the_copy_obeys_column_lists_and_row_filters(
    postgres_database: ScratchDatabase,
) -> None:
    [(version,)] = postgres_database.execute("SELECT current_setting('server_version_num')::int")
    if version < 150000:
        pytest.skip("column lists and row filters came with Postgres 15")
    postgres_database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, name text, secret text); INSERT INTO t VALUES (1, 'a', 'x'), (-1, 'b', 'y');"
        "CREATE PUBLICATION powersync FOR TABLE t (id, name) WHERE (id > 0)"
    )
    source = PostgresSource(postgres_database.dsn, application_name="syncline/test")
    try:
        assert await read_snapshot(source, "t") == [(1, "a")]
    finally:
        await source.close()


async def test_generated_columns_are_in_neither(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)")
    async with following(source) as follower:
        database.execute("INSERT INTO t VALUES (1)")
        await follower.caught_up()
    assert await read_snapshot(source, "t") == [(1,)] == [change.row for change in follower.changes("t")]


async def test_the_copy_of_a_parent_holds_none_of_its_childrens_rows(
    database: ScratchDatabase, source: PostgresSource
) -> None:
    database.execute("CREATE TABLE t (id int); CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (1)")
    assert (await read_snapshot(source, "t"), await read_snapshot(source, "child")) == ([], [(1,)])


async def test_a_partitioned_table_is_its_partitions(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (10); INSERT INTO t VALUES (1)"
    )
    assert [relation.name for relation in await source.relations(ALL_TABLES)] == ["t_low"]
    assert await read_snapshot(source, "t_low") == [(1,)]


async def test_a_table_that_was_replaced_before_its_copy_is_not_copied_under_the_old_name(
    database: ScratchDatabase, source: PostgresSource
) -> None:
    database.execute("CREATE TABLE t (id int)")
    (relation,) = await source.relations(ALL_TABLES)
    database.execute("DROP TABLE t; CREATE TABLE t (id int)")
    with pytest.raises(SourceUnavailable, match="replaced"):
        await anext(aiter(source.snapshot(relation)))


async def test_row_level_security_is_an_error_not_an_empty_copy(database: ScratchDatabase) -> None:
    database.execute(
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        "DROP ROLE IF EXISTS limited; CREATE ROLE limited LOGIN REPLICATION; GRANT SELECT ON t TO limited"
    )
    source = PostgresSource(database.dsn.replace("postgres@", "limited@"), application_name="syncline/test")
    try:
        with pytest.raises(SourceError, match="row-level security"):
            await read_snapshot(source, "t")
    finally:
        await source.close()
        database.execute("DROP OWNED BY limited; DROP ROLE limited")
