"""What Python values columns stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from syncline.client.schema import Column, ColumnType
from syncline.client.schema_columns import BOOLEAN, DATETIME, JSON, PLAIN, ColumnValueInvalid

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.mark.requirement(87)
def test_helpers_choose_one_of_three_stored_types() -> None:
    columns = [Column.boolean("a"), Column.datetime("b"), Column.json("c"), Column.text("d")]
    assert [column.type for column in columns] == [ColumnType.INTEGER, *[ColumnType.TEXT] * 3]
    assert [column.codec for column in columns] == [BOOLEAN, DATETIME, JSON, PLAIN]


@pytest.mark.requirement(92)
@pytest.mark.parametrize(("stored", "value"), [(0, False), (1, True), ("true", True), ("f", False), ("0", False)])
def test_booleans_are_zero_and_one(stored: object, value: bool) -> None:
    column = Column.boolean("done")
    assert column.decode(stored) is value
    assert column.encode(value) == int(value)


@pytest.mark.requirement(91)
@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (NOON, "2026-01-02T12:00:00.000000Z"),
        (NOON.replace(microsecond=5), "2026-01-02T12:00:00.000005Z"),
        (datetime(2026, 1, 2, 14, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T12:00:00.000000Z"),
        (datetime(2026, 1, 2, 12), "2026-01-02T12:00:00"),
    ],
)
def test_times_are_iso_text_that_sorts(value: datetime, stored: str) -> None:
    column = Column.datetime("at")
    assert column.encode(value) == stored
    assert column.encode(stored) == stored
    assert column.decode(stored) == value


@pytest.mark.parametrize("text", ["2026-01-02 12:00:00Z", "2026-01-02T12:00:00Z", "2026-01-02 14:00:00+02:00"])
def test_older_forms_of_times_are_understood(text: str) -> None:
    found = Column.datetime("at").decode(text)
    assert found == NOON
    assert found.tzinfo is UTC


@pytest.mark.parametrize("value", [{"a": [1, None, "é"]}, [], "text", 1.5, True])
def test_json_comes_back_as_it_was(value: Any) -> None:
    column = Column.json("tags")
    stored = column.encode(value)
    assert isinstance(stored, str)
    assert column.decode(stored) == value


def test_null_is_none_in_every_column() -> None:
    for column in (Column.boolean("a"), Column.datetime("a"), Column.json("a"), Column.text("a")):
        assert column.encode(None) is None
        assert column.decode(None) is None


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        (Column.boolean("secret"), 2),
        (Column.boolean("secret"), "maybe"),
        (Column.datetime("secret"), "yesterday-4711"),
        (Column.datetime("secret"), 4711),
        (Column.json("secret"), "{4711"),
    ],
)
def test_a_value_that_does_not_fit_is_told_without_the_value(column: Column, stored: object) -> None:
    with pytest.raises(ColumnValueInvalid, match='column "secret"') as caught:
        column.decode(stored)
    assert "4711" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.hint
    with pytest.raises(ColumnValueInvalid):
        column.encode(object())
