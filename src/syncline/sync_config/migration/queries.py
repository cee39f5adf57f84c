"""Writes one query of a stream: what a querier of a definition finds, put into the WHERE of one of its row queries.

A parameter that is a value of the connection is written in the place of `bucket.x`. One that is a column of a table becomes
`IN (SELECT …)`; several columns of one row stay together in a join. A parameter query of which no column is needed only has to find
something, which is written `1 IN (SELECT 1 FROM …)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import ColumnValue, Expression, Literal, move_sources, walk
from syncline.sync_config.compiler.model import Querier, RowQuery, StageOutput, ValueSource
from syncline.sync_config.migration.columns import select_list
from syncline.sync_config.migration.expressions import (
    NOWHERE,
    ExpressionWriter,
    all_of,
    constant_elements,
    equals,
    reads_rows,
)
from syncline.sync_config.migration.notes import Remarks
from syncline.sync_config.migration.parameter_sources import ParameterSource, table_item
from syncline.sync_config.schema import SourceSchema
from syncline.sync_config.sql.syntax import (
    BinaryOperation,
    FromItem,
    FunctionCall,
    InTest,
    JoinItem,
    LiteralValue,
    Node,
    ResultColumn,
    Select,
    SubqueryValue,
    ValueList,
)

__all__ = ["write_query"]

_ONE = LiteralValue(NOWHERE, 1)


@dataclass(frozen=True, slots=True)
class _Match:
    """A partition key of the rows and the parameter that it is compared with. `is_looked_up`: rows or elements give the parameter."""

    key: Expression
    parameter: Expression
    is_looked_up: bool


def write_query(
    querier: Querier, rows: RowQuery, *, fixed_json: bool, schema: SourceSchema | None, remarks: Remarks
) -> Select:
    """The query of a stream that gives a connection the rows of `rows` which it has through `querier`.

    `schema` is what is known of the source; what a person should be told is added to `remarks`. Raises CannotMigrate.
    """
    parameters = ParameterSource(querier.groups[0], fixed_json, remarks) if querier.groups else None
    matches = [_match(key, source, parameters) for key, (source,) in zip(rows.keys, querier.instantiation, strict=True)]
    is_joined = sum(match.is_looked_up for match in matches) > 1
    alias = _alias(rows)
    writer = ExpressionWriter(alias or rows.table.pattern.name, is_joined, fixed_json, remarks)
    conditions = _RowConditions(rows, writer)
    sources = [table_item(rows.table.pattern, alias)]
    if is_joined and parameters is not None:
        beside, parameter_writer, found = parameters.joined(writer.source)
        sources.append(beside)
        where = [conditions.equality(match, parameter_writer if match.is_looked_up else writer) for match in matches]
        where += found
        remarks.joined = True
    else:
        where = conditions.unjoined(matches, parameters)
    where += conditions.filters()
    where += [writer.condition(test) for test in querier.request_filters]
    known = None if schema is None else schema.columns_of(rows.table.pattern)
    columns = select_list(rows.columns, writer, known)
    return _select(columns, sources, where)


def _select(columns: Sequence[ResultColumn], sources: Sequence[FromItem], where: Sequence[Node]) -> Select:
    items = tuple(JoinItem(source, None) for source in sources)
    return Select(NOWHERE, tuple(columns), items, all_of(where) if where else None)


def _alias(rows: RowQuery) -> str | None:
    """The alias that gives the rows their name on the client; None where the table's own name does."""
    name = rows.table.pattern.name
    return None if rows.object_type == name and not name.endswith("%") else rows.object_type


def _match(key: Expression, source: ValueSource, parameters: ParameterSource | None) -> _Match:
    if isinstance(source, StageOutput):
        assert parameters is not None
        value = parameters.found(source)
        return _Match(key, value, is_looked_up=reads_rows(value))
    return _Match(key, source.value, is_looked_up=False)


class _RowConditions:
    """Writes what must hold of the rows of one table."""

    def __init__(self, rows: RowQuery, writer: ExpressionWriter) -> None:
        self._rows = rows
        self._writer = writer
        self._arrays: dict[Expression, Expression] = {
            ColumnValue(number, "value"): array for number, array in enumerate(rows.table.expansions, 1)
        }

    def equality(self, match: _Match, parameter_writer: ExpressionWriter) -> Node:
        """The key equals, or an array holds, a parameter that stands beside it."""
        parameter, array = parameter_writer.value(match.parameter), self._arrays.get(match.key)
        if isinstance(array, Literal):
            items = tuple(LiteralValue(NOWHERE, value) for value in constant_elements(array.value))
            return InTest(NOWHERE, parameter, ValueList(NOWHERE, items), negated=False)
        if array is not None:
            return InTest(NOWHERE, parameter, self._writer.value(array), negated=False)
        key = self._writer.value(match.key)
        return equals(key, parameter) if reads_rows(match.key) else equals(parameter, key)

    def unjoined(self, matches: Sequence[_Match], parameters: ParameterSource | None) -> list[Node]:
        """All matches, of which at most one is looked up; without one, it only counts that there is something."""
        conditions = [
            self._among(match, parameters) if match.is_looked_up and parameters else self.equality(match, self._writer)
            for match in matches
        ]
        if parameters is not None and not any(match.is_looked_up for match in matches):
            conditions.append(parameters.existence())
        return conditions

    def _among(self, match: _Match, parameters: ParameterSource) -> Node:
        """The key is, or an array shares an element with, what a subquery or list gives."""
        whole = parameters.whole_list(match.parameter)
        array = self._arrays.get(match.key)
        if array is None:
            target = parameters.subquery(match.parameter) if whole is None else whole
            return InTest(NOWHERE, self._writer.value(match.key), target, negated=False)
        if whole is None:
            whole = SubqueryValue(NOWHERE, parameters.subquery(match.parameter))
        return BinaryOperation(NOWHERE, "&&", self._writer.value(array), whole)

    def filters(self) -> Iterator[Node]:
        """The filters of the rows."""
        for test in self._rows.table.filters:
            numbers = {part.source for part in walk(test) if isinstance(part, ColumnValue) and part.source > 0}
            yield self._element_test(test, numbers.pop()) if numbers else self._writer.condition(test)

    def _element_test(self, test: Expression, number: int) -> Node:
        """That a test holds for an element of an array of the row (a parameter that is matched twice: reference, 8.2)."""
        array = self._writer.value(self._rows.table.expansions[number - 1])
        elements = FromItem(NOWHERE, None, function=FunctionCall(NOWHERE, ("json_each",), (array,)))
        writer = ExpressionWriter("json_each", False, self._writer.fixed_json, self._writer.remarks)
        condition = writer.condition(move_sources(test, {number: 0}))
        select = _select((ResultColumn(_ONE, None, NOWHERE),), (elements,), (condition,))
        return InTest(NOWHERE, _ONE, select, negated=False)
