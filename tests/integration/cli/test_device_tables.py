"""The three forms of a device's schema tell `check schema` the same: Python, the JSON of the field's clients, and a database file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncline.cli.schema_check.alignment import DeviceColumn, DeviceTable
from syncline.cli.schema_check_inputs.device_tables import device_tables
from syncline.cli.schema_generation.model import ColumnKind
from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.schema import RawTable
from syncline.client.schema_raw import REST, ROW_ID, RawStatement

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.boolean("done"), Column.real("größe-2")]),
        Table("drafts", [Column.json("body")], local_only=True, view_name="my_drafts"),
        Table("audit", [Column.datetime("at")], insert_only=True),
        Table("tracked", [Column.text("x")], track_metadata=True, indexes={"by_x": ["x"]}),
    ]
)
EXPECTED = {
    DeviceTable(
        "lists",
        (
            DeviceColumn("name", ColumnKind.TEXT),
            DeviceColumn("done", ColumnKind.INTEGER),
            DeviceColumn("größe-2", ColumnKind.REAL),
        ),
    ),
    DeviceTable("drafts", (DeviceColumn("body", ColumnKind.TEXT),), local_only=True),
    DeviceTable("audit", (DeviceColumn("at", ColumnKind.TEXT),), insert_only=True),
    DeviceTable("tracked", (DeviceColumn("x", ColumnKind.TEXT),)),
}
AS_JSON = {
    "tables": [
        {
            "name": table.name,
            "local_only": table.local_only,
            "insert_only": table.insert_only,
            "columns": [{"name": column.name, "type": column.type.value} for column in table.columns],
        }
        for table in SCHEMA.tables
    ]
}
RAW = (
    RawTable("listed", synced_columns=["name"]),
    RawTable("stated", put=RawStatement("INSERT INTO stated VALUES (?, ?)", [ROW_ID, "name"])),
    RawTable("rest", put=RawStatement("INSERT INTO rest VALUES (?, ?, ?)", [ROW_ID, "name", REST])),
    RawTable("unknown"),
)


@pytest.mark.requirement(161)
async def test_a_file_of_a_device_tells_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    async with SyncDatabase(path, schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists (id, name) VALUES ('l1', 'Groceries')")
        assert set(device_tables(str(path))) == EXPECTED  # while the app has it open, too
    assert set(device_tables(str(path))) == EXPECTED


def test_json_tells_the_same(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(AS_JSON | {"raw_tables": [table.as_json() for table in RAW]}))
    found = device_tables(str(tmp_path / "schema.json"))
    assert set(found[:4]) == EXPECTED
    assert [(table.name, [c.name for c in table.columns], table.columns_known) for table in found[4:]] == [
        ("listed", ["name"], True),
        ("stated", ["name"], True),
        ("rest", [], False),
        ("unknown", [], False),
    ]


def test_python_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    assert set(device_tables("tests.integration.cli.test_device_tables:SCHEMA")) == EXPECTED
