"""The result columns of a query, and which table they synchronise."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncline.sync_config.compiler.binding import BoundSelect, QueryBinder, column_name
from syncline.sync_config.compiler.expressions import ColumnValue
from syncline.sync_config.compiler.model import OutputColumn
from syncline.sync_config.compiler.scalars import DerivedColumns, ScalarBinder
from syncline.sync_config.compiler.sources import REQUEST, TableSource
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.syntax import ResultColumn, Star
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["ColumnWarning", "ResultColumns", "result_columns"]


@dataclass(frozen=True, slots=True)
class ColumnWarning:
    """A result column that works but probably means something else."""

    message: str
    span: Span
    hint: str


@dataclass(slots=True)
class ResultColumns:
    """Bound result columns; `table` is the number of the synchronised table."""

    table: int
    columns: list[OutputColumn] = field(default_factory=list[OutputColumn])
    warnings: list[ColumnWarning] = field(default_factory=list[ColumnWarning])


def result_columns(bound: BoundSelect, binder: QueryBinder, sql: str) -> ResultColumns:
    """Bind the select list (reference 2.1). Raises SqlError where it is not columns of exactly one table."""
    scalars = ScalarBinder(binder.sources, bound.scope)
    found = ResultColumns(table=-1)
    owners: list[tuple[int, Span]] = []
    renamed = False
    for column in bound.select.columns:
        added, owner = _column(column, bound, scalars, sql, found.warnings)
        if added[0].name is None and renamed:
            hint = "Put * first, or leave it out."
            found.warnings.append(ColumnWarning("* may overwrite the columns before it", column.span, hint))
        renamed = renamed or column.alias is not None
        found.columns += added
        owners += [(number, column.span) for number in sorted(owner)]
    found.table = _synced_table(owners, bound, binder)
    return found


def _synced_table(owners: list[tuple[int, Span]], bound: BoundSelect, binder: QueryBinder) -> int:
    for number, span in owners:
        if number == REQUEST:
            raise SqlError(
                "Values of the connection cannot be selected",
                span,
                hint="Rows are stored once for everybody; use the value in WHERE only.",
            )
        if not isinstance(binder.sources[number], TableSource):
            raise SqlError("Elements of connection data cannot be selected", span)
        if number != owners[0][0]:
            raise SqlError(
                "A query can only select columns of one table", span, hint="Write one query for each table to sync."
            )
    if not owners:
        raise SqlError("The query selects no column of a table", bound.select.span, hint="Select at least its id.")
    return owners[0][0]


def _column(
    column: ResultColumn, bound: BoundSelect, scalars: ScalarBinder, sql: str, warnings: list[ColumnWarning]
) -> tuple[list[OutputColumn], frozenset[int]]:
    if isinstance(column.expression, Star):
        return _star(column.expression, bound, scalars)
    value = scalars.bind(column.expression)
    name = column_name(column)
    if not name:
        name = sql[column.expression.span[0] : column.expression.span[1]]
        warnings.append(ColumnWarning("This column has no name", column.span, "Write … AS name."))
    return [OutputColumn(name, value)], scalars.sources.owners(value)


def _star(star: Star, bound: BoundSelect, scalars: ScalarBinder) -> tuple[list[OutputColumn], frozenset[int]]:
    names = bound.scope.names
    if star.qualifier is None and len(names) != 1:
        what = "There is no table to take * from" if not names else "* is ambiguous with several sources"
        raise SqlError(what, star.span, hint="Write table.*.")
    qualifier = star.qualifier or next(iter(names))
    target = names.get(qualifier)
    if target is None:
        raise SqlError(f'No source named "{qualifier}" is in scope', star.span)
    if isinstance(target, DerivedColumns):
        columns = [OutputColumn(name, value) for name, value in target.columns.items()]
        owners = {owner for value in target.columns.values() for owner in scalars.sources.owners(value)}
        return columns, frozenset(owners)
    return [OutputColumn(None, ColumnValue(target, "*"))], frozenset({target})
