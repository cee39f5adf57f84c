"""The result columns of a query, and which table they synchronise."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncline.sync_config.compiler.binding import BoundSelect, QueryBinder, column_name
from syncline.sync_config.compiler.expressions import ColumnValue
from syncline.sync_config.compiler.model import OutputColumn
from syncline.sync_config.compiler.scalars import DerivedColumns, ScalarBinder
from syncline.sync_config.compiler.sources import REQUEST, BindingWarning, TableSource
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.syntax import ResultColumn, Star
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["ResultColumns", "result_columns"]


@dataclass(slots=True)
class ResultColumns:
    """Bound result columns; `table` is the number of the synchronised table."""

    table: int
    columns: list[OutputColumn] = field(default_factory=list[OutputColumn])


def result_columns(bound: BoundSelect, binder: QueryBinder, sql: str) -> ResultColumns:
    """Bind the select list (reference 2.1). Raises SqlError where it is not columns of exactly one table.

    Problems of single columns are reported; warnings go to the binder's sources.
    """
    scalars = ScalarBinder(binder.sources, bound.scope)
    found = ResultColumns(table=-1)
    owners: list[tuple[int, Span]] = []
    renamed = False
    for column in bound.select.columns:
        for added, owner in binder.attempt(lambda column=column: _column(column, bound, scalars, sql)):
            if renamed and added and added[0].name is None:
                message, hint = "* may overwrite the columns before it", "Put * first, or leave it out."
                binder.sources.warnings.append(BindingWarning(ProblemKind.STAR_AFTER_ALIAS, message, column.span, hint))
            renamed = renamed or column.alias is not None
            found.columns += added
            owners += [(number, column.span) for number in sorted(owner)]
    if not binder.broken:
        found.table = _synced_table(owners, bound, binder)
    return found


def _synced_table(owners: list[tuple[int, Span]], bound: BoundSelect, binder: QueryBinder) -> int:
    for number, span in owners:
        if number == REQUEST:
            raise SqlError(
                "Values of the connection cannot be selected",
                span,
                kind=ProblemKind.SELECTS_CONNECTION_VALUE,
                hint="Rows are stored once for everybody; use the value in WHERE only.",
            )
        if not isinstance(binder.sources[number], TableSource):
            raise SqlError("Elements of connection data cannot be selected", span, kind=ProblemKind.NOT_A_TABLE)
        if number != owners[0][0]:
            raise SqlError(
                "A query can only select columns of one table",
                span,
                kind=ProblemKind.COLUMNS_FROM_SEVERAL_TABLES,
                hint="Write one query for each table to sync.",
            )
    if not owners:
        raise SqlError(
            "The query selects no column of a table",
            bound.select.span,
            kind=ProblemKind.NO_TABLE_COLUMN,
            hint="Select at least its id.",
        )
    return owners[0][0]


def _column(
    column: ResultColumn, bound: BoundSelect, scalars: ScalarBinder, sql: str
) -> tuple[list[OutputColumn], frozenset[int]]:
    if isinstance(column.expression, Star):
        return _star(column.expression, bound, scalars)
    value = scalars.bind(column.expression)
    name = column_name(column)
    if not name:
        name = sql[column.expression.span[0] : column.expression.span[1]]
        message = "This column has no name"
        scalars.sources.warnings.append(
            BindingWarning(ProblemKind.UNNAMED_COLUMN, message, column.span, "Write … AS name.")
        )
    return [OutputColumn(name, value)], scalars.sources.owners(value)


def _star(star: Star, bound: BoundSelect, scalars: ScalarBinder) -> tuple[list[OutputColumn], frozenset[int]]:
    names = bound.scope.names
    if not star.qualifier and len(names) != 1:
        what = "There is no table to take * from" if not names else "* is ambiguous with several sources"
        raise SqlError(what, star.span, kind=ProblemKind.AMBIGUOUS_COLUMN, hint="Write table.*.")
    qualifier = ".".join(star.qualifier) or next(iter(names))
    target = names.get(qualifier)
    if target is None:
        raise SqlError(f'No source named "{qualifier}" is in scope', star.span, kind=ProblemKind.UNKNOWN_SOURCE)
    if isinstance(target, DerivedColumns):
        columns = [OutputColumn(name, value) for name, value in target.columns.items()]
        owners = {owner for value in target.columns.values() for owner in scalars.sources.owners(value)}
        return columns, frozenset(owners)
    return [OutputColumn(None, ColumnValue(target, "*"))], frozenset({target})
