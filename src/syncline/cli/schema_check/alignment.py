"""What `check schema` compares: the device's tables, what the sync config sends, and what the source demands. Pure values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from syncline.cli.schema_generation.model import ClientTable, ColumnKind
from syncline.cli.schema_generation.source_columns import SourceColumns, SourceTableColumns
from syncline.sync_config.plan import TablePattern

__all__ = ["Alignment", "DeviceColumn", "DeviceTable", "SourceDemands", "SyncedQuery"]


@dataclass(frozen=True, slots=True)
class DeviceColumn:
    """A column of the device's table. `kind` None: its type is not known. Views hold NULL in every column, raw tables may not."""

    name: str
    kind: ColumnKind | None = None
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """A table of the device's schema, by the name that the sync config gives its rows; `id` is no column here.

    `columns_known` is False for raw tables whose statements take whatever comes.
    """

    name: str
    columns: tuple[DeviceColumn, ...] = ()
    local_only: bool = False
    insert_only: bool = False
    columns_known: bool = True


@dataclass(frozen=True, slots=True)
class SyncedQuery:
    """One query of a stream: rows of the source's tables `pattern`, as rows of the device's table `table`.

    `columns` None means all of them. `owners` are columns whose value the token decides.
    """

    stream: str
    table: str
    pattern: TablePattern
    columns: frozenset[str] | None
    owners: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SourceDemands:
    """What the source insists on: columns that take no NULL and have no default, and the columns of its unique indexes."""

    required: frozenset[tuple[str, str, str]] = frozenset()  # schema, table, column
    unique: Mapping[tuple[str, str], Sequence[frozenset[str]]] = field(
        default_factory=dict[tuple[str, str], Sequence[frozenset[str]]]
    )


@dataclass(frozen=True, slots=True)
class Alignment:
    """Everything that is compared. `source` and `demands` are None where the source was not asked, or did not tell."""

    device: tuple[DeviceTable, ...]
    synced: tuple[ClientTable, ...]
    queries: tuple[SyncedQuery, ...] = ()
    source: SourceColumns | None = None
    demands: SourceDemands | None = None

    def synced_table(self, name: str) -> ClientTable | None:
        """What the sync config sends under this name; SQLite ignores case."""
        return next((table for table in self.synced if table.name.lower() == name.lower()), None)

    def device_table(self, name: str) -> DeviceTable | None:
        """The device's table of this name."""
        return next((table for table in self.device if table.name.lower() == name.lower()), None)

    def pairs(self) -> Iterator[tuple[DeviceTable, ClientTable]]:
        """The tables that are on both sides and whose columns are known on both."""
        for table in self.device:
            synced = self.synced_table(table.name)
            if synced is not None and table.columns_known and not table.local_only:
                yield table, synced

    def queries_of(self, table: str) -> list[SyncedQuery]:
        """The queries whose rows go into this table of the device."""
        return [query for query in self.queries if table.lower() in self._names(query)]

    def sources_of(self, query: SyncedQuery) -> list[SourceTableColumns]:
        """The tables of the source that a query reads; none where the source is not known."""
        return self.source.matching(query.pattern) if self.source else []

    def owners_of(self, table: str) -> frozenset[str]:
        """Columns of a table that the token decides: a device may leave them out, the backend fills them."""
        return frozenset(owner.lower() for query in self.queries_of(table) for owner in query.owners)

    def _names(self, query: SyncedQuery) -> set[str]:
        """A query of a wildcard without an alias goes into one table of the device for each table of the source."""
        if query.table != query.pattern.name or not query.pattern.name.endswith("%"):
            return {query.table.lower()}
        return {table.name.lower() for table in self.sources_of(query)}
