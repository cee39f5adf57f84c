"""Parameters as SQLite takes them, and rows as it gives them."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import apsw
import pytest

from syncline.client.rows import Columns, Row, bind, fetch, fetch_columns
from syncline.client.sql_hints import hint_for
from syncline.errors import ClientError


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class NumpyLike:
    """What numbers of numpy look like."""

    dtype = "int64"

    def item(self) -> int:
        return 7


@pytest.mark.requirement(91, 92, 102)
@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, 1),
        (False, 0),
        (5, 5),
        (1.5, 1.5),
        ("text", "text"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000000Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (["é"], '["é"]'),
        (NumpyLike(), 7),
    ],
)
def test_a_parameter_becomes_what_sqlite_stores(value: object, stored: object) -> None:
    assert bind([value]) == (stored,)
    assert type(bind([value])[0]) is type(stored)
    assert bind({":name": value}) == {"name": stored}


def test_times_with_a_zone_sort_like_their_texts() -> None:
    first = datetime(2026, 1, 2, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    second = datetime(2026, 1, 2, 0, 0, 0, 1, tzinfo=UTC)
    assert first < second
    assert bind([first])[0] < bind([second])[0]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (b"x", "base64"),
        (bytearray(b"x"), "base64"),
        (memoryview(b"x"), "base64"),
        (timedelta(seconds=1), "total_seconds"),
        ((1, 2), "list"),
        ({1}, "list"),
        (object(), "Text, numbers"),
        ({"x": object()}, "JSON has"),
    ],
)
def test_a_parameter_that_has_no_meaning_is_refused_with_a_hint_and_without_its_value(value: object, hint: str) -> None:
    with pytest.raises(ClientError, match=hint) as caught:
        bind([value])
    assert "0x" not in str(caught.value)


def test_a_string_is_not_a_list_of_parameters() -> None:
    with pytest.raises(ClientError, match=r"\[value\]"):
        bind("abc")


def test_a_row_is_read_by_position_and_by_name_and_tells_what_it_has() -> None:
    row = Row(Columns(["id", "name"]), ("a", "x"))
    assert (row[0], row["name"], row[-1], row[0:2], len(row), list(row)) == ("a", "x", "x", ("a", "x"), 2, ["a", "x"])
    assert row.as_dict() == {"id": "a", "name": "x"}
    assert (row.get("name"), row.get("nothing"), row.get("nothing", 1)) == ("x", None, 1)
    assert row.as_tuple() == ("a", "x")
    with pytest.raises(KeyError, match="id, name"):
        row["nothing"]
    with pytest.raises(IndexError):
        row[2]


def test_rows_are_equal_by_values_and_names() -> None:
    row = Row(Columns(["a"]), (1,))
    assert row == Row(Columns(["a"]), (1,))
    assert row != Row(Columns(["b"]), (1,))
    assert row == (1,)
    assert len({row, Row(Columns(["a"]), (1,))}) == 1


def test_of_two_columns_with_one_name_the_first_is_meant_and_both_are_there() -> None:
    connection = apsw.Connection(":memory:")
    [row] = fetch(connection, "SELECT 1 AS id, 2 AS id", None)
    assert (row["id"], row[1], row.keys()) == (1, 2, ["id", "id"])


def test_a_result_without_rows_has_no_columns_and_no_error() -> None:
    connection = apsw.Connection(":memory:")
    assert fetch(connection, "SELECT 1 WHERE 0", None) == []
    assert fetch_columns(connection, "SELECT 1 AS a WHERE 0", None) == ((), [])
    assert fetch_columns(connection, "SELECT 1 AS a UNION SELECT 2", None) == (("a",), [(1,), (2,)])


@pytest.mark.parametrize(
    ("sql", "parameters", "hint"),
    [
        ("INSERT INTO items(id) VALUES ('a') ON CONFLICT(id) DO NOTHING", None, "INSERT OR REPLACE"),
        ("SELECT * FROM itemz", None, 'Did you mean "items"'),
        ("SELECT * FROM something_else", None, 'Table("something_else"'),
        ("SELECT ?", (2**70,), "64 bits"),
    ],
)
def test_errors_of_sqlite_carry_a_hint_and_keep_their_type(sql: str, parameters: object, hint: str) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t(id); CREATE VIEW items AS SELECT id FROM t").fetchall()
    connection.execute("CREATE TRIGGER x INSTEAD OF INSERT ON items BEGIN SELECT 1; END")
    with pytest.raises((apsw.Error, OverflowError)) as caught:
        fetch(connection, sql, parameters)
    assert any(hint in note for note in caught.value.__notes__)


def test_an_unknown_error_has_no_hint() -> None:
    assert hint_for("near x: syntax error") == ""
