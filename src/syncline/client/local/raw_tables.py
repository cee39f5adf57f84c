"""Synced rows on their way into raw tables (client SQLite reference, 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import apsw

from syncline.client.local.json_text import decode_object, encode_compact
from syncline.client.local.local_connection import raw_tables_of
from syncline.client.local.raw_columns import RawTableInvalid, data_columns
from syncline.client.local.sql_text import quote_identifier
from syncline.client.schema_raw import RawColumn, RawStatement, RawTable, RestOfRow, RowId

__all__ = ["RawTableWriter", "clear_raw_tables", "raw_writers"]


def raw_writers(connection: apsw.Connection) -> dict[str, RawTableWriter]:
    """A writer for each raw table of the schema, by synced type."""
    return {table.name: RawTableWriter(connection, table) for table in raw_tables_of(connection)}


def clear_raw_tables(connection: apsw.Connection) -> None:
    """Run what the schema says for a cleared database; in the caller's write transaction. Raises RawTableInvalid."""
    for table in raw_tables_of(connection):
        if table.clear is not None:
            _run(connection, table, "clear", table.clear, [()])


class RawTableWriter:
    """Writes and deletes rows of one raw table. Statements that the schema leaves out are made from the table's columns.

    One writer lives for one apply, in which the file's schema does not change.
    """

    __slots__ = ("_connection", "_delete", "_put", "_table")

    def __init__(self, connection: apsw.Connection, table: RawTable) -> None:
        self._connection = connection
        self._table = table
        self._put: RawStatement | None = table.put
        self._delete: RawStatement | None = table.delete

    def put(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write (id, JSON text) pairs. Raises RawTableInvalid."""
        statement = self._put
        if statement is None:
            columns = data_columns(self._connection, self._table)
            statement = self._put = RawStatement(_upsert(self._table.table_name, columns), [RowId(), *columns])
        bind = _binder(statement)
        try:
            bindings = [bind(row_id, decode_object(text)) for row_id, text in rows]
        except ValueError:
            raise RawTableInvalid(
                f'A row for raw table "{self._table.name}" is not a JSON object that SQLite can hold.',
                hint="Look at what the sync config selects for this table: numbers have to fit into a double.",
            ) from None
        _run(self._connection, self._table, "put", statement.sql, bindings)

    def delete(self, ids: Iterable[tuple[str]]) -> None:
        """Delete rows by their ids. Raises RawTableInvalid."""
        statement = self._delete
        if statement is None:
            data_columns(self._connection, self._table)  # that the table is there
            statement = self._delete = RawStatement(
                f"DELETE FROM {quote_identifier(self._table.table_name)} WHERE id = ?",  # noqa: S608 - quoted
                [RowId()],
            )
        count = len(statement.parameters)
        _run(self._connection, self._table, "delete", statement.sql, [ids_ * count for ids_ in ids])


def _upsert(table: str, columns: list[str]) -> str:
    """Leaves columns alone that are not synced."""
    names = [quote_identifier(column) for column in columns]
    places = ", ".join(f"?{number}" for number in range(1, len(names) + 2))
    head = f"INSERT INTO {quote_identifier(table)}({', '.join(['id', *names])}) VALUES ({places})"  # noqa: S608 - quoted names
    if not names:
        return f"{head} ON CONFLICT (id) DO NOTHING"
    changes = ", ".join(f"{name} = ?{number}" for number, name in enumerate(names, start=2))
    return f"{head} ON CONFLICT (id) DO UPDATE SET {changes}"


def _binder(statement: RawStatement) -> Callable[[str, dict[str, object]], tuple[apsw.SQLiteValue, ...]]:
    named = {parameter.name for parameter in statement.parameters if isinstance(parameter, RawColumn)}

    def bind(row_id: str, row: dict[str, object]) -> tuple[apsw.SQLiteValue, ...]:
        values: list[apsw.SQLiteValue] = []
        for parameter in statement.parameters:
            match parameter:
                case RowId():
                    values.append(row_id)
                case RawColumn(name):
                    values.append(_scalar(row.get(name)))
                case RestOfRow():
                    rest = {key: value for key, value in row.items() if key not in named}
                    values.append(encode_compact(rest) if rest else None)
        return tuple(values)

    return bind


def _scalar(value: object) -> apsw.SQLiteValue:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return float(value)
    return value if isinstance(value, str) else None


def _run(
    connection: apsw.Connection,
    table: RawTable,
    kind: str,
    sql: str,
    bindings: list[tuple[apsw.SQLiteValue, ...]],
) -> None:
    try:
        for _ in connection.executemany(sql, bindings):
            pass  # a statement may return rows, and runs only as far as they are read
    except apsw.BindingsError:
        raise RawTableInvalid(
            f'The {kind} statement of raw table "{table.name}" has another number of placeholders than of parameters.',
            hint="Give one parameter for each ? of the statement, in their order.",
        ) from None
    except (apsw.SQLError, apsw.ConstraintError) as exc:
        raise RawTableInvalid(
            f'The {kind} statement of raw table "{table.name}" failed: {exc}',
            hint="Compare the statement with the table; foreign keys have to be DEFERRABLE INITIALLY DEFERRED.",
        ) from exc
