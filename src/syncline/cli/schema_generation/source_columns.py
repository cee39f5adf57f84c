"""Tables of the source with the types of their columns, from the admin API's answer or from the source itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from syncline.cli.schema_generation.model import ValueTypes
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.schema import SourceSchema

if TYPE_CHECKING:
    from syncline.replication.inspection import SourceTable

__all__ = ["SourceColumn", "SourceColumns", "SourceTableColumns"]


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of the source: what its values are on devices, and the source's own name for its type."""

    name: str
    types: ValueTypes
    declared: str


@dataclass(frozen=True, slots=True)
class SourceTableColumns:
    """A table of the source; columns in its own order."""

    schema: str
    name: str
    columns: tuple[SourceColumn, ...]


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """All tables that are known, by schema and name."""

    tables: tuple[SourceTableColumns, ...] = field(default=())

    @classmethod
    def of_admin_schema(cls, answer: Mapping[str, Any]) -> SourceColumns:
        """From the data of `/api/admin/v1/schema` (command line reference, 3). Raises ValueError for another form."""
        try:
            found = [
                SourceTableColumns(
                    str(schema["name"]), str(table["name"]), tuple(map(_admin_column, _objects(table, "columns")))
                )
                for connection in _objects(answer, "connections")
                for schema in _objects(connection, "schemas")
                for table in _objects(schema, "tables")
            ]
        except (KeyError, TypeError) as exc:
            raise ValueError("the answer is no schema of a source") from exc
        return cls(tuple(found))

    @classmethod
    def of_source(cls, tables: Iterable[SourceTable]) -> SourceColumns:
        """From what a source's inspector says."""
        return cls(
            tuple(
                SourceTableColumns(
                    table.schema,
                    table.name,
                    tuple(SourceColumn(c.name, ValueTypes(c.sqlite_type), c.short_type_name) for c in table.columns),
                )
                for table in tables
            )
        )

    def matching(self, pattern: TablePattern) -> list[SourceTableColumns]:
        """The tables that a pattern of the config means."""
        return [table for table in self.tables if pattern.matches(table.schema, table.name)]

    def schema(self) -> SourceSchema:
        """The same for the compiler, which then warns of tables and columns that are not there."""
        return SourceSchema(
            {(table.schema, table.name): frozenset(c.name for c in table.columns) for table in self.tables}
        )


def _objects(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found: object = value[key]
    if not isinstance(found, list):
        raise TypeError(key)
    return cast("list[Mapping[str, Any]]", found)


def _admin_column(column: Mapping[str, Any]) -> SourceColumn:
    flags: object = column["sqlite_type"]
    if not isinstance(flags, int):
        raise TypeError("sqlite_type")
    return SourceColumn(str(column["name"]), ValueTypes(flags), str(column.get("pg_type") or ""))
