"""The schema of the device's database: which tables the app sees, and how writes to them are captured.

Every table becomes a view over JSON rows (client SQLite reference, 4), so a schema change needs no migration: stored rows keep
all columns they came with, and the view decides which ones are shown. `id` is implied and is always text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncline.client.schema_columns import Column, ColumnType
from syncline.client.schema_names import SchemaInvalid, check_name, check_not_reserved
from syncline.client.schema_raw import RawTable

__all__ = [
    "COLUMNS_MAX",
    "Column",
    "ColumnType",
    "Index",
    "IndexedColumn",
    "RawTable",
    "Schema",
    "SchemaInvalid",
    "Table",
]

COLUMNS_MAX = 1999  # columns of one table, `id` not counted: SQLite allows 2000 in a view
_METADATA_COLUMNS = frozenset({"_metadata", "_deleted"})


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
        _check_unique(f'index of table "{name}",', [index.name for index in self.indexes])
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
            check_not_reserved(kind, name)
        if len(self.columns) > COLUMNS_MAX:
            raise SchemaInvalid(
                f'Table "{self.name}" has {len(self.columns)} columns, at most {COLUMNS_MAX} are possible.',
                hint="Split the table, or keep rarely used values together in one JSON column.",
            )
        seen: set[str] = set()
        for column in self.columns:
            check_name(f'Column of table "{self.name}"', column.name)
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
        check_name(f'Index of table "{self.name}"', name)
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
    """All tables of the app: those that the client keeps as views over JSON rows, and raw ones that the app makes itself.

    >>> Schema([Table("lists", [Column.text("name")]), RawTable("todos", synced_columns=["title"])])

    Raises SchemaInvalid when two of them have one name.
    """

    __slots__ = ("raw_tables", "tables")

    def __init__(self, tables: Iterable[Table | RawTable]) -> None:
        listed = tuple(tables)
        self.tables: tuple[Table, ...] = tuple(table for table in listed if isinstance(table, Table))
        self.raw_tables: tuple[RawTable, ...] = tuple(table for table in listed if isinstance(table, RawTable))
        _check_unique("table", [table.name for table in listed])
        _check_unique(
            "view", [table.view_name for table in self.tables] + [table.table_name for table in self.raw_tables]
        )

    def table(self, name: str) -> Table | None:
        """The table with this name, or with this name of its view; None for others and for raw tables."""
        lowered = name.lower()
        return next((t for t in self.tables if lowered in (t.name.lower(), t.view_name.lower())), None)


def _check_unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise SchemaInvalid(
                f'The schema has the {kind} "{name}" twice.',
                hint="SQLite ignores case in names: every table and every view needs a name of its own.",
            )
        seen.add(name.lower())
