"""SQL text of a table of the app: its JSON table, indexes, view and triggers (client SQLite reference, 4 to 6).

Table, index and view texts are byte-identical to those of the field's clients, so that nobody re-creates them. The triggers
are our own and plain SQL: every SQLite connection that can open the file writes through them, without any extension.
Pure text, no I/O.
"""

# ruff: noqa: S608 - the text is made of quoted names

from __future__ import annotations

from collections.abc import Sequence

from syncline.client.local.gate import DIRTY, FORGET_SEEN, TRANSACTION_ID
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
from syncline.client.schema import Column, Index, Table

__all__ = [
    "AUTO_GENERATED",
    "index_name",
    "index_sql",
    "quote_identifier",
    "quote_text",
    "table_sql",
    "trigger_sqls",
    "view_sql",
]

AUTO_GENERATED = "-- powersync-auto-generated"


def table_sql(table: Table) -> str:
    """CREATE TABLE of the JSON rows."""
    return f"CREATE TABLE {quote_identifier(table.internal_name)}(id TEXT PRIMARY KEY NOT NULL, data TEXT)"


def index_name(table: Table, index: Index) -> str:
    """Name of an index in the file."""
    return f"{table.internal_name}__{index.name}"


def index_sql(table: Table, index: Index) -> str:
    """CREATE INDEX over the expressions that the view uses, so that queries on the view use it."""
    keys = ", ".join(_extract(key.column) + ("" if key.ascending else " DESC") for key in index.columns)
    return (
        f"CREATE INDEX {quote_identifier(index_name(table, index))} ON {quote_identifier(table.internal_name)}({keys})"
    )


def view_sql(table: Table) -> str:
    """CREATE VIEW; ends with the comment by which generated views are recognised."""
    names = ["id", *(column.name for column in table.columns)]
    values = ["id", *(_extract(column) for column in table.columns)]
    if table.track_metadata:
        names += ["_metadata", "_deleted"]
        values += ["NULL", "NULL"]
    return (
        f"CREATE VIEW {quote_identifier(table.view_name)}({', '.join(map(quote_identifier, names))})"
        f" AS SELECT {', '.join(values)} FROM {quote_identifier(table.internal_name)} {AUTO_GENERATED}"
    )


def trigger_sqls(table: Table) -> dict[str, str]:
    """CREATE TRIGGER texts by trigger name."""
    if table.insert_only:
        return dict([_insert_trigger(table)])
    triggers = [_delete_trigger(table), _insert_trigger(table), _update_trigger(table)]
    if table.track_metadata:
        triggers.append(_delete_with_metadata_trigger(table))
    return dict(triggers)


def _extract(column: Column) -> str:
    # The path is quoted for SQL only, as the field's clients do; schema validation keeps out names that would need more.
    return f"CAST(json_extract(data, {quote_text('$.' + column.name)}) as {column.type.value})"


def _trigger(kind: str, table: Table, event: str, statements: Sequence[str], *, when: str = "") -> tuple[str, str]:
    name = f"ps_view_{kind}_{table.view_name}"
    body = "".join(f"{statement};\n" for statement in statements)
    return name, (
        f"CREATE TRIGGER {quote_identifier(name)} INSTEAD OF {event} ON {quote_identifier(table.view_name)}"
        f" FOR EACH ROW{when} BEGIN\n{body}END"
    )


def _insert_trigger(table: Table) -> tuple[str, str]:
    statements: list[str] = []
    if not table.local_only:
        statements.append(
            "SELECT CASE WHEN NEW.id IS NULL THEN RAISE(FAIL, 'id is required')"
            " WHEN typeof(NEW.id) <> 'text' THEN RAISE(FAIL, 'id should be text') END"
        )
    if not table.insert_only:
        # Plain INSERT: INSERT OR REPLACE into the view passes its conflict algorithm on to this statement.
        statements.append(
            f"INSERT INTO {quote_identifier(table.internal_name)} SELECT NEW.id, {row_json('NEW', _names(table.columns))}"
        )
    if not table.local_only:
        put = object_text(
            f"iif(NEW.{quote_identifier(column)} IS NULL, '', {pair('NEW', column)})"
            for column in _sorted(table.columns)
        )
        metadata = _metadata() if table.track_metadata else ""
        if table.insert_only:
            head = f"""'{{"op":"PUT","type":{json_literal(table.name)},"id":'||json_quote(NEW.id||'')||',"data":'"""
            statements.append(_queue(f"{head}||{put}{metadata}||'}}'"))
        else:
            statements += _capture(table, "PUT", "NEW", f"""||',"data":'||{put}{metadata}""")
    return _trigger("insert", table, "INSERT", statements)


