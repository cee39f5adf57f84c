"""The sources of one query and its subqueries: tables and `json_each` calls, numbered in the order of their appearance."""

from __future__ import annotations

from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import ColumnValue, Expression, RequestValue, RowMeta, walk
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["REQUEST", "BindingWarning", "ColumnUse", "ElementSource", "Sources", "TableSource"]

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


@dataclass(frozen=True, slots=True)
class BindingWarning:
    """Something in a query that works but probably means something else."""

    kind: ProblemKind
    message: str
    span: Span
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """A column of a table, where a query names it."""

    source: int
    column: str
    span: Span


class Sources:
    """All sources of a query, and what the query says of them.

    Each expression belongs to *owners*: tables, request data, or elements of request data. `fixed_json` is the config's option
    `fixed_json_extract`. `table_spans`, `column_uses` and `warnings` are of the query's own text, without those of CTEs.
    """

    def __init__(self, *, fixed_json: bool = True) -> None:
        self.fixed_json = fixed_json
        self.table_spans: dict[int, Span] = {}
        self.column_uses: list[ColumnUse] = []
        self.warnings: list[BindingWarning] = []
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
            raise SqlError(
                "json_each over the result of another json_each is not supported",
                span,
                kind=ProblemKind.UNASSOCIATED_FILTER,
            )
        if len(owners) > 1:
            raise SqlError(
                "The argument of json_each may depend on one table or on connection data, not on both",
                span,
                kind=ProblemKind.MIXED_SOURCES,
            )
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
