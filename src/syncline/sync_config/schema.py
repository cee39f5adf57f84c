"""What the source holds, as far as it is known: with it, unknown tables and columns are found before anything is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from syncline.sync_config.plan import TablePattern

__all__ = ["SourceSchema"]


@dataclass(frozen=True, slots=True)
class SourceSchema:
    """Tables of the source by (schema, name), each with the names of its columns."""

    tables: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict[tuple[str, str], frozenset[str]])

    @classmethod
    def of(cls, tables: Mapping[str, Mapping[str, str]]) -> SourceSchema:
        """From `schema.table` -> column -> type."""
        found: dict[tuple[str, str], frozenset[str]] = {}
        for name, columns in tables.items():
            schema, _, table = name.partition(".")
            found[schema, table] = frozenset(columns)
        return cls(found)

    def columns_of(self, pattern: TablePattern) -> frozenset[str] | None:
        """All columns of the tables that a pattern means; None where it means no known table."""
        matching = [columns for (schema, name), columns in self.tables.items() if pattern.matches(schema, name)]
        return frozenset(column for columns in matching for column in columns) if matching else None

    def closest_table(self, pattern: TablePattern) -> str:
        """The known table whose name is most like the pattern's, written as a query would write it; empty where none is."""
        names = {self._written(schema, name, pattern): name for schema, name in self.tables}
        close = get_close_matches(pattern.name, list(names.values()), 1) or [
            name for name in names.values() if name.lower() == pattern.name.lower()
        ]
        return next((written for written, name in names.items() if close and name == close[0]), "")

    @staticmethod
    def _written(schema: str, name: str, pattern: TablePattern) -> str:
        return name if schema == pattern.schema else f"{schema}.{name}"
