"""The official native core, loaded into SQLite: the oracle for the layout and the bucket logic of the device's file."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import apsw

from syncline.client.schema import Schema, Table
from tests.support.official_packages import install_official_packages

__all__ = ["NativeCore", "core_library", "schema_json"]

_SUFFIXES = {
    ("linux", "x86_64"): "x64.linux.so",
    ("linux", "aarch64"): "aarch64.linux.so",
    ("darwin", "x86_64"): "x64.macos.dylib",
    ("darwin", "arm64"): "aarch64.macos.dylib",
}


def core_library() -> Path:
    """Path of the core's library for this machine."""
    suffix = _SUFFIXES[sys.platform, platform.machine()]
    return install_official_packages() / "@powersync" / "node" / "lib" / f"libpowersync_{suffix}"


class NativeCore:
    """One database that the official core runs."""

    def __init__(
        self, library: Path, schema: Schema, path: str | Path = ":memory:", *, image: bytes | None = None
    ) -> None:
        self.connection = _plain_writer(path)
        self.connection.enable_load_extension(True)
        self.connection.load_extension(str(library), "sqlite3_powersync_init")
        if image is not None:
            self.connection.deserialize("main", image)
        self.in_transaction("SELECT powersync_init()")
        self.replace_schema(schema)

    def replace_schema(self, schema: Schema) -> None:
        """Create or update tables and views."""
        self.in_transaction("SELECT powersync_replace_schema(?)", schema_json(schema))

    def capture(self, schema: Schema) -> None:
        """Make the triggers of raw tables with capture, in the core's own words."""
        for table in schema.raw_tables:
            for event in ("INSERT", "UPDATE", "DELETE") if table.capture else ():
                name = f"capture_{event}_{table.table_name}"
                self.in_transaction(f"DROP TRIGGER IF EXISTS {name}")
                self.in_transaction(
                    "SELECT powersync_create_raw_table_crud_trigger(?, ?, ?)", json.dumps(table.as_json()), name, event
                )

    def migrate(self, version: int) -> None:
        """Bring the internal tables to a version, down or up."""
        self.in_transaction("SELECT powersync_test_migration(?)", version)

    def control(self, operation: str, payload: str | None = None) -> list[dict[str, Any]]:
        """One `powersync_control` call in a transaction of its own; its instructions."""
        answer = self.in_transaction("SELECT powersync_control(?, ?)", operation, payload)
        return json.loads(answer) if isinstance(answer, str) else []

    def line(self, line: dict[str, Any]) -> list[dict[str, Any]]:
        """Feed one line of a sync stream."""
        return self.control("line_text", json.dumps(line, separators=(",", ":"), ensure_ascii=False))

    def in_transaction(self, sql: str, *bindings: apsw.SQLiteValue) -> apsw.SQLiteValue:
        """One statement in a transaction of its own; the first value of its result."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            rows = self.connection.execute(sql, bindings).fetchall()
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return rows[0][0] if rows else None


def _plain_writer(path: str | Path) -> apsw.Connection:
    """A connection without anything of ours: the core brings its own functions and virtual tables."""
    connection = apsw.Connection(str(path))
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "recursive_triggers=ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def schema_json(schema: Schema) -> str:
    """A schema in the form that the core takes."""
    return json.dumps(
        {
            "tables": [_table_json(table) for table in schema.tables],
            "raw_tables": [table.as_json() for table in schema.raw_tables],
        }
    )


def _table_json(table: Table) -> dict[str, Any]:
    names = [column.name for column in table.previous_columns]
    return {
        "name": table.name,
        "view_name": table.view_name,
        "columns": [{"name": column.name, "type": column.type.value} for column in table.columns],
        "indexes": [
            {
                "name": index.name,
                "columns": [
                    {"name": key.column.name, "ascending": key.ascending, "type": key.column.type.value}
                    for key in index.columns
                ],
            }
            for index in table.indexes
        ],
        "local_only": table.local_only,
        "insert_only": table.insert_only,
        "include_old": True if len(names) == len(table.columns) else names or False,
        "include_old_only_when_changed": table.track_previous_only_when_changed,
        "include_metadata": table.track_metadata,
        "ignore_empty_update": table.ignore_empty_updates,
    }
