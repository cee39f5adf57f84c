"""SQL text of a table of the app: its JSON table, indexes, view and triggers (client SQLite reference, 4 to 6).

Table, index and view texts are byte-identical to those of the field's clients, so that nobody re-creates them. The triggers
are our own and plain SQL: every SQLite connection that can open the file writes through them, without any extension.
Pure text, no I/O.
"""

# ruff: noqa: S608 - the text is made of quoted names

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

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
_CHUNK = 50  # terms: SQLite bounds the depth of an expression to 1000 and arguments of a function to 127 before 3.48
_DIRTY = 2**63 - 1  # the gate while local writes wait for their write checkpoint (client SQLite reference, 2)


def quote_identifier(name: str) -> str:
    """A name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A string as SQL literal."""
    return "'" + text.replace("'", "''") + "'"


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
            f"INSERT INTO {quote_identifier(table.internal_name)} SELECT NEW.id, {_row_json('NEW', table.columns)}"
        )
    if not table.local_only:
        put = _object(
            f"iif(NEW.{quote_identifier(column.name)} IS NULL, '', {_pair('NEW', column)})"
            for column in _sorted(table.columns)
        )
        metadata = _metadata() if table.track_metadata else ""
        if table.insert_only:
            head = f"""'{{"op":"PUT","type":{_json_text(table.name)},"id":'||json_quote(NEW.id||'')||',"data":'"""
            statements.append(_queue(f"{head}||{put}{metadata}||'}}'"))
        else:
            statements += _capture(table, "PUT", "NEW", f"""||',"data":'||{put}{metadata}""")
    return _trigger("insert", table, "INSERT", statements)


def _update_trigger(table: Table) -> tuple[str, str]:
    statements = [
        "SELECT CASE WHEN OLD.id <> NEW.id THEN RAISE(FAIL, 'Cannot update id') END",
        f"UPDATE {quote_identifier(table.internal_name)} SET data = {_row_json('NEW', table.columns)} WHERE id = NEW.id",
    ]
    if not table.local_only:
        columns = _sorted(table.columns)
        patch = _object(f"iif({_same(column)}, '', {_pair('NEW', column)})" for column in columns)
        extra = f"""||',"data":'||{patch}"""
        if table.previous_columns and table.track_previous_only_when_changed:
            old = _object(
                f"iif({_same(column)}, '', {_pair('OLD', column)})" for column in _sorted(table.previous_columns)
            )
            extra += f"""||',"old":'||{old}"""
        else:
            extra += _previous(table)
        if table.track_metadata:
            extra += _metadata()
        where = ""
        if table.ignore_empty_updates:
            where = " WHERE " + (_chunked((f"NOT ({_same(column)})" for column in columns), " OR ") or "FALSE")
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
    head = f"""'{{"op":"{op}","id":'||json_quote({row}.id||'')||',"type":{_json_text(table.name)}'"""
    # An upsert, because the conflict algorithm of the app's own statement (INSERT OR IGNORE …) would take the place of one in
    # INSERT OR REPLACE here. `WHERE TRUE` tells the parser that ON CONFLICT is no join.
    condition = where or " WHERE TRUE"
    more = where.replace(" WHERE ", " AND ", 1)
    return [
        _queue(f"{head}{extra}||'}}'", where=where),
        f"INSERT OR IGNORE INTO ps_updated_rows(row_type, row_id) SELECT {quote_text(table.name)}, {row}.id{where}",
        f"INSERT INTO ps_kv(key, value) SELECT 'target_checkpoint_request_id', {_DIRTY}{condition}"
        " ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value",
        "DELETE FROM ps_kv WHERE key IN ('last_seen_checkpoint_request_id', 'last_applied_checkpoint_request_id')"
        + more,
    ]


def _queue(data: str, *, where: str = "") -> str:
    # current_tx is set by our own transactions (connection.write_transaction); other writers take the pending id.
    return f"INSERT INTO ps_crud(data, tx_id) SELECT {data}, (SELECT ifnull(current_tx, next_tx) FROM ps_tx){where}"


def _previous(table: Table) -> str:
    if not table.previous_columns:
        return ""
    return f"""||',"old":'||{_row_json("OLD", table.previous_columns)}"""


def _metadata() -> str:
    return """||iif(NEW._metadata IS NULL, '', ',"metadata":'||json_quote(NEW._metadata||''))"""


def _row_json(row: str, columns: Sequence[Column]) -> str:
    """All columns with their nulls, in schema order."""
    if len(columns) > _CHUNK:
        return _object(_pair(row, column) for column in columns)
    return f"json_object({', '.join(f'{quote_text(column.name)}, {_value(row, column)}' for column in columns)})"


def _object(pairs: Iterable[str]) -> str:
    """JSON object text of pairs that each evaluate to `,"key":value` or ''."""
    joined = _chunked(pairs, "||")
    return f"'{{'||substr({joined}, 2)||'}}'" if joined else "'{}'"


def _chunked(terms: Iterable[str], operator: str) -> str:
    """Join terms in groups, so that the expression stays shallow with any number of columns."""
    parts = list(terms)
    while len(parts) > _CHUNK:
        parts = [f"({operator.join(parts[i : i + _CHUNK])})" for i in range(0, len(parts), _CHUNK)]
    return f"({operator.join(parts)})" if parts else ""


def _pair(row: str, column: Column) -> str:
    return f"{quote_text(',' + json.dumps(column.name, ensure_ascii=False) + ':')}||json_quote({_value(row, column)})"


def _value(row: str, column: Column) -> str:
    # Concatenation takes the JSON subtype away: the result of json_array() is stored as text, not as nested JSON.
    name = f"{row}.{quote_identifier(column.name)}"
    return f"iif(typeof({name}) = 'text', {name}||'', {name})"


def _same(column: Column) -> str:
    # typeof, because 1 IS 1.0 for SQL and two values in JSON.
    name = quote_identifier(column.name)
    return f"NEW.{name} IS OLD.{name} AND typeof(NEW.{name}) = typeof(OLD.{name})"


def _json_text(text: str) -> str:
    """A JSON string for the inside of an SQL literal."""
    return json.dumps(text, ensure_ascii=False).replace("'", "''")


def _sorted(columns: Sequence[Column]) -> list[Column]:
    return sorted(columns, key=lambda column: column.name)
