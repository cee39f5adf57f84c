"""The sources of one query and its subqueries: tables and `json_each` calls, numbered in the order of their appearance."""

from __future__ import annotations

from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import ColumnValue, Expression, RequestValue, RowMeta, walk
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["REQUEST", "ElementSource", "Sources", "TableSource"]

REQUEST = -1
"""The owner of expressions over connection data."""


@dataclass(frozen=True, slots=True)
class TableSource:
    """A source table in FROM. `object_type` None means the source table's own name (wildcards)."""

    pattern: TablePattern
    object_type: str | None


@dataclass(frozen=True, slots=True)
class ElementSource:
    """`json_each(argument)`. `owner` is the table that the argument reads, or REQUEST."""

    argument: Expression
    owner: int


class Sources:
    """All sources of a query. Each expression belongs to *owners*: tables, request data, or elements of request data."""

    def __init__(self) -> None:
        self._sources: list[TableSource | ElementSource] = []

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, number: int) -> TableSource | ElementSource:
        return self._sources[number]

    def add_table(self, table: TableSource) -> int:
        """Number a table."""
        self._sources.append(table)
        return len(self._sources) - 1

    def add_elements(self, argument: Expression, span: Span) -> int:
        """Number a `json_each` call. Raises SqlError when its argument depends on more than one source."""
        owners = self.owners(argument)
        if any(
            isinstance(part, ColumnValue) and isinstance(self._sources[part.source], ElementSource)
            for part in walk(argument)
        ):
            raise SqlError("json_each over the result of another json_each is not supported", span)
        if len(owners) > 1:
            raise SqlError("The argument of json_each may depend on one table or on connection data, not on both", span)
        self._sources.append(ElementSource(argument, next(iter(owners), REQUEST)))
        return len(self._sources) - 1

    def owner_of(self, number: int) -> int:
        """The unit that a source belongs to: elements of a row belong to the row's table."""
        source = self._sources[number]
        if isinstance(source, ElementSource) and source.owner != REQUEST:
            return source.owner
        return number

    def owners(self, expression: Expression) -> frozenset[int]:
        """The units that the expression reads; empty for constants."""
        found: set[int] = set()
        for part in walk(expression):
            if isinstance(part, (ColumnValue, RowMeta)):
                found.add(self.owner_of(part.source))
            elif isinstance(part, RequestValue):
                found.add(REQUEST)
        return frozenset(found)
