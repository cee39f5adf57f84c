"""Statements in the thread that owns the connection, shared by transactions, single calls and functions of the app."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import apsw

from syncline.client.rows import Columns, Parameters, Row, bind, fetch, fetch_columns
from syncline.client.sql_hints import explained
from syncline.client.typed_rows import row_decoder
from syncline.errors import ClientError

__all__ = [
    "ThreadTransaction",
    "execute_many",
    "fetch_as",
    "fetch_one",
    "fetch_rows",
    "require_row",
    "select_parameters",
]

T = TypeVar("T")

_TRANSACTION_WORDS = ("BEGIN", "COMMIT", "END", "ROLLBACK")


def fetch_rows(connection: apsw.Connection, sql: str, bound: Any) -> list[Row]:
    """All rows. Raises ClientError for a statement that would end or begin a transaction, and apsw.Error."""
    _refuse_transaction_control(sql)
    return fetch(connection, sql, bound)


def fetch_one(connection: apsw.Connection, sql: str, bound: Any) -> Row | None:
    """The first row; the others are not read."""
    _refuse_transaction_control(sql)
    with explained(connection):
        cursor = connection.execute(sql, bound)
        for values in cursor:
            columns = Columns([str(entry[0]) for entry in cursor.get_description()])
            cursor.close(True)
            return Row(columns, values)
        return None


def fetch_as(connection: apsw.Connection, row_type: type[T], sql: str, bound: Any) -> list[T]:
    """All rows as objects. Raises RowTypeMismatch, and what `fetch_rows` raises."""
    _refuse_transaction_control(sql)
    return row_decoder(row_type).decode(*fetch_columns(connection, sql, bound))


def execute_many(connection: apsw.Connection, sql: str, parameters: Iterable[Parameters]) -> None:
    """Run a statement for each set of parameters; none of them where one cannot be stored."""
    _refuse_transaction_control(sql)
    bound = [bind(entry) for entry in parameters]
    with explained(connection):
        for _ in connection.executemany(sql, bound):
            pass


def require_row(row: Row | None) -> Row:
    """The row. Raises LookupError for None."""
    if row is None:
        raise LookupError("The query has no row.")
    return row


def select_parameters(parameters: Parameters | None, named: dict[str, Any]) -> Parameters | None:
    """Parameters given as a list or mapping, or by keyword. Raises ClientError for both at once."""
    if parameters is not None and named:
        raise ClientError("Parameters were given both as an argument and by name.", hint="Use one of them.")
    return named or parameters


class ThreadTransaction:
    """A write transaction for a plain function, in the writer thread: the same statements without `await`. Of no use after its end."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        """The write connection; leave its transaction alone."""

    def execute(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement; returns its rows."""
        return fetch_rows(self.connection, sql, bind(parameters))

    def execute_many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Run a statement once for each set of parameters."""
        execute_many(self.connection, sql, parameters)

    def get_all(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """All rows."""
        return self.execute(sql, parameters)

    def get_optional(self, sql: str, parameters: Parameters | None = None) -> Row | None:
        """The first row, None for no row."""
        return fetch_one(self.connection, sql, bind(parameters))

    def get(self, sql: str, parameters: Parameters | None = None) -> Row:
        """The first row. Raises LookupError when there is none."""
        return require_row(self.get_optional(sql, parameters))

    def fetch(self, row_type: type[T], sql: str, parameters: Parameters | None = None, **named: Any) -> list[T]:
        """All rows as objects of `row_type`."""
        return fetch_as(self.connection, row_type, sql, bind(select_parameters(parameters, named)))


def _refuse_transaction_control(sql: str) -> None:
    words = sql.split(None, 1)
    if not words:
        return
    first = words[0].rstrip(";").upper()
    if first in _TRANSACTION_WORDS and not (first == "ROLLBACK" and "TO" in sql.upper().split()):
        raise ClientError(
            f"{first} cannot be run as a statement: the client begins and ends its transactions itself.",
            hint="Use `async with db.write_transaction() as tx`; it commits at its end, and an exception rolls back.",
        )
