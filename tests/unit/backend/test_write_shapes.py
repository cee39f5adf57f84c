from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from syncline.backend.limits import DEVICES_COUNTED_MAX, GROUP_ROWS_MAX, WRITE_SHAPES_MAX
from syncline.backend.persisters.base import ParentGuard, UploadIdentity, Write
from syncline.backend.persisters.postgres import columns as catalog
from syncline.backend.persisters.postgres.columns import NESTING_MAX, ColumnKind, TableColumn, TableColumns, ValueType
from syncline.backend.persisters.postgres.groups import array_text, runs_of
from syncline.backend.persisters.postgres.retention import VerdictRetention
from syncline.backend.persisters.postgres.shapes import WriteShapes, shape_key
from syncline.protocol.crud import UpdateType

INTEGER = ValueType(ColumnKind.INTEGER)
LISTS = TableColumns({"id": TableColumn("id", "uuid"), "owner": TableColumn("owner", "text")})
TODOS = TableColumns(
    {
        "id": TableColumn("id", "uuid"),
        "list_id": TableColumn("list_id", "uuid"),
        "odd 5%s $1": TableColumn("odd 5%s $1", "integer", INTEGER),
        "made": TableColumn("made", "integer", INTEGER, generated=True),
        "org": TableColumn("org", "text"),
    }
)
OWN = ParentGuard("list_id", "lists", (("owner", "ann"),))


def write(op: UpdateType, row_id: str = "r", index: int = 0, **data: Any) -> Write:
    return Write(op, "todos", row_id, data, None, index, tenants=(("org", "acme"),), parent=OWN)


def numbered(row_id: str) -> Write:
    return replace(write(UpdateType.PATCH, row_id), data={"odd 5%s $1": 1})


def test_a_write_is_a_check_of_its_parent_and_a_statement_that_checks_itself() -> None:
    made = replace(write(UpdateType.PUT), data={"list_id": "l", "made": 7, "odd 5%s $1": 3.0})
    check, statement = WriteShapes().commands(made, TODOS, {"lists": LISTS})
    assert check.parameters == [b"l", b"ann"]
    assert b"FOR KEY SHARE" in check.query.text
    assert statement.parameters == [b"r", b"l", b"3", b"acme", b"acme", b"ann"]
    assert b'"odd 5%s $1"' in statement.query.text
    assert b'"made"' not in statement.query.text
    assert b"CAST($3::text AS integer)" in statement.query.text
    assert statement.query.text.startswith(b"WITH written AS (INSERT")


def test_writes_of_one_shape_share_a_statement_and_other_tables_make_another() -> None:
    shapes = WriteShapes()
    first, second = (shapes.commands(numbered(row_id), TODOS, {"lists": LISTS})[0] for row_id in "ab")
    assert first.query is second.query
    assert (first.parameters, second.parameters) == ([b"1", b"a", b"acme", b"ann"], [b"1", b"b", b"acme", b"ann"])
    changed = TableColumns(TODOS)
    [third] = shapes.commands(numbered("c"), changed, {"lists": LISTS})
    assert third.query is not first.query


def test_a_group_has_arrays_of_its_rows_and_each_parent_once() -> None:
    writes = [write(UpdateType.PUT, f"r{n}", n, list_id=f"l{n % 2}") for n in range(4)]
    *checks, statement = WriteShapes().group_commands(writes, TODOS, {"lists": LISTS})
    assert [check.parameters[0] for check in checks] == [b"l0", b"l1"]
    arrays = [b'{"r0","r1","r2","r3"}', b'{"l0","l1","l0","l1"}']
    assert statement.parameters == [b"acme", *arrays, b"acme", b"ann", b"4"]
    deletes = [write(UpdateType.DELETE, f"r{n}", n) for n in range(2)]
    [deleting] = WriteShapes().group_commands(deletes, TODOS, {"lists": LISTS})
    assert deleting.parameters == [b'{"r0","r1"}', b"acme", b"ann", b"2"]


def test_a_group_ends_where_the_shape_changes_an_id_comes_again_or_it_is_long() -> None:
    writes = [write(UpdateType.DELETE, row_id) for row_id in "abac"]
    writes += [numbered("d"), write(UpdateType.DELETE, "e")]
    runs = list(runs_of(writes, [shape_key(one) for one in writes]))
    assert [[one.id for one in run] for run in runs] == [["a", "b"], ["a", "c"], ["d"], ["e"]]
    many = [write(UpdateType.DELETE, str(n)) for n in range(2 * GROUP_ROWS_MAX + 1)]
    assert [len(run) for run in runs_of(many, [0] * len(many))] == [GROUP_ROWS_MAX, GROUP_ROWS_MAX, 1]
    assert list(runs_of([], [])) == []


def test_arrays_quote_what_would_end_a_text() -> None:
    assert array_text(['a"b', "c\\", None, "NULL", ""]) == '{"a\\"b","c\\\\",NULL,"NULL",""}'


def test_so_many_shapes_are_remembered() -> None:
    columns = TableColumns({"id": TableColumn("id", "text")})
    columns |= {f"c{n}": TableColumn(f"c{n}", "text") for n in range(WRITE_SHAPES_MAX + 1)}
    shapes = WriteShapes()
    for n in range(WRITE_SHAPES_MAX + 1):
        [command] = shapes.commands(Write(UpdateType.PATCH, "t", "r", {f"c{n}": "x"}, None, 0), columns, {})
        assert command.parameters == [b"x", b"r"]
        assert len(shapes._shapes) <= WRITE_SHAPES_MAX


def test_types_are_looked_into_so_deep() -> None:
    types: dict[int, Sequence[Any]] = {n: ("b", "A", "_", n + 1, 0, 0, 0, [], []) for n in range(NESTING_MAX + 2)}
    found: ValueType | None = catalog._value_type(0, types, 0)
    depth = 0
    while found is not None and found.kind == ColumnKind.ARRAY:
        found, depth = found.element, depth + 1
    assert depth == NESTING_MAX + 1
    assert found == ValueType()


def test_so_many_devices_are_counted() -> None:
    retention = VerdictRetention(None, seconds_max=1)  # pyright: ignore[reportArgumentType]  # nothing is pruned here

    async def count() -> None:
        for n in range(DEVICES_COUNTED_MAX + 1):
            await retention.stored(UploadIdentity("ann", str(n), 1, 1, ""), 1)

    asyncio.run(count())
    assert len(retention._stored) == 1


@pytest.mark.parametrize("name", ["a\ud800", "\udfff"])
def test_half_a_character_cannot_be_sent(name: str) -> None:
    with pytest.raises(ValueError):
        WriteShapes().commands(Write(UpdateType.PATCH, "t", "r", {"id": name}, None, 0), LISTS, {})
