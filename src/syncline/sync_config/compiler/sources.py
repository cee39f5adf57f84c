"""The sources of one query and its subqueries: tables and `json_each` calls, numbered in the order of their appearance."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from syncline.sync_config.compiler.expressions import ColumnValue, Expression, RequestValue, RowMeta, walk
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.tokens import SqlError

__all__ = [
    "INLINED_PARTS_MAX",
    "REQUEST",
    "TERMS_MAX",
    "BindingBudget",
    "BindingWarning",
    "ColumnUse",
    "ElementSource",
    "Sources",
    "TableSource",
]

INLINED_PARTS_MAX = 100_000  # parts of the expressions that columns of subqueries stand for, each time they are used
TERMS_MAX = 20_000  # conditions of all queries of a config, those of subqueries each time they are used
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


def _count_parts(expression: Expression, most: int) -> int:
    """How many parts an expression has; counting ends above `most`."""
    return sum(1 for _ in islice(walk(expression), most + 1))


class BindingBudget:
    """What one config may grow to when its subqueries are written out at each place that uses them.

    A few lines can stand for any size: a subquery that uses another's column twice doubles it at every level.
    """

    def __init__(self) -> None:
        self._parts = INLINED_PARTS_MAX
        self._terms = TERMS_MAX

    def take_parts(self, expression: Expression, span: Span) -> None:
        """Account for a column of a subquery that is written out once more. Raises SqlError."""
        self._parts -= _count_parts(expression, self._parts)
        if self._parts < 0:
            raise self._too_large("expressions", INLINED_PARTS_MAX, "parts", span)

    def take_term(self, span: Span) -> None:
        """Account for one more condition. Raises SqlError."""
        self._terms -= 1
        if self._terms < 0:
            raise self._too_large("conditions", TERMS_MAX, "terms", span)

    def _too_large(self, what: str, most: int, unit: str, span: Span) -> SqlError:
        message = f"With all subqueries written out, the config's {what} have more than {most} {unit}"
        hint = "Use large subqueries in fewer places, or compute their columns in the source."
        return SqlError(message, span, kind=ProblemKind.TOO_LARGE, hint=hint)


class Sources:
    """All sources of a query, and what the query says of them.

    Each expression belongs to *owners*: tables, request data, or elements of request data. `fixed_json` is the config's option
    `fixed_json_extract`. `table_spans`, `column_uses` and `warnings` are of the query's own text, without those of CTEs.
    """

    def __init__(self, *, fixed_json: bool = True, budget: BindingBudget | None = None) -> None:
        self.fixed_json = fixed_json
        self.budget = budget or BindingBudget()
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
