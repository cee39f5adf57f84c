"""The schema of the device's database: which tables the app sees, and how writes to them are captured.

Every table becomes a view over JSON rows (client SQLite reference, 4), so a schema change needs no migration: stored rows keep
all columns they came with, and the view decides which ones are shown. `id` is implied and is always text.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncline.errors import ClientError

__all__ = ["COLUMNS_MAX", "Column", "ColumnType", "Index", "IndexedColumn", "Schema", "SchemaInvalid", "Table"]

COLUMNS_MAX = 1999  # columns of one table, `id` not counted: SQLite allows 2000 in a view
_FORBIDDEN = frozenset("\"'%,.#[]")
_METADATA_COLUMNS = frozenset({"_metadata", "_deleted"})


class SchemaInvalid(ClientError):
    """A table, column or index that cannot exist on the device. The hint says what to write instead."""


class ColumnType(enum.StrEnum):
    """How a view reads a column; rows are stored as JSON and keep the type of the value that was written."""

    TEXT = "TEXT"
    INTEGER = "INTEGER"
    REAL = "REAL"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. There are three types; dates, booleans and JSON are stored as text or integer."""

    name: str
    type: ColumnType

    @classmethod
    def text(cls, name: str) -> Column:
        """A column that reads as TEXT; dates, UUIDs and JSON are text too."""
        return cls(name, ColumnType.TEXT)

    @classmethod
    def integer(cls, name: str) -> Column:
        """A column that reads as INTEGER (64 bits, signed); booleans are 0 and 1."""
        return cls(name, ColumnType.INTEGER)

    @classmethod
    def real(cls, name: str) -> Column:
        """A column that reads as REAL (double precision)."""
        return cls(name, ColumnType.REAL)


@dataclass(frozen=True, slots=True)
class IndexedColumn:
    """One column of an index and its direction."""

    column: Column
    ascending: bool = True


@dataclass(frozen=True, slots=True)
class Index:
    """An index over the stored JSON of a table."""

    name: str
    columns: tuple[IndexedColumn, ...]


