"""Columns and tables that the service sends and the schema has no place for: warned of once, and counted."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from syncline.client import Column, RawTable, Schema, SchemaDrift, Table
from syncline.client.core import instructions as do
from syncline.client.core.machine import SyncMachine
from syncline.client.local.connection import open_writer
from syncline.client.local.layout import prepare
from syncline.client.schema_drift import NAMED_MAX, DriftWatch, count_drift
from syncline.client.sync_engine import SyncEngine
from tests.support.scripted_service import bucket, checkpoint, complete, data, put

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name")], view_name="shown"),
        Table("drafts", [Column.text("name")], local_only=True),
        RawTable("places", synced_columns=["name"]),
    ]
)


class Device:
    """An engine that was told its schema, and one bucket that grows."""

    def __init__(self, schema: Schema = SCHEMA) -> None:
        self.connection = open_writer(":memory:")
        self.connection.execute("CREATE TABLE places (id TEXT PRIMARY KEY, name TEXT)")
        prepare(self.connection, schema)
        self.ops: list[dict[str, Any]] = []
        self.engine = SyncEngine(
            self.connection,
            SyncMachine(client_id="device"),
            client_id=lambda: "device",
            now_us=lambda: 1_000_000,
            active_streams=lambda: (),
            schema=schema,
        )
        self.engine.start()

    def sync(self, *rows: tuple[str, str, dict[str, Any]]) -> list[str]:
        """Receive rows (table, id, columns) in one checkpoint; the warnings that came of it."""
        new = [put(len(self.ops) + n, table, row_id, **columns) for n, (table, row_id, columns) in enumerate(rows, 1)]
        self.ops += new
        opening = checkpoint(len(self.ops), bucket("1#a[]", self.ops))
        lines = [opening, data("1#a[]", new), complete(len(self.ops))]
        edge = self.engine.lines([json.dumps(line).encode() for line in lines])
        found = [instruction for instruction in edge if isinstance(instruction, do.LogWarning)]
        assert {warning.event for warning in found} <= {"schema_drift"}
        return [warning.message for warning in found]


@pytest.fixture
def device() -> Generator[Device]:
    device = Device()
    yield device
    device.connection.close()


@pytest.mark.requirement(164)
def test_a_column_that_the_schema_has_not_is_warned_of_once_and_counted(device: Device) -> None:
    assert device.sync(("lists", "a", {"name": "x"})) == []
    [warning] = device.sync(("lists", "b", {"name": "x", "colour": "secret"}))
    assert warning == (
        "The service sends columns of table 'lists' that the schema has not: 'colour'. Queries do not see them."
    )
    assert device.sync(("lists", "b", {"name": "y", "colour": "red"}), ("lists", "c", {"colour": None})) == []
    assert count_drift(device.connection, SCHEMA) == [SchemaDrift("lists", "colour", 2)]


@pytest.mark.requirement(164)
def test_a_table_that_the_schema_has_not_is_warned_of_once_and_counted(device: Device) -> None:
    [warning] = device.sync(("todos", "a", {"title": "x"}), ("todos", "b", {}), ("tags", "a", {}))
    assert warning == "The service sends tables that the schema has not: 'tags', 'todos'."
    assert device.sync(("todos", "c", {})) == []
    assert count_drift(device.connection, SCHEMA) == [SchemaDrift("tags", None, 1), SchemaDrift("todos", None, 3)]


def test_a_row_that_is_replaced_in_place_is_looked_at(device: Device) -> None:
    device.sync(("lists", "only", {"name": "x"}))
    assert len(device.sync(("lists", "only", {"name": "x", "colour": "red"}))) == 1


def test_a_schema_that_has_all_of_it_is_silent(device: Device) -> None:
    assert device.sync(("lists", "a", {"name": None}), ("lists", "b", {})) == []
    assert count_drift(device.connection, SCHEMA) == []


def test_columns_are_the_same_only_in_the_same_case(device: Device) -> None:
    """As the view sees it, which finds no `name` in a row with `Name`."""
    assert len(device.sync(("lists", "a", {"Name": "x"}))) == 1
    assert device.connection.execute("SELECT name FROM shown").fetchall() == [(None,)]


def test_a_warning_names_a_limited_number_of_columns(device: Device) -> None:
    columns = {f"c{number:02}": 1 for number in range(NAMED_MAX + 5)}
    [warning] = device.sync(("lists", "a", columns))
    assert "'c19' and 5 more." in warning
    assert "'c20'" not in warning
    assert len(count_drift(device.connection, SCHEMA)) == NAMED_MAX + 5


def test_a_row_that_is_no_json_ends_neither_the_look_nor_the_count(device: Device) -> None:
    assert device.sync(("lists", "a", {"name": "x"})) == []
    device.connection.execute("INSERT INTO ps_data__lists VALUES ('broken', '{'), ('empty', NULL)")
    assert DriftWatch(device.connection, SCHEMA).look() == []
    assert count_drift(device.connection, SCHEMA) == []


def test_counting_goes_by_the_columns_of_a_later_schema(device: Device) -> None:
    device.sync(("lists", "a", {"name": "x", "colour": "red"}))
    later = Schema([Table("lists", [Column.text("name"), Column.text("colour")])])
    prepare(device.connection, later)
    assert count_drift(device.connection, later) == []


def test_rows_of_raw_tables_are_not_looked_at(device: Device) -> None:
    """Their statements say what they take."""
    assert device.sync(("places", "a", {"name": "x", "colour": "red"})) == []
    assert device.connection.execute("SELECT * FROM places").fetchall() == [("a", "x")]
    assert count_drift(device.connection, SCHEMA) == []