def _update_trigger(table: Table) -> tuple[str, str]:
    statements = [
        "SELECT CASE WHEN OLD.id <> NEW.id THEN RAISE(FAIL, 'Cannot update id') END",
        f"UPDATE {quote_identifier(table.internal_name)} SET data = {row_json('NEW', _names(table.columns))} WHERE id = NEW.id",
    ]
    if not table.local_only:
        columns = _sorted(table.columns)
        patch = object_text(f"iif({same_value(column)}, '', {pair('NEW', column)})" for column in columns)
        extra = f"""||',"data":'||{patch}"""
        if table.previous_columns and table.track_previous_only_when_changed:
            old = object_text(
                f"iif({same_value(column)}, '', {pair('OLD', column)})" for column in _sorted(table.previous_columns)
            )
            extra += f"""||',"old":'||{old}"""
        else:
            extra += _previous(table)
        if table.track_metadata:
            extra += _metadata()
        where = ""
        if table.ignore_empty_updates:
            where = " WHERE " + (chunked((f"NOT ({same_value(column)})" for column in columns), " OR ") or "FALSE")
        statements += _capture(table, "PATCH", "NEW", extra, where=where)
    when = " WHEN NEW._deleted IS NOT TRUE" if table.track_metadata else ""
    return _trigger("update", table, "UPDATE", statements, when=when)


def _delete_trigger(table: Table) -> tuple[str, str]:
    return _trigger("delete", table, "DELETE", _delete_statements(table, ""))


def _delete_with_metadata_trigger(table: Table) -> tuple[str, str]:
    """`UPDATE v SET _deleted = TRUE, _metadata = '…'`: the only way to give a reason for a DELETE."""
    statements = _delete_statements(table, _metadata())
    return _trigger("delete2", table, "UPDATE", statements, when=" WHEN NEW._deleted IS TRUE")


def _delete_statements(table: Table, metadata: str) -> list[str]:
    statements = [f"DELETE FROM {quote_identifier(table.internal_name)} WHERE id = OLD.id"]
    if not table.local_only:
        statements += _capture(table, "DELETE", "OLD", _previous(table) + metadata)
    return statements


def _capture(table: Table, op: str, row: str, extra: str, *, where: str = "") -> list[str]:
    """Queue an entry, mark the row for the next apply, and close the gate (client SQLite reference, 5)."""
    head = f"""'{{"op":"{op}","id":'||json_quote({row}.id||'')||',"type":{json_literal(table.name)}'"""
    # An upsert, because the conflict algorithm of the app's own statement (INSERT OR IGNORE …) would take the place of one in
    # INSERT OR REPLACE here. `WHERE TRUE` tells the parser that ON CONFLICT is no join.
    condition = where or " WHERE TRUE"
    more = where.replace(" WHERE ", " AND ", 1)
    return [
        _queue(f"{head}{extra}||'}}'", where=where),
        f"INSERT OR IGNORE INTO ps_updated_rows(row_type, row_id) SELECT {quote_text(table.name)}, {row}.id{where}",
        f"INSERT INTO ps_kv(key, value) SELECT 'target_checkpoint_request_id', {DIRTY}{condition}"
        " ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value",
        FORGET_SEEN + more,
    ]


def _queue(data: str, *, where: str = "") -> str:
    return f"INSERT INTO ps_crud(data, tx_id) SELECT {data}, {TRANSACTION_ID}{where}"


def _previous(table: Table) -> str:
    if not table.previous_columns:
        return ""
    return f"""||',"old":'||{row_json("OLD", _names(table.previous_columns))}"""


def _metadata() -> str:
    return """||iif(NEW._metadata IS NULL, '', ',"metadata":'||json_quote(NEW._metadata||''))"""


def _names(columns: Sequence[Column]) -> list[str]:
    return [column.name for column in columns]


def _sorted(columns: Sequence[Column]) -> list[str]:
    return sorted(_names(columns))
