"""Triggers that queue an app's local writes to its raw tables (client SQLite reference, 7).

They insert into `powersync_crud` and ask `powersync_in_sync_operation()`, which exist on our writing connection and in every client
of the field, so that a file can change hands. Another connection cannot write to a captured table: it gets "no such function", and no
write is lost to sync without a word.
"""

# ruff: noqa: S608 - the text is made of quoted names

from __future__ import annotations

from collections.abc import Sequence

import apsw

from syncline.client.local.crud_tables import IGNORE_EMPTY_UPDATE
from syncline.client.local.raw_columns import RawTableInvalid, data_columns
from syncline.client.local.sql_text import (
    chunked,
    json_literal,
    object_text,
    pair,
    quote_identifier,
    quote_text,
    row_json,
    same_value,
)
from syncline.client.schema_raw import RawTable

__all__ = ["EVENTS", "capture_trigger_sql", "create_capture_trigger", "reconcile_capture"]

EVENTS = ("INSERT", "UPDATE", "DELETE")
_PREFIX = "ps_capture_"


def reconcile_capture(connection: apsw.Connection, tables: Sequence[RawTable]) -> None:
    """Make the triggers of tables with `capture`, and drop ours of all others; in the caller's write transaction.

    A table that does not exist yet is left for a later call: the app's own migrations make it.
    """
    wanted: dict[str, str] = {}
    for table in tables:
        if table.capture and _exists(connection, table.table_name):
            for event in EVENTS:
                name = f"{_PREFIX}{event.lower()}_{table.table_name}"
                wanted[name] = capture_trigger_sql(table, data_columns(connection, table), name, event)
    existing = {
        str(name): str(sql)
        for name, sql in connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB ?", (_PREFIX + "*",)
        )
    }
    for name, sql in existing.items():
        if wanted.get(name) != sql:
            connection.execute(f"DROP TRIGGER {quote_identifier(name)}")
    for name, sql in wanted.items():
        if existing.get(name) != sql:
            connection.execute(sql)


def create_capture_trigger(connection: apsw.Connection, table: RawTable, name: str, event: str) -> None:
    """Make one trigger by name, as the SQL function of the field's clients does. Raises RawTableInvalid."""
    connection.execute(capture_trigger_sql(table, data_columns(connection, table), name, event.upper()))


def capture_trigger_sql(table: RawTable, columns: Sequence[str], name: str, event: str) -> str:
    """CREATE TRIGGER for one of EVENTS. Raises RawTableInvalid for another event."""
    if event not in EVENTS:
        raise RawTableInvalid(
            f'Raw table "{table.name}": "{event}" is no event of a trigger.', hint=f"Use one of {', '.join(EVENTS)}."
        )
    if table.insert_only and event != "INSERT":
        when, body = "", f"SELECT RAISE(FAIL, 'Unexpected {event.lower()} on insert-only table')"
    elif event == "INSERT":
        when, body = "", _insert(table, columns)
    elif event == "UPDATE":
        when, body = _changed(table, columns), _update(table, columns)
    else:
        when, body = "", _delete(table, columns)
    return (
        f"CREATE TRIGGER {quote_identifier(name)} AFTER {event} ON {quote_identifier(table.table_name)}"
        f" FOR EACH ROW WHEN NOT powersync_in_sync_operation(){when} BEGIN\n{body};\nEND"
    )


def _insert(table: RawTable, columns: Sequence[str]) -> str:
    put = object_text(
        f"iif(NEW.{quote_identifier(column)} IS NULL, '', {pair('NEW', column)})" for column in sorted(columns)
    )
    if table.insert_only:
        head = f"""'{{"op":"PUT","type":{json_literal(table.name)},"id":'||json_quote(NEW.id||'')||',"data":'"""
        return f"INSERT INTO powersync_crud_(data) VALUES ({head}||{put}||'}}')"
    return f"INSERT INTO powersync_crud(op, id, type, data) VALUES ('PUT', NEW.id, {quote_text(table.name)}, {put})"


def _changed(table: RawTable, columns: Sequence[str]) -> str:
    """With a list of synced columns, an update of the others alone is nobody's business."""
    if table.synced_columns is None or not columns:
        return ""
    # By SQL's own comparison, as the field's clients do: 1 and 1.0 are no change here, though they are two values in JSON.
    names = map(quote_identifier, columns)
    return " AND " + chunked((f"NEW.{name} IS NOT OLD.{name}" for name in names), " OR ")


def _update(table: RawTable, columns: Sequence[str]) -> str:
    patch = object_text(f"iif({same_value(column)}, '', {pair('NEW', column)})" for column in sorted(columns))
    old = "NULL"
    previous = _previous(table, columns)
    if previous is not None:
        old = row_json("OLD", previous)
        if table.track_previous_only_when_changed:
            old = object_text(f"iif({same_value(column)}, '', {pair('OLD', column)})" for column in sorted(previous))
    options = IGNORE_EMPTY_UPDATE if table.ignore_empty_updates else 0
    return (
        "SELECT CASE WHEN OLD.id <> NEW.id THEN RAISE(FAIL, 'Cannot update id') END;\n"
        "INSERT INTO powersync_crud(op, id, type, data, old_values, options)"
        f" VALUES ('PATCH', NEW.id, {quote_text(table.name)}, {patch}, {old}, {options})"
    )


def _delete(table: RawTable, columns: Sequence[str]) -> str:
    previous = _previous(table, columns)
    old = "NULL" if previous is None else row_json("OLD", previous)
    return (
        "INSERT INTO powersync_crud(op, id, type, old_values)"
        f" VALUES ('DELETE', OLD.id, {quote_text(table.name)}, {old})"
    )


def _previous(table: RawTable, columns: Sequence[str]) -> list[str] | None:
    """Columns whose old values are kept; None where nothing is tracked."""
    tracked = table.track_previous
    if isinstance(tracked, bool):
        return list(columns) if tracked else None
    return [column for column in columns if column in tracked]


def _exists(connection: apsw.Connection, table: str) -> bool:
    return bool(
        connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE", (table,)
        ).fetchall()
    )
