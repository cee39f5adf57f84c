"""Parameter queries: from a connection to the parameters of a definition's buckets (sync config reference, 8.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from syncline.sync_config.compiler.expressions import Apply, ColumnValue, Expression, RequestValue, RowMeta, walk
from syncline.sync_config.compiler.legacy.matching import Alternative, MatchKind, alternatives_of
from syncline.sync_config.compiler.legacy.names import Names, Parameters, Side, side_of, table_pattern
from syncline.sync_config.compiler.legacy.reading import column_name, source_of
from syncline.sync_config.compiler.legacy.scalars import LegacyScalars
from syncline.sync_config.compiler.model import (
    ElementTable,
    LookupIndex,
    Querier,
    RequestSource,
    RowTable,
    Stage,
    StageOutput,
    ValueSource,
)
from syncline.sync_config.document.model import LOWEST_PRIORITY
from syncline.sync_config.evaluation.context import ELEMENT_COLUMNS
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.sql.syntax import FromItem, LiteralValue, ResultColumn, Select, Star
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["PARAMETERS_MAX", "ParameterQuery", "bind_parameter_source", "compile_parameter_query"]

PRIORITY_COLUMN = "_priority"
PARAMETERS_MAX = 100  # bucket parameters of a definition; a real one has three
CLIENT_SCOPE = "connection"


@dataclass(frozen=True, slots=True)
class ParameterBranch:
    """One way to find parameter values: an alternative of the query's WHERE."""

    request_filters: tuple[Expression, ...]
    stages: tuple[Stage, ...]
    values: Mapping[str, ValueSource]


@dataclass(frozen=True, slots=True)
class ParameterQuery:
    """A parameter query; `names` are the parameters that it gives values for, in the order of its columns."""

    names: tuple[str, ...]
    branches: tuple[ParameterBranch, ...]
    rests_on_client_only: bool
    priority: int | None = None

    def queriers(self, names: Iterable[str]) -> list[Querier]:
        """A querier for each branch, with values in the order of `names`."""
        wanted = tuple(names)
        return [
            Querier(
                branch.request_filters,
                (branch.stages,) if branch.stages else (),
                tuple((branch.values[name],) for name in wanted),
                null_values=True,
                priority=self.priority,
            )
            for branch in self.branches
        ]


def compile_parameter_query(select: Select, names: Names, scalars: LegacyScalars) -> ParameterQuery:
    """Compile a query whose FROM is bound (`bind_parameter_source`). Raises SqlError."""
    source = source_of(select)
    if source is None:
        return _static_query(select, scalars)
    if source.function is not None:
        return _element_query(select, source, scalars)
    return _table_query(select, names, scalars)


def bind_parameter_source(select: Select) -> Names:
    """The names of a parameter query. Raises SqlError for what it cannot select from."""
    source = source_of(select)
    if source is None:
        return Names(Parameters.REQUEST)
    if source.function is not None:
        if source.function.parts != ("json_each",):
            message = "The only function that can stand in FROM is json_each"
            raise SqlError(message, source.span, kind=ProblemKind.UNKNOWN_FUNCTION)
        if len(source.function.arguments) != 1:
            raise SqlError("json_each takes one argument", source.span, kind=ProblemKind.ARGUMENT_COUNT)
        return Names(Parameters.REQUEST, source.alias or "json_each")
    if source.alias is not None:
        message = "The table of a parameter query cannot have another name"
        hint = "Leave the alias out, and write the table's own name before the dot."
        raise SqlError(message, source.span, kind=ProblemKind.UNSUPPORTED_EXPRESSION, hint=hint)
    pattern = table_pattern(source)
    return Names(Parameters.REQUEST, pattern.name, pattern)


@dataclass(slots=True)
class _Columns:
    """The bound select list."""

    values: dict[str, Expression] = field(default_factory=dict[str, Expression])
    priority: int | None = None


def _columns(select: Select, scalars: LegacyScalars, *, with_priority: bool) -> _Columns:
    columns = _Columns()
    if len(select.columns) > PARAMETERS_MAX:
        message = f"A bucket definition has at most {PARAMETERS_MAX} parameters"
        hint = "A bucket for so many values at once holds next to nothing: leave out what the others imply."
        raise SqlError(message, select.span, kind=ProblemKind.TOO_LARGE, hint=hint)
    for column in select.columns:
        if isinstance(column.expression, Star):
            message = "`*` is not possible in a parameter query"
            hint = "Name the columns that are parameters."
            raise SqlError(message, column.span, kind=ProblemKind.STAR_NOT_ALLOWED, hint=hint)
        name = column_name(column)
        if name == PRIORITY_COLUMN and with_priority:
            columns.priority = _priority(column)
            continue
        value = scalars.bind(column.expression)
        if name in columns.values:
            message = f'Two columns are named "{name}"'
            raise SqlError(message, column.span, kind=ProblemKind.DUPLICATE_NAME, hint="Give one of them another name.")
        columns.values[name] = value
    return columns


def _priority(column: ResultColumn) -> int:
    node = column.expression
    if isinstance(node, LiteralValue) and isinstance(node.value, int) and node.value in range(LOWEST_PRIORITY + 1):
        return node.value
    raise SqlError(
        f"{PRIORITY_COLUMN} must be an integer constant from 0 to {LOWEST_PRIORITY}",
        column.span,
        kind=ProblemKind.BAD_PRIORITY,
        hint="0 is sent first, 3 last.",
    )


