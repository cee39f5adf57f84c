"""Reading rows of a Postgres source for administrators: bounds, formats, and what is not published."""

from __future__ import annotations

import pytest

from syncline.errors import SourceUnavailable
from syncline.replication.postgres.row_reader import PostgresRowReader
from syncline.replication.row_reading import RowRefused
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.value_format import EDITION_3_FORMAT, ValueFormat
from syncline.testing.postgres import ScratchDatabase

PATTERNS = [TablePattern("public", "%")]


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    postgres_database.execute(
        "CREATE TABLE a (id int PRIMARY KEY, at timestamptz, text text); CREATE TABLE b (x int, y int, PRIMARY KEY (x, y));"
        "CREATE TABLE hidden (id int PRIMARY KEY); CREATE PUBLICATION powersync FOR TABLE a, b;"
        "INSERT INTO a SELECT n, '2026-01-02 03:04:05Z', repeat('x', 1000) FROM generate_series(1, 20) n;"
        "INSERT INTO b VALUES (1, 2)"
    )
    return postgres_database


@pytest.fixture
def reader(source: ScratchDatabase) -> PostgresRowReader:
    return PostgresRowReader(source.dsn, publication="powersync", ignored_schema="syncline")


async def test_rows_are_read_once_for_each_format_and_within_bounds(reader: PostgresRowReader) -> None:
    old = ValueFormat(iso8601=False, custom_types=False)
    new_rows, old_rows = await reader.tables(PATTERNS, [EDITION_3_FORMAT, old], rows_max=20)
    a, b = new_rows
    assert (a.name, a.columns, len(a.rows), a.is_cut) == ("a", ("id", "at", "text"), 10, True)
    assert (b.rows, b.is_cut) == ([(1, 2)], False)
    assert "T" in str(a.rows[0][1])
    assert "T" not in str(old_rows[0].rows[0][1])
    whole = (await reader.tables(PATTERNS, [EDITION_3_FORMAT]))[0]
    assert [(len(table.rows), table.is_cut) for table in whole] == [(20, False), (1, False)]


async def test_large_rows_are_read_up_to_so_many_bytes(
    reader: PostgresRowReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncline.replication.postgres.row_reader.READ_BYTES_MAX", 5_000)
    monkeypatch.setattr("syncline.replication.postgres.row_reader.LINES_AT_A_TIME", 1)
    a, b = (await reader.tables(PATTERNS, [EDITION_3_FORMAT]))[0]
    assert (len(a.rows), a.is_cut) == (5, True)
    assert (len(b.rows), b.is_cut) == (0, True)  # not looked at any more


async def test_a_row_is_found_by_its_key_or_by_a_column(reader: PostgresRowReader) -> None:
    found = await reader.row("public", "a", "7", EDITION_3_FORMAT)
    assert found is not None
    assert found.rows[0][0] == 7
    by_column = await reader.row("public", "b", "2", EDITION_3_FORMAT, column="y")
    assert by_column is not None
    assert await reader.row("public", "a", "99", EDITION_3_FORMAT) is None
    for table, row_id, column, said in (
        ("hidden", "1", "", "not in the publication"),
        ("a", "seven", "", "invalid input syntax"),
        ("a", "1", "nothing", "no column 'nothing'"),
        ("b", "1", "", "name one"),
    ):
        with pytest.raises(RowRefused, match=said):
            await reader.row("public", table, row_id, EDITION_3_FORMAT, column=column)


async def test_a_source_that_is_away_is_told_as_such() -> None:
    away = PostgresRowReader("host=127.0.0.1 port=1 dbname=x user=x", publication="powersync", ignored_schema="s")
    with pytest.raises(SourceUnavailable):
        await away.row("public", "a", "1", EDITION_3_FORMAT)
