"""Hands every expression of a compiled query to an expression engine (`unstable_sqlite_expression_engine`)."""

from __future__ import annotations

from dataclasses import replace

from syncline.sync_config.compiler.expressions import Expression
from syncline.sync_config.compiler.model import (
    ElementTable,
    LookupIndex,
    OutputColumn,
    Querier,
    RequestSource,
    RowQuery,
    RowTable,
    Stage,
    ValueSource,
)
from syncline.sync_config.sqlite_expressions import ExpressionEngine, rewrite

__all__ = ["EngineRewriter"]


class EngineRewriter:
    """Rewrites row queries and queriers for one engine. What is equal before is equal after."""

    def __init__(self, engine: ExpressionEngine) -> None:
        self._engine = engine

    def row_query(self, query: RowQuery) -> RowQuery:
        """The query with filters, keys and result columns computed by the engine."""
        columns = tuple(
            column if column.value is None else OutputColumn(column.name, self._value(column.value))
            for column in query.columns
        )
        return replace(query, table=self._table(query.table), columns=columns, keys=self._values(query.keys))

    def querier(self, querier: Querier) -> Querier:
        """The querier with filters, lookup keys and partition values computed by the engine."""
        return replace(
            querier,
            request_filters=self._filters(querier.request_filters),
            groups=tuple(tuple(self._stage(stage) for stage in group) for group in querier.groups),
            instantiation=tuple(tuple(self._source(source) for source in sources) for sources in querier.instantiation),
        )

    def _stage(self, stage: Stage) -> Stage:
        keys = tuple(self._source(source) for source in stage.keys)
        return Stage(self._lookup(stage.table), keys)

    def _lookup(self, lookup: LookupIndex | ElementTable) -> LookupIndex | ElementTable:
        keys, outputs = self._values(lookup.keys), self._values(lookup.outputs)
        if isinstance(lookup, LookupIndex):
            return replace(lookup, table=self._table(lookup.table), keys=keys, outputs=outputs)
        return ElementTable(self._value(lookup.argument), self._filters(lookup.filters), keys, outputs)

    def _table(self, table: RowTable) -> RowTable:
        return RowTable(table.pattern, self._values(table.expansions), self._filters(table.filters))

    def _source(self, source: ValueSource) -> ValueSource:
        return RequestSource(self._value(source.value)) if isinstance(source, RequestSource) else source

    def _values(self, expressions: tuple[Expression, ...]) -> tuple[Expression, ...]:
        return tuple(self._value(expression) for expression in expressions)

    def _filters(self, expressions: tuple[Expression, ...]) -> tuple[Expression, ...]:
        return tuple(rewrite(expression, self._engine, as_filter=True) for expression in expressions)

    def _value(self, expression: Expression) -> Expression:
        return rewrite(expression, self._engine, as_filter=False)
