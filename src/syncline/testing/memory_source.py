"""A source database in memory: tables of rows, changed in transactions, with a log that replication follows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from syncline.client.schema import Schema
from syncline.client.schema_columns import ColumnType
from syncline.protocol.bucket_names import SyncValue

__all__ = ["MemorySource", "RowChange", "SourceTransaction", "SourceWriter", "position_text"]

Row = dict[str, SyncValue]


def position_text(position: int) -> str:
    """A place in the log as text that compares in the log's order."""
    return f"{position:016d}"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row after a change; None: it was deleted."""

    table: str
    row_id: str
    row: Row | None


@dataclass(frozen=True, slots=True)
class SourceTransaction:
    """What one commit changed. `position` is its place in the log, from 1 on."""

    position: int
    changes: tuple[RowChange, ...]


class SourceWriter:
    """One open transaction. Nothing of it is visible before its end."""

    def __init__(self, source: MemorySource) -> None:
        self._source = source
        self.changes: dict[tuple[str, str], RowChange] = {}

    def get(self, table: str, row_id: str) -> Row | None:
        """A row as this transaction sees it; None where there is none."""
        change = self.changes.get((table, row_id))
        return change.row if change is not None else self._source.get(table, row_id)

    def columns(self, table: str) -> tuple[str, ...]:
        """Columns of a table, `id` first; none where the source has no such table."""
        return self._source.columns(table) if table in self._source.tables else ()

    def is_integer(self, table: str, column: str) -> bool:
        """Whether a column holds whole numbers; booleans are 0 and 1."""
        return self._source.is_integer(table, column)

    def insert(self, table: str, row_id: str, /, **values: object) -> None:
        """A new row, or another one in the place of the row with this id."""
        columns = self._source.columns(table)
        if unknown := sorted(values.keys() - set(columns)):
            raise ValueError(f"table {table!r} has no column {', '.join(unknown)}; it has {', '.join(columns)}")
        row = {"id": row_id, **{name: sync_value(values.get(name)) for name in columns if name != "id"}}
        self.changes[table, row_id] = RowChange(table, row_id, row)

    def update(self, table: str, row_id: str, /, **values: object) -> bool:
        """Change columns of a row. False, and nothing done, where there is no such row."""
        before = self.get(table, row_id)
        if before is None:
            return False
        self.insert(table, row_id, **{**{name: before[name] for name in before if name != "id"}, **values})
        return True

    def delete(self, table: str, row_id: str) -> bool:
        """Delete a row. False where there is no such row."""
        self._source.columns(table)
        if self.get(table, row_id) is None:
            return False
        self.changes[table, row_id] = RowChange(table, row_id, None)
        return True


class MemorySource:
    """Tables whose key is the text column `id`. Everything that was ever committed stays in `log`."""

    def __init__(
        self, tables: Mapping[str, Sequence[str]], *, integers: Mapping[str, Collection[str]] | None = None
    ) -> None:
        """`tables` names the columns of each table; `id` may be left out. `integers` are those that hold whole numbers, or booleans."""
        self._integers = {name: frozenset(columns) for name, columns in (integers or {}).items()}
        self._columns = {name: ("id", *(c for c in columns if c != "id")) for name, columns in tables.items()}
        self._rows: dict[str, dict[str, Row]] = {name: {} for name in self._columns}
        self._listeners: list[Callable[[SourceTransaction], None]] = []
        self.log: list[SourceTransaction] = []

    @classmethod
    def of_schema(cls, schema: Schema) -> MemorySource:
        """The tables of a device's schema, but for those that are local only."""
        synced = [table for table in schema.tables if not table.local_only]
        return cls(
            {table.name: [column.name for column in table.columns] for table in synced},
            integers={table.name: [c.name for c in table.columns if c.type is ColumnType.INTEGER] for table in synced},
        )

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of all tables."""
        return tuple(self._columns)

    @property
    def head(self) -> int:
        """Position of the newest transaction, 0 before the first."""
        return len(self.log)

    def columns(self, table: str) -> tuple[str, ...]:
        """Columns of a table, `id` first. Raises ValueError for an unknown table."""
        try:
            return self._columns[table]
        except KeyError:
            raise ValueError(f"the source has no table {table!r}; it has {', '.join(self._columns)}") from None

    def is_integer(self, table: str, column: str) -> bool:
        """Whether a column holds whole numbers; booleans are 0 and 1."""
        return column in self._integers.get(table, ())

    def get(self, table: str, row_id: str) -> Row | None:
        """A row, None where there is none."""
        self.columns(table)
        return self._rows[table].get(row_id)

    def rows(self, table: str) -> list[Row]:
        """All rows of a table, in the order of their ids."""
        self.columns(table)
        return [dict(row) for _, row in sorted(self._rows[table].items())]

    def snapshot(self) -> list[RowChange]:
        """All rows as they are now."""
        return [RowChange(table, row_id, row) for table, rows in self._rows.items() for row_id, row in rows.items()]

    def listen(self, listener: Callable[[SourceTransaction], None]) -> None:
        """Call `listener` with each transaction after its commit."""
        self._listeners.append(listener)

    @contextlib.contextmanager
    def transaction(self) -> Generator[SourceWriter]:
        """Changes that are committed together at the end of the block; an exception leaves everything as it was."""
        writer = SourceWriter(self)
        yield writer
        self.commit(writer)

    def commit(self, writer: SourceWriter) -> int:
        """Commit; returns the position. A transaction without changes stands in the log too."""
        transaction = SourceTransaction(len(self.log) + 1, tuple(writer.changes.values()))
        for change in transaction.changes:
            if change.row is None:
                self._rows[change.table].pop(change.row_id, None)
            else:
                self._rows[change.table][change.row_id] = change.row
        self.log.append(transaction)
        for listener in self._listeners:
            listener(transaction)
        return transaction.position


def sync_value(value: object) -> SyncValue:
    """A value as it is in synced rows: booleans are 0 and 1, lists and objects are JSON text."""
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    raise ValueError(f"a synced row cannot hold a value of type {type(value).__name__}")
