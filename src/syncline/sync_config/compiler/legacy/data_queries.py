"""Data queries: which rows stand in the buckets of a definition, and the columns that clients get (sync config reference, 8.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import Apply, ColumnValue, Expression, Literal, RequestValue
from syncline.sync_config.compiler.legacy.matching import Alternative, MatchKind, alternatives_of
from syncline.sync_config.compiler.legacy.names import Names, Parameters, Side, side_of, table_pattern
from syncline.sync_config.compiler.legacy.reading import column_name, source_of
from syncline.sync_config.compiler.legacy.scalars import LegacyScalars
from syncline.sync_config.compiler.model import OutputColumn, RowQuery, RowTable
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.syntax import FromItem, ResultColumn, Select, Star
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["TableSelect", "bind_table_select", "compile_data_query"]


@dataclass(frozen=True, slots=True)
class TableSelect:
    """A SELECT from one table with its names bound; `object_type` None means the source table's own name (wildcards)."""

    names: Names
    scalars: LegacyScalars
    source: FromItem
    object_type: str | None
    columns: tuple[OutputColumn, ...]


def bind_table_select(select: Select, parameters: Parameters, *, fixed_json: bool) -> TableSelect:
    """Bind FROM and the select list. Raises SqlError."""
    source = source_of(select)
    if source is None:
        raise SqlError(
            "The query selects from no table",
            select.span,
            kind=ProblemKind.SINGLE_TABLE_ONLY,
            hint="Write SELECT … FROM table.",
        )
    if source.function is not None:
        message = "Rows can only come from a table"
        raise SqlError(message, source.span, kind=ProblemKind.NOT_A_TABLE, hint="Write SELECT … FROM table.")
    pattern = table_pattern(source)
    names = Names(parameters, source.alias or pattern.name, pattern)
    scalars = LegacyScalars(names, fixed_json=fixed_json)
    columns = tuple(_output_column(column, scalars) for column in select.columns)
    object_type = source.alias or (None if pattern.name.endswith("%") else pattern.name)
    return TableSelect(names, scalars, source, object_type, columns)


def compile_data_query(select: Select, table: TableSelect, parameters: Sequence[str] | None) -> list[RowQuery]:
    """A row query for each alternative of WHERE. `parameters` are those of the definition, None where they are not known.

    Raises SqlError where a row has no id, or a parameter is not matched.
    """
    if not any(column.name in ("id", None) for column in table.columns):
        span = select.columns[0].span if select.columns else select.span
        hint = "Every row needs an id: write SELECT id, …, or … AS id."
        raise SqlError("The query selects no id", span, kind=ProblemKind.ID_MISSING, hint=hint)
    assert table.names.pattern is not None
    queries: list[RowQuery] = []
    for alternative in alternatives_of(select.where, table.scalars):
        wanted = _matched_names(alternative) if parameters is None else parameters
        keys, expansions, filters = _keys(alternative, wanted, select.span)
        rows = RowTable(table.names.pattern, expansions, (*alternative.row_filters, *filters))
        queries.append(RowQuery(rows, table.object_type, table.columns, keys))
    return queries


def _output_column(column: ResultColumn, scalars: LegacyScalars) -> OutputColumn:
    if isinstance(column.expression, Star):
        if column.expression.qualifier:
            scalars.names.check_source(column.expression.qualifier[-1], column.expression.span)
        return OutputColumn(None, None, fills_in=True)
    value = scalars.bind(column.expression)
    if Side.PARAMETER in side_of(value):
        raise SqlError(
            "A bucket parameter cannot be selected",
            column.span,
            kind=ProblemKind.MATCH_NOT_ALLOWED_HERE,
            hint="Select the column that it is compared with.",
        )
    return OutputColumn(column_name(column), value)


def _keys(
    alternative: Alternative, parameters: Sequence[str], span: Span
) -> tuple[tuple[Expression, ...], tuple[Expression, ...], tuple[Expression, ...]]:
    """Partition keys in the order of `parameters`, expansions, and what must hold besides.

    Where a parameter is matched twice, the first match says the key; of the others it only counts that there is a value
    (reference 8.2).
    """
    found: dict[str, Expression] = {}
    expansions: list[Expression] = []
    filters: list[Expression] = []
    for match in alternative.matches:
        value = match.row
        if match.kind is MatchKind.PARAMETER_IN_ROW:
            expansions.append(match.row)
            value = ColumnValue(len(expansions), "value")
        name = _bucket_parameter(match.parameter)
        if name in found:
            filters.append(Apply("not", (Apply("is null", (value,)),)))
        found.setdefault(name, value)
    _check_names(found, parameters, span)
    return tuple(found[name] for name in parameters), tuple(expansions), tuple(filters)


def _check_names(found: dict[str, Expression], parameters: Sequence[str], span: Span) -> None:
    unknown = ", ".join(f"bucket.{name}" for name in found if name not in parameters)
    unused = [name for name in parameters if name not in found]
    if unused:
        raise SqlError(
            f"The query does not use {', '.join(f'bucket.{name}' for name in unused)}",
            span,
            kind=ProblemKind.UNUSED_BUCKET_PARAMETER,
            hint=f"Write … WHERE column = bucket.{unused[0]}."
            + (f" No parameter query selects {unknown}." if unknown else ""),
        )
    if unknown:
        hint = f"Select it in every parameter query; there are {', '.join(parameters) or 'none'}."
        raise SqlError(f"There is no {unknown}", span, kind=ProblemKind.UNKNOWN_REFERENCE, hint=hint)


def _matched_names(alternative: Alternative) -> list[str]:
    return list(dict.fromkeys(_bucket_parameter(match.parameter) for match in alternative.matches))


def _bucket_parameter(parameter: Expression) -> str:
    """The x of `bucket.x`."""
    assert isinstance(parameter, RequestValue)
    assert isinstance(parameter.key, Literal)
    return str(parameter.key.value)
