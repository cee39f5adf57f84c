"""The schemas that the random events of the side-by-side test write to: every kind of table, and each with what may change on open."""

from __future__ import annotations

from syncline.client.schema import Column, Schema, Table
from syncline.client.schema_raw import REST, ROW_ID, RawStatement, RawTable

__all__ = ["RAW_TABLES_SQL", "SCHEMAS"]

RAW_TABLES_SQL = (
    "CREATE TABLE places(id TEXT PRIMARY KEY, name TEXT, count INTEGER, ratio, note TEXT)",
    "CREATE TABLE stored_people(id TEXT PRIMARY KEY, name TEXT, more TEXT)",
    "CREATE TABLE visits(id TEXT PRIMARY KEY, name TEXT, count)",
)

_TRACKED = Table(
    "tracked",
    [Column.text("b"), Column.integer("a")],
    track_previous=True,
    track_metadata=True,
    ignore_empty_updates=True,
)
_CHANGED = Table(
    "changed",
    [Column.text("b"), Column.integer("a")],
    track_previous=["a"],
    track_previous_only_when_changed=True,
)
_PLACES = RawTable(
    "places",
    synced_columns=["name", "count", "ratio"],
    capture=True,
    track_previous=["name"],
    track_previous_only_when_changed=True,
    clear="DELETE FROM places",
)
_PEOPLE = RawTable(
    "people",
    table_name="stored_people",
    put=RawStatement("INSERT OR REPLACE INTO stored_people(id, name, more) VALUES (?, ?, ?)", [ROW_ID, "name", REST]),
    delete=RawStatement("DELETE FROM stored_people WHERE id = ?", [ROW_ID]),
    clear="DELETE FROM stored_people",
)
_VISITS = RawTable("visits", capture=True, ignore_empty_updates=True, track_previous=True)

SCHEMAS = (
    Schema(
        [
            Table(
                "lists",
                [Column.text("name"), Column.integer("count"), Column.real("ratio")],
                indexes={"by_name": ["name", "-count"]},
            ),
            Table("todos", [Column.text("title"), Column.text("list_id")], view_name="tasks"),
            Table("drafts", [Column.text("body")], local_only=True),
            Table("logs", [Column.text("message")], insert_only=True),
            _TRACKED,
            _CHANGED,
            Table("wide", [Column.text(f"c{i}") for i in range(60)]),
            _PLACES,
            _PEOPLE,
            _VISITS,
        ]
    ),
    # A table less and one more, other columns and indexes, local-only made synced, raw tables that are raw no more.
    Schema(
        [
            Table(
                "lists",
                [Column.integer("count"), Column.text("name"), Column.real("ratio"), Column.text("colour")],
                indexes={"by_name": ["-name"], "by_count": ["count"]},
                ignore_empty_updates=True,
            ),
            Table("unknown", [Column.text("name")], view_name="tasks"),
            Table("drafts", [Column.text("body")]),
            Table("logs", [Column.text("message")], insert_only=True),
            Table("changed", [Column.text("b"), Column.integer("a")], track_previous=True),
            Table("people", [Column.text("name")]),
            RawTable("places", synced_columns=["name"], capture=True, insert_only=True),
        ]
    ),
)
