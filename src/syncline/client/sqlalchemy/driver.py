"""The database as SQLAlchemy wants a driver (PEP 249): connections, cursors, errors.

A transaction begins as a reading one. The first statement that writes leases the write connection, as everybody who writes does; what
was read before may have changed by then, and is read again by whoever needs it to be the same. Statements run in the client's threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import apsw

from syncline.client.rows import bind
from syncline.client.sql_hints import explained
from syncline.errors import SynclineError

__all__ = [
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OpenTransaction",
    "OperationalError",
    "ProgrammingError",
    "Transactions",
    "Warning",
    "apilevel",
    "paramstyle",
    "sqlite_version_info",
    "threadsafety",
]

T = TypeVar("T")

apilevel = "2.0"
threadsafety = 1  # threads may share this module, not a connection
paramstyle = "qmark"
sqlite_version_info = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))

_READING = ("SELECT", "WITH", "VALUES", "EXPLAIN", "PRAGMA")


class Warning(Exception):  # noqa: A001 - PEP 249 names it so
    """PEP 249; never raised."""


class Error(Exception):
    """PEP 249: the base of all errors of a driver."""


class InterfaceError(Error):
    """PEP 249: the driver was used wrongly."""


class DatabaseError(Error):
    """PEP 249: the database, or the client, says no."""


class DataError(DatabaseError):
    """PEP 249: a value that cannot be stored."""


class OperationalError(DatabaseError):
    """PEP 249: the database cannot do it now."""


class IntegrityError(DatabaseError):
    """PEP 249: a constraint."""


class InternalError(DatabaseError):
    """PEP 249: the database is in a wrong state."""


class ProgrammingError(DatabaseError):
    """PEP 249: a statement that is wrong."""


class NotSupportedError(DatabaseError):
    """PEP 249: a statement that cannot work here."""


_ERRORS: tuple[tuple[type[Exception], type[DatabaseError]], ...] = (
    (apsw.ConstraintError, IntegrityError),
    (apsw.MismatchError, DataError),
    (apsw.TooBigError, DataError),
    (apsw.ReadOnlyError, OperationalError),
    (apsw.SQLError, ProgrammingError),
    (apsw.BindingsError, ProgrammingError),
    (apsw.CorruptError, InternalError),
    (apsw.Error, OperationalError),
    (SynclineError, OperationalError),
)


class OpenTransaction(Protocol):
    """A transaction of the client, as the driver sees it."""

    def run(self, function: Callable[[apsw.Connection], T]) -> T:
        """Call a function with the connection, in its thread."""
        ...

    def end(self, *, commit: bool) -> None:
        """Commit or roll back."""
        ...


class Transactions(Protocol):
    """Where transactions come from: the blocking face, or the asynchronous one below SQLAlchemy's greenlets."""

    def begin(self, *, write: bool) -> OpenTransaction:
        """Begin one; waits for other writers where it writes."""
        ...


class Connection:
    """One connection of the pool. It holds a connection of the client only while a transaction is open."""

    def __init__(self, transactions: Transactions, *, read_only: bool = False) -> None:
        self._transactions = transactions
        self._read_only = read_only
        self._open: OpenTransaction | None = None
        self._writes = False
        self._closed = False
        self.autocommit = False
        """Whether every statement is a transaction of its own."""

    def cursor(self) -> Cursor:
        """A cursor; all cursors of a connection are in one transaction."""
        return Cursor(self)

    def commit(self) -> None:
        """Commit what is open, if anything is."""
        self._end(commit=True)

    def rollback(self) -> None:
        """Undo what is open, if anything is."""
        self._end(commit=False)

    def close(self) -> None:
        """Roll back, and take no more statements. Can be called again."""
        self._closed = True
        self._end(commit=False)

    def run(self, sql: str, function: Callable[[apsw.Connection], T]) -> T:
        """Run a statement through `function`, in the open transaction or in a new one. Raises Error."""
        if self._closed:
            raise InterfaceError("The connection is closed.")
        try:
            with _as_driver_errors():
                return self._run(sql, function)
        finally:
            if self.autocommit:
                self.commit()

    def _run(self, sql: str, function: Callable[[apsw.Connection], T]) -> T:
        if not self._writes and _first_word(sql) in _READING:
            if self._open is None:
                self._open = self._transactions.begin(write=False)
            try:
                return self._open.run(function)
            except apsw.ReadOnlyError:  # WITH … INSERT, a PRAGMA that sets something
                if self._read_only:
                    raise
        if self._read_only:
            raise NotSupportedError("This engine is read_only; the statement writes.")
        if not self._writes:
            self._end(commit=True)
            self._open = self._transactions.begin(write=True)
            self._writes = True
        assert self._open is not None
        return self._open.run(function)

    def _end(self, *, commit: bool) -> None:
        opened, self._open = self._open, None
        self._writes = False
        if opened is not None:
            with _as_driver_errors():
                opened.end(commit=commit)


class Cursor:
    """Results of one statement, read whole: a connection of the client is never held by a half-read result."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: list[tuple[Any, ...]] | None = None
        self.rowcount = -1
        """Unknown: writes to a view count nothing."""
        self.lastrowid: int | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._next = 0

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement. Raises Error."""
        with _as_driver_errors():
            bound = bind(parameters)
        names, self._rows = self.connection.run(sql, lambda connection: _execute(connection, sql, bound))
        self._next = 0
        self.description = [(name, None, None, None, None, None, None) for name in names] if names else None

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each set of parameters. Raises Error."""
        with _as_driver_errors():
            bound = [bind(entry) for entry in parameters]
        self.connection.run(sql, lambda connection: _execute_many(connection, sql, bound))
        self.description, self._rows, self._next = None, [], 0

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, None after the last."""
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows."""
        begin = self._next
        self._next = min(len(self._rows), begin + (self.arraysize if size is None else size))
        return self._rows[begin : self._next]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that are left."""
        return self.fetchmany(len(self._rows))

    def close(self) -> None:
        """Forget the result."""
        self._rows, self._next = [], 0

    def setinputsizes(self, sizes: object) -> None:
        """PEP 249; nothing to set."""

    def setoutputsize(self, size: object, column: object = None) -> None:
        """PEP 249; nothing to set."""


def _first_word(sql: str) -> str:
    stripped = sql.lstrip(" \t\r\n(")
    return stripped[: next((at for at, char in enumerate(stripped) if not char.isalpha()), len(stripped))].upper()


def _execute(connection: apsw.Connection, sql: str, bound: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
    names: list[str] = []

    def note_columns(cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
        names[:] = [str(entry[0]) for entry in cursor.get_description()]
        return True

    cursor = connection.cursor()
    cursor.exec_trace = (
        note_columns  # before the first row: after the last one there is no description, and there may be no row
    )
    with explained(connection):
        return names, list(cursor.execute(sql, bound))


def _execute_many(connection: apsw.Connection, sql: str, bound: list[Any]) -> None:
    with explained(connection):
        for _ in connection.cursor().executemany(sql, bound):
            pass


@contextlib.contextmanager
def _as_driver_errors() -> Any:
    try:
        yield
    except tuple(kind for kind, _ in _ERRORS) as exc:
        wanted = next(wanted for kind, wanted in _ERRORS if isinstance(exc, kind))
        notes = "".join(f"\n{note}" for note in getattr(exc, "__notes__", ()))
        raise wanted(f"{exc}{notes}") from exc