def _static_query(select: Select, scalars: LegacyScalars) -> ParameterQuery:
    columns = _columns(select, scalars, with_priority=True)
    filters = _filters(select, scalars)
    branch = ParameterBranch(filters, (), {name: RequestSource(value) for name, value in columns.values.items()})
    values = tuple(columns.values.values())
    client_only = _client_only((*values, *filters), values or filters)
    return ParameterQuery(tuple(columns.values), (branch,), client_only, columns.priority)


def _filters(select: Select, scalars: LegacyScalars) -> tuple[Expression, ...]:
    """The parts of a WHERE that reads connection data only, beside elements of it."""
    if select.where is None:
        return ()
    condition = scalars.bind(select.where)
    if isinstance(condition, Apply) and condition.name == "and":
        return condition.arguments
    return (condition,)


def _element_query(select: Select, source: FromItem, scalars: LegacyScalars) -> ParameterQuery:
    """`FROM json_each(…)`: one bucket for each element. `_priority` is a parameter like others here (reference 8.1)."""
    assert source.function is not None
    outside = LegacyScalars(Names(Parameters.REQUEST), fixed_json=scalars.fixed_json)
    argument = outside.bind(source.function.arguments[0])
    columns = _columns(select, scalars, with_priority=False)
    filters = _filters(select, scalars)
    on_element = tuple(test for test in filters if Side.ROW in side_of(test))
    on_request = tuple(test for test in filters if Side.ROW not in side_of(test))
    values = tuple(columns.values.values())
    stage = Stage(ElementTable(argument, on_element, (), values), ())
    outputs = {name: StageOutput(0, 0, number) for number, name in enumerate(columns.values)}
    client_only = _client_only((argument, *values, *filters), (argument, *values))
    return ParameterQuery(tuple(columns.values), (ParameterBranch(on_request, (stage,), outputs),), client_only)


def _table_query(select: Select, names: Names, scalars: LegacyScalars) -> ParameterQuery:
    columns = _columns(select, scalars, with_priority=True)
    for column, value in zip(_without_priority(select), columns.values.values(), strict=True):
        if Side.ROW in side_of(value) and not isinstance(value, (ColumnValue, RowMeta)):
            raise SqlError(
                "An expression over a column cannot be a parameter",
                column.span,
                kind=ProblemKind.MATCH_NOT_ALLOWED_HERE,
                hint="Select the column alone, and compute in the data query.",
            )
    alternatives = alternatives_of(select.where, scalars)
    branches = tuple(_table_branch(alternative, columns.values, names) for alternative in alternatives)
    selected = [value for value in columns.values.values() if Side.ROW not in side_of(value)]
    used = (*selected, *(parameter for alternative in alternatives for parameter in alternative.parameters))
    return ParameterQuery(tuple(columns.values), branches, _client_only(used, used), columns.priority)


def _without_priority(select: Select) -> list[ResultColumn]:
    return [column for column in select.columns if column_name(column) != PRIORITY_COLUMN]


def _table_branch(alternative: Alternative, columns: Mapping[str, Expression], names: Names) -> ParameterBranch:
    """One lookup in an index over the table; before it, where the connection has an array, the elements of that."""
    assert names.pattern is not None
    stages: list[Stage] = []
    keys: list[Expression] = []
    wanted: list[ValueSource] = []
    expansions: list[Expression] = []
    for match in alternative.matches:
        key, source = match.row, RequestSource(match.parameter)
        if match.kind is MatchKind.PARAMETER_IN_ROW:
            expansions.append(match.row)
            key = ColumnValue(len(expansions), "value")
        elif match.kind is MatchKind.ROW_IN_PARAMETER:
            element = ColumnValue(0, ELEMENT_COLUMNS[1])
            stages.append(Stage(ElementTable(match.parameter, (), (), (element,)), ()))
            source = StageOutput(0, len(stages) - 1, 0)
        keys.append(key)
        wanted.append(source)
    outputs = list(dict.fromkeys(value for value in columns.values() if Side.ROW in side_of(value)))
    rows = RowTable(names.pattern, tuple(expansions), alternative.row_filters)
    index = LookupIndex(rows, tuple(keys), tuple(outputs), null_outputs=True)
    stages.append(Stage(index, tuple(wanted)))
    place = len(stages) - 1
    values: dict[str, ValueSource] = {
        name: StageOutput(0, place, outputs.index(value)) if value in outputs else RequestSource(value)
        for name, value in columns.items()
    }
    return ParameterBranch(alternative.request_filters, tuple(stages), values)


def _client_only(used: Iterable[Expression], trusted: Iterable[Expression]) -> bool:
    """Whether `used` reads what the client says of itself, and nothing in `trusted` reads the token."""
    return CLIENT_SCOPE in _scopes(used) and not _scopes(trusted) - {CLIENT_SCOPE}


def _scopes(expressions: Iterable[Expression]) -> set[str]:
    return {part.scope for expression in expressions for part in walk(expression) if isinstance(part, RequestValue)}
