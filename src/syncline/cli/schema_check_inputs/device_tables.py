"""The device's tables, from a `Schema` of the app, from the JSON form of the field's clients, or from a database file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from syncline.cli.exit_codes import CommandFailed
from syncline.cli.schema_check.alignment import DeviceColumn, DeviceTable
from syncline.cli.schema_check_inputs.imported import imported
from syncline.cli.schema_generation.model import ColumnKind
from syncline.client.schema import RawTable, Schema, SchemaInvalid
from syncline.client.schema_raw import RawColumn, RestOfRow

__all__ = ["device_tables"]

OPTION = "--client"
HINT = "--client app.schema:SCHEMA, --client schema.json, or --client app.db"
_AUTO_GENERATED = "-- powersync-auto-generated"  # the end of a generated view (client SQLite reference, 4)
_INTERNAL = re.compile(r'FROM "?ps_data_(local_)?_(.+?)"?\s*' + re.escape(_AUTO_GENERATED))
_CAST = re.compile(r"CAST\(json_extract\(data, '\$\.(?:[^']|'')*'\) as (\w+)\)", re.IGNORECASE)


def device_tables(place: str) -> tuple[DeviceTable, ...]:
    """All tables of the device's schema. Raises CommandFailed for what cannot be read."""
    module, colon, name = place.partition(":")
    if colon and name.isidentifier() and not Path(place).exists() and re.fullmatch(r"[\w.]+", module):
        return _of_schema(imported(place, Schema, option=OPTION))
    path = Path(place)
    if not path.is_file():
        raise CommandFailed(f"{OPTION}: there is no file {place}.", hint=HINT)
    return _of_json(path) if path.suffix == ".json" else _of_database(path)


def _of_schema(schema: Schema) -> tuple[DeviceTable, ...]:
    return (
        *(
            DeviceTable(
                table.name,
                tuple(DeviceColumn(column.name, ColumnKind(column.type.value.lower())) for column in table.columns),
                local_only=table.local_only,
                insert_only=table.insert_only,
            )
            for table in schema.tables
        ),
        *map(_raw, schema.raw_tables),
    )


def _raw(table: RawTable) -> DeviceTable:
    """What a raw table's statements write; their types are those of the app's own table, which is not here."""
    names = table.synced_columns
    if names is None and table.put is not None:
        parameters = table.put.parameters
        takes_rest = any(isinstance(parameter, RestOfRow) for parameter in parameters)
        names = None if takes_rest else tuple(p.name for p in parameters if isinstance(p, RawColumn))
    columns = tuple(DeviceColumn(name) for name in names or ())
    return DeviceTable(table.name, columns, insert_only=table.insert_only, columns_known=names is not None)


def _of_json(path: Path) -> tuple[DeviceTable, ...]:
    """The form in which the field's clients hand a schema to their core (client SQLite reference, 4)."""
    try:
        document: object = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise CommandFailed(f"{path} cannot be read as JSON: {type(exc).__name__}.", hint=HINT) from exc
    try:
        found = cast("Mapping[str, Any]", document)
        tables = tuple(_json_table(table) for table in found["tables"])
        return (*tables, *(_raw(RawTable.from_json(table)) for table in found.get("raw_tables") or ()))
    except (KeyError, TypeError, ValueError, AttributeError, SchemaInvalid) as exc:
        raise CommandFailed(
            f"{path} is no schema: {exc}",
            hint='{"tables": [{"name": "lists", "columns": [{"name": "name", "type": "TEXT"}]}]}',
        ) from exc


def _json_table(table: Mapping[str, Any]) -> DeviceTable:
    columns = [column for column in table["columns"] if str(column["name"]).lower() != "id"]
    return DeviceTable(
        str(table["name"]),
        tuple(DeviceColumn(str(column["name"]), ColumnKind(str(column["type"]).lower())) for column in columns),
        local_only=bool(table.get("local_only")),
        insert_only=bool(table.get("insert_only")) and not table.get("local_only"),
    )


def _of_database(path: Path) -> tuple[DeviceTable, ...]:
    """The generated views of a device's file. Nothing is written, and no row is read."""
    import apsw  # here: the JSON form needs no database

    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            views = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'view'").fetchall()
            rows = {
                str(name): connection.execute("SELECT name FROM pragma_table_info(?)", (name,)).fetchall()
                for name, _ in views
            }
            written = connection.execute(
                "SELECT tbl_name, count(*) FROM sqlite_schema WHERE type = 'trigger' GROUP BY 1"
            )
            triggers: dict[str, int] = {str(name): cast("int", count) for name, count in written}
        finally:
            connection.close()
    except apsw.Error as exc:
        raise CommandFailed(f"{path} cannot be read as a device's database: {exc}", hint=HINT) from exc
    found = [_view(str(name), str(sql), [str(row[0]) for row in rows[str(name)]], triggers) for name, sql in views]
    tables = tuple(table for table in found if table is not None)
    if not tables:
        raise CommandFailed(f"{path} has no tables of a device's schema.", hint="Open it with the app once.")
    return tables


def _view(name: str, sql: str, columns: list[str], triggers: Mapping[str, int]) -> DeviceTable | None:
    internal = _INTERNAL.search(sql)
    if internal is None:
        return None
    kinds = [ColumnKind(kind.lower()) for kind in _CAST.findall(sql)]
    # `id` comes first, and the columns of metadata last: only what is cast is the app's.
    listed = zip(columns[1:], kinds, strict=False)
    return DeviceTable(
        internal[2],
        tuple(DeviceColumn(column, kind) for column, kind in listed),
        local_only=internal[1] is not None,
        insert_only=triggers.get(name) == 1,
    )
