"""PURE: the tables of a source in memory, as a device's schema and the backend's policies want them."""

from __future__ import annotations

from collections.abc import Mapping

from syncline.backend import TablePolicy
from syncline.backend.column_names import with_column_names
from syncline.backend.ownership import Via
from syncline.client.schema import Schema
from syncline.client.schema_columns import ColumnType
from syncline.testing.memory_source import MemorySource

__all__ = ["source_of"]


def source_of(schema: Schema, policies: Mapping[str, TablePolicy]) -> MemorySource:
    """A source with the tables of a device's schema but for local ones, and with what the policies name beside them.

    Tables and columns have the names that they have in the database (`TablePolicy.table`, `column_names`). Columns that no device knows,
    such as an owner or the mark of a soft delete, are there too.
    """
    columns: dict[str, dict[str, ColumnType | None]] = {}
    for table in schema.tables:
        if not table.local_only:
            policy = policies.get(table.name, _EVERYBODYS)
            types = {column.name: column.type for column in table.columns}
            named = with_column_names(types, policy.column_names, table=table.name, operation_index=0)
            columns.setdefault(policy.table or table.name, {}).update(named)
    for name, policy in policies.items():
        known = columns.setdefault(policy.table or name, {})
        parent = (policy.owner.column,) if isinstance(policy.owner, Via) else ()
        for column in (*(policy.columns or ()), *policy.kept_columns, *parent):
            known.setdefault(column, None)
    integers = {
        name: [column for column, kind in known.items() if kind is ColumnType.INTEGER]
        for name, known in columns.items()
    }
    return MemorySource({name: list(known) for name, known in columns.items()}, integers=integers)


_EVERYBODYS = TablePolicy(owner=None)
