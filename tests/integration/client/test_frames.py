"""Queries as data frames, with both kinds of database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from syncline.client import Column, Schema, SyncDatabase, Table, blocking
from syncline.client.frames import to_arrow, to_pandas, to_polars
from syncline.client.frames.columns import ROWS_READ_AT_A_TIME
from syncline.errors import ClientError

SCHEMA = Schema(
    [
        Table(
            "readings",
            [
                Column.text("name"),
                Column.integer("count"),
                Column.real("share"),
                Column.boolean("done"),
                Column.datetime("at"),
                Column.datetime("local"),
            ],
        )
    ]
)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
LOCAL = datetime(2026, 1, 2, 3, 4, 5)
QUERY = "SELECT name, count, share, done, at, local FROM readings ORDER BY id"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute_many(
            "INSERT INTO readings(id, name, count, share, done, at, local) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [("r1", "ü", 2**53 + 1, 1, True, MOMENT, LOCAL), ("r2", None, None, None, None, None, None)],
        )
        yield db


@pytest.mark.requirement(103)
async def test_pandas_frames_have_the_types_of_the_schema(database: SyncDatabase) -> None:
    frame: Any = await to_pandas(database, QUERY)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "name": "string",
        "count": "Int64",
        "share": "Float64",
        "done": "boolean",
        "at": "datetime64[us, UTC]",
        "local": "datetime64[us]",
    }
    assert frame.iloc[0].tolist() == ["ü", 2**53 + 1, 1.0, True, pd.Timestamp(MOMENT), pd.Timestamp(LOCAL)]
    assert bool(frame.iloc[1].isna().all())


async def test_polars_frames_have_the_types_of_the_schema(database: SyncDatabase) -> None:
    frame = await to_polars(database, QUERY)
    assert frame.schema == pl.Schema(
        {
            "name": pl.String(),
            "count": pl.Int64(),
            "share": pl.Float64(),
            "done": pl.Boolean(),
            "at": pl.Datetime("us", "UTC"),
            "local": pl.Datetime("us"),
        }
    )
    assert frame.rows() == [("ü", 2**53 + 1, 1.0, True, MOMENT, LOCAL), (None,) * 6]


async def test_arrow_tables_have_the_types_of_the_schema(database: SyncDatabase) -> None:
    table = await to_arrow(database, QUERY)
    assert [str(field.type) for field in table.schema] == [
        "string", "int64", "double", "bool", "timestamp[us, tz=UTC]", "timestamp[us]",
    ]  # fmt: skip
    assert table.to_pylist()[0] == {
        "name": "ü", "count": 2**53 + 1, "share": 1.0, "done": True, "at": MOMENT, "local": LOCAL,
    }  # fmt: skip


async def test_a_query_without_rows_has_its_columns(database: SyncDatabase) -> None:
    frame = await to_polars(database, QUERY.replace("ORDER", "WHERE name = ? ORDER"), ["nobody"])
    assert frame.height == 0
    assert dict(frame.schema)["count"] == pl.Int64()


async def test_values_that_do_not_fit_stay_as_they_are_stored(database: SyncDatabase) -> None:
    await database.execute("INSERT INTO readings(id, done, at, count) VALUES ('r3', 5, 'soon', 'many')")
    frame = await to_polars(database, "SELECT done, at, count FROM readings WHERE id = 'r3'")
    assert frame.rows() == [(5, "soon", 0)], "the view reads an INTEGER column as a number"
    mixed = await to_polars(database, "SELECT 1 AS x UNION ALL SELECT 'a' UNION ALL SELECT 2.5")
    assert sorted(mixed["x"].to_list()) == ["1", "2.5", "a"]


async def test_columns_of_one_name_are_refused_with_what_to_write(database: SyncDatabase) -> None:
    with pytest.raises(ClientError, match='two columns "id"') as raised:
        await to_pandas(database, "SELECT a.id, b.id FROM readings a, readings b")
    assert "AS" in str(raised.value.hint)


async def test_more_rows_than_are_read_at_a_time(database: SyncDatabase) -> None:
    count = 2 * ROWS_READ_AT_A_TIME + 3
    series = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) SELECT i FROM n"
    frame = await to_polars(database, series, {"count": count})
    assert frame["i"].to_list() == list(range(1, count + 1))


def test_the_blocking_database_gives_frames_without_await(tmp_path: Path) -> None:
    with blocking.SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        db.execute("INSERT INTO readings(id, name, done) VALUES ('r1', 'n', 1)")
        frame: Any = to_pandas(db, "SELECT name, done FROM readings")
        assert frame.to_dict("records") == [{"name": "n", "done": True}]
        assert to_polars(db, "SELECT name FROM readings")["name"].to_list() == ["n"]
        assert to_arrow(db, "SELECT name FROM readings").to_pylist() == [{"name": "n"}]