class Table:
    """One table of the app.

    `name` is the name of the synced type, on the wire and in the upload queue; `view_name` renames only what SQL sees.
    `indexes` maps a name to its columns, `"-column"` for descending. `local_only` rows never leave the device; `insert_only`
    rows are queued for upload and not stored. `track_previous` (all columns, or those listed) puts the values before a change
    into the queue, with `track_previous_only_when_changed` only those of changed columns. `track_metadata` adds the columns
    `_metadata` and `_deleted` to the view. `ignore_empty_updates` drops updates that change nothing.

    Raises SchemaInvalid, with a hint.
    """

    __slots__ = (
        "columns",
        "ignore_empty_updates",
        "indexes",
        "insert_only",
        "local_only",
        "name",
        "previous_columns",
        "track_metadata",
        "track_previous_only_when_changed",
        "view_name",
    )

    def __init__(
        self,
        name: str,
        columns: Iterable[Column],
        *,
        indexes: Mapping[str, Sequence[str]] | None = None,
        local_only: bool = False,
        insert_only: bool = False,
        view_name: str | None = None,
        track_previous: bool | Sequence[str] = False,
        track_previous_only_when_changed: bool = False,
        track_metadata: bool = False,
        ignore_empty_updates: bool = False,
    ) -> None:
        self.name = name
        self.columns: tuple[Column, ...] = tuple(columns)
        self.view_name = view_name or name
        self.local_only = local_only
        self.insert_only = insert_only and not local_only
        self.track_metadata = track_metadata
        self.track_previous_only_when_changed = track_previous_only_when_changed
        self.ignore_empty_updates = ignore_empty_updates
        self._check_names()
        self.indexes = tuple(self._index(key, keys) for key, keys in (indexes or {}).items())
        self.previous_columns = self._previous(track_previous)
        if local_only and (track_metadata or self.previous_columns):
            raise SchemaInvalid(
                f'Table "{name}" is local_only and tracks previous values or metadata.',
                hint="These are sent with uploads, and local-only tables are never uploaded: leave one of them out.",
            )

    @property
    def internal_name(self) -> str:
        """The table that holds the JSON rows (client SQLite reference, 1)."""
        return f"ps_data_local__{self.name}" if self.local_only else f"ps_data__{self.name}"

    def _check_names(self) -> None:
        for kind, name in (("Table", self.name), ("View", self.view_name)):
            _check_name(kind, name)
            if name.lower().startswith(("ps_", "sqlite_")):
                raise SchemaInvalid(
                    f'{kind} name "{name}" is reserved.', hint="Names that begin with ps_ or sqlite_ are internal."
                )
        if len(self.columns) > COLUMNS_MAX:
            raise SchemaInvalid(
                f'Table "{self.name}" has {len(self.columns)} columns, at most {COLUMNS_MAX} are possible.',
                hint="Split the table, or keep rarely used values together in one JSON column.",
            )
        seen: set[str] = set()
        for column in self.columns:
            _check_name(f'Column of table "{self.name}"', column.name)
            lowered = column.name.lower()
            if lowered == "id":
                raise SchemaInvalid(
                    f'Table "{self.name}" declares the column "id".',
                    hint="Leave it out: every table has the column id, which is always text.",
                )
            if self.track_metadata and lowered in _METADATA_COLUMNS:
                raise SchemaInvalid(
                    f'Table "{self.name}" declares the column "{column.name}" and track_metadata, which adds it.',
                    hint="Rename the column, or leave track_metadata out.",
                )
            if lowered in seen:
                raise SchemaInvalid(
                    f'Table "{self.name}" declares the column "{column.name}" twice.',
                    hint="SQLite ignores case in names: every column needs a name of its own.",
                )
            seen.add(lowered)

    def _column(self, name: str, *, used_by: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaInvalid(
            f'{used_by} of table "{self.name}" names the column "{name}", which the table does not have.',
            hint=f"Its columns are: {', '.join(column.name for column in self.columns) or 'none'}.",
        )

    def _index(self, name: str, keys: Sequence[str]) -> Index:
        _check_name(f'Index of table "{self.name}"', name)
        if isinstance(keys, str) or not keys:
            raise SchemaInvalid(
                f'Index "{name}" of table "{self.name}" has no list of columns.',
                hint=f'Write indexes={{"{name}": ["column", "-descending_column"]}}.',
            )
        used_by = f'Index "{name}"'
        return Index(
            name,
            tuple(
                IndexedColumn(self._column(key.removeprefix("-"), used_by=used_by), ascending=not key.startswith("-"))
                for key in keys
            ),
        )

    def _previous(self, track_previous: bool | Sequence[str]) -> tuple[Column, ...]:
        if isinstance(track_previous, bool):
            return self.columns if track_previous else ()
        wanted = {self._column(name, used_by="track_previous").name for name in track_previous}
        return tuple(column for column in self.columns if column.name in wanted)


class Schema:
    """All tables of the app. Raises SchemaInvalid when two of them have one name."""

    __slots__ = ("tables",)

    def __init__(self, tables: Iterable[Table]) -> None:
        self.tables: tuple[Table, ...] = tuple(tables)
        for attribute, kind in (("name", "table"), ("view_name", "view")):
            seen: set[str] = set()
            for table in self.tables:
                name: str = getattr(table, attribute)
                if name.lower() in seen:
                    raise SchemaInvalid(
                        f'The schema has the {kind} "{name}" twice.',
                        hint="SQLite ignores case in names: every table and every view needs a name of its own.",
                    )
                seen.add(name.lower())


def _check_name(kind: str, name: str) -> None:
    if not name:
        raise SchemaInvalid(f"{kind}: the name is empty.", hint="Give it a name.")
    bad = sorted({character for character in name if character in _FORBIDDEN or character.isspace() or character < " "})
    if bad:
        raise SchemaInvalid(
            f'{kind} "{name}" has characters that a name cannot have: {" ".join(map(repr, bad))}.',
            hint="Quotes, % , . # [ ] and white space are not possible: they have a meaning in SQL or in JSON paths.",
        )
