"""Compiles one query of a stream: text to row queries and queriers, one pair for each variant. All its problems are reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from syncline.sync_config.compiler.binding import Cte, QueryBinder
from syncline.sync_config.compiler.conditions import variants_of
from syncline.sync_config.compiler.engine_rewriting import EngineRewriter
from syncline.sync_config.compiler.model import Querier, RowQuery
from syncline.sync_config.compiler.result_columns import result_columns
from syncline.sync_config.compiler.schema_checks import ColumnReference, TableReference, check_references
from syncline.sync_config.compiler.sources import BindingBudget, Sources, TableSource
from syncline.sync_config.compiler.variants import compile_variant
from syncline.sync_config.options import ConfigOptions
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.schema import SourceSchema
from syncline.sync_config.source_text import ProblemList
from syncline.sync_config.sql.parser import parse_query
from syncline.sync_config.sql.syntax import Select, Star
from syncline.sync_config.sql.tokens import SqlError
from syncline.sync_config.sqlite_expressions import ExpressionEngine

__all__ = ["QueryCompiler"]


class QueryCompiler:
    """Compiles queries of one document."""

    def __init__(
        self,
        problems: ProblemList,
        options: ConfigOptions,
        schema: SourceSchema | None,
        engine: ExpressionEngine | None = None,
    ) -> None:
        self._problems = problems
        self._options = options
        self._schema = schema
        self._budget = BindingBudget()
        self._rewriter: EngineRewriter | None = None
        if options.unstable_sqlite_expression_engine and engine is not None:
            self._rewriter = EngineRewriter(engine)

    def compile(self, text: QueryText, ctes: Mapping[str, Cte]) -> list[tuple[RowQuery, Querier]]:
        """The variants of a query; empty where it has problems."""
        binder = self._binder(text, ctes)
        found = binder.attempt(lambda: self._variants(text, binder))
        self._warn(text, binder.sources)
        return [] if binder.broken or not found else found[0]

    def read_cte(self, name: str, text: QueryText) -> Cte:
        """Read a named subquery, and check it by itself: it sees no other (reference 1.2)."""
        binder = self._binder(text, {})
        found = binder.attempt(lambda: self._checked_cte(text, binder))
        self._warn(text, binder.sources)
        if self._schema is not None and any(table == name for _, table in self._schema.tables):
            message = f'The subquery "{name}" has the name of a table, and stands in its place'
            hint = "Give it another name, or write schema.table for the table."
            self._problems.warn(ProblemKind.SHADOWING_CTE, message, text.span(), hint=hint)
        return Cte(text, None if binder.broken or not found else found[0])

    def _binder(self, text: QueryText, ctes: Mapping[str, Cte]) -> QueryBinder:
        def report(problem: SqlError) -> None:
            self._problems.fatal(problem.kind, problem.message, text.span(problem.span), hint=problem.hint)

        return QueryBinder(ctes, report, fixed_json=self._options.fixed_json_extract, budget=self._budget)

    def _variants(self, text: QueryText, binder: QueryBinder) -> list[tuple[RowQuery, Querier]]:
        select = parse_query(text.sql, binder.report)
        bound = binder.bind_query(select)
        if not select.sources:
            hint = "Write SELECT … FROM table."
            raise SqlError("The query selects from no table", select.span, kind=ProblemKind.NO_TABLE_COLUMN, hint=hint)
        if len(bound.scope.names) < len(select.sources):
            return []
        columns = result_columns(bound, binder, text.sql)
        if binder.broken:
            return []
        if len(bound.scope.names) > 1 and columns.table in binder.aliased:
            self._problems.warn(
                ProblemKind.ALIAS_ON_JOINED_TABLE,
                "The alias of the selected table is its name on the client",
                text.span(binder.aliased[columns.table]),
                hint="Leave the alias out if the client's table has the name of the source table.",
            )
        variants = variants_of(bound.condition, binder.sources, select.span)
        compiled = [compile_variant(terms, columns, binder.sources) for terms in variants]
        if self._rewriter is None:
            return compiled
        return [(self._rewriter.row_query(query), self._rewriter.querier(querier)) for query, querier in compiled]

    def _checked_cte(self, text: QueryText, binder: QueryBinder) -> Select:
        select = parse_query(text.sql, binder.report)
        for column in select.columns:
            if isinstance(column.expression, Star):
                hint = "Name the columns."
                raise SqlError(
                    "`*` is not supported in a subquery", column.span, kind=ProblemKind.STAR_IN_SUBQUERY, hint=hint
                )
        bound = binder.bind_query(select)
        if not binder.broken:
            for column in select.columns:
                binder.attempt(lambda column=column: binder.bind_value(column.expression, bound.scope))
        return select

    # Warnings

    def _warn(self, text: QueryText, sources: Sources) -> None:
        for warning in sources.warnings:
            self._problems.warn(warning.kind, warning.message, text.span(warning.span), hint=warning.hint)
        if self._schema is not None:
            check_references(_references(text, sources), self._schema, self._problems)


def _references(text: QueryText, sources: Sources) -> Iterator[TableReference]:
    """The tables of a query and the columns that it names, with their places in the document."""
    for number, span in sources.table_spans.items():
        source = sources[number]
        if isinstance(source, TableSource):
            uses = dict.fromkeys(use for use in sources.column_uses if use.source == number)
            columns = tuple(ColumnReference(use.column, text.span(use.span)) for use in uses)
            yield TableReference(source.pattern, text.span(span), columns)
