"""Rows as objects of the app's types."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, NewType, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from syncline.client.typed_rows import CONVERTED_AT_ONCE, TYPES_CACHED_MAX, RowTypeMismatch, row_decoder

ListId = NewType("ListId", str)


class Status(enum.Enum):
    OPEN = "open"
    DONE = "done"


@dataclass
class Place:
    x: int
    y: int


@dataclass
class Todo:
    id: ListId
    done: bool
    made: datetime
    due: date | None
    at: time | None
    price: Decimal
    owner: UUID
    status: Status
    tags: list[str]
    extra: dict[str, Any] | None
    place: Place | None
    weight: Annotated[float, "kg"] = 0.0
    notes: str = field(default="none")


class TodoStruct(msgspec.Struct, rename="camel"):
    id: str
    is_done: bool
    tags: list[str] = []


class TodoDict(TypedDict):
    id: str
    done: bool


class TodoTuple(NamedTuple):
    id: str
    done: bool = False


class TodoModel(pydantic.BaseModel):
    id: str
    done: bool
    made: datetime
    tags: list[str]
    place: Place | None = None
    title: str = pydantic.Field(alias="name", default="")


ROW = {
    "id": "a",
    "done": 1,
    "made": "2026-01-02 03:04:05+00",  # as Postgres writes it
    "due": "2026-01-03",
    "at": "10:30:00",
    "price": "1.10",
    "owner": str(UUID(int=5)),
    "status": "done",
    "tags": '["x","y"]',
    "extra": None,
    "place": '{"x":1,"y":2}',
    "weight": 3,
    "not_a_field": "left out",
}


def decode(row_type: type[Any], *rows: dict[str, Any]) -> list[Any]:
    names = list(rows[0])
    return row_decoder(row_type).decode(names, [tuple(row[name] for name in names) for row in rows])


@pytest.mark.requirement(91, 92, 103)
def test_a_dataclass_reads_every_kind_of_column() -> None:
    assert decode(Todo, ROW) == [
        Todo(
            id=ListId("a"),
            done=True,
            made=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            due=date(2026, 1, 3),
            at=time(10, 30),
            price=Decimal("1.10"),
            owner=UUID(int=5),
            status=Status.DONE,
            tags=["x", "y"],
            extra=None,
            place=Place(1, 2),
            weight=3.0,
        )
    ]


@pytest.mark.requirement(103)
def test_structs_typed_dicts_and_named_tuples_are_made() -> None:
    assert decode(TodoStruct, {"id": "a", "isDone": 0, "tags": '["x"]'}) == [TodoStruct("a", False, ["x"])]
    assert decode(TodoDict, {"id": "a", "done": 1, "other": 5}) == [{"id": "a", "done": True}]
    assert decode(TodoTuple, {"done": 1, "id": "a"}) == [TodoTuple("a", True)]


@pytest.mark.requirement(103)
def test_a_pydantic_model_is_validated_with_its_own_rules() -> None:
    row = {"id": "a", "done": 0, "made": ROW["made"], "tags": '["x"]', "place": '{"x":1,"y":2}', "name": "n"}
    [todo] = decode(TodoModel, row)
    assert (todo.done, todo.tags, todo.place, todo.title) == (False, ["x"], Place(1, 2), "n")
    assert todo.made == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    with pytest.raises(RowTypeMismatch, match="done: bool_parsing") as caught:
        decode(TodoModel, {**row, "done": "secret-value"})
    assert "secret-value" not in str(caught.value)


def test_single_values_are_read_as_their_type() -> None:
    assert row_decoder(int).decode(["count"], [(3,), (4,)]) == [3, 4]
    assert row_decoder(bool).decode(["done"], [(1,), (0,)]) == [True, False]
    assert row_decoder(datetime).decode(["at"], [("2026-01-02T00:00:00Z",)]) == [datetime(2026, 1, 2, tzinfo=UTC)]
    assert row_decoder(dict[str, int]).decode(["json"], [('{"a":1}',)]) == [{"a": 1}]
    assert row_decoder(int).decode([], []) == []
    with pytest.raises(RowTypeMismatch, match="2 columns"):
        row_decoder(int).decode(["a", "b"], [(1, 2)])


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"done": 2}, "done"),
        ({"made": "secret-value"}, "made"),
        ({"status": "secret-value"}, "status"),
        ({"tags": "secret-value"}, "tags"),
        ({"price": "secret-value"}, "price"),
        ({"place": '{"x":1}'}, "place"),
        ({"weight": None}, "weight"),
        ({"id": None}, "id"),
    ],
)
def test_a_row_that_does_not_fit_names_the_column_and_never_the_value(change: dict[str, Any], column: str) -> None:
    with pytest.raises(RowTypeMismatch, match=column) as caught:
        decode(Todo, ROW, {**ROW, **change})
    assert "secret-value" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_column_is_named() -> None:
    row = {name: value for name, value in ROW.items() if name != "done"}
    with pytest.raises(RowTypeMismatch, match="done"):
        decode(Todo, row)


def test_many_rows_are_read_and_the_number_of_remembered_types_is_bounded() -> None:
    rows = [(f"{number}", number % 2) for number in range(CONVERTED_AT_ONCE * 2 + 1)]
    found: list[Any] = row_decoder(TodoTuple).decode(["id", "done"], rows)
    assert [(entry.id, int(entry.done)) for entry in found] == rows
    for number in range(TYPES_CACHED_MAX + 10):
        row_decoder(msgspec.defstruct(f"Row{number}", [("id", str)]))
    assert row_decoder.cache_info().currsize == TYPES_CACHED_MAX


def test_text_stays_text_where_a_union_allows_it() -> None:
    @dataclass
    class Loose:
        value: str | list[str]
        anything: Any = None

    assert decode(Loose, {"value": '["x"]', "anything": '{"a":1}'}) == [Loose('["x"]', '{"a":1}')]
