"""Compiles the bucket definitions of a document: each to a stream that everybody is subscribed to, and one bucket source."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from syncline.sync_config.compiler.legacy.data_queries import bind_table_select, compile_data_query
from syncline.sync_config.compiler.legacy.names import Names, Parameters
from syncline.sync_config.compiler.legacy.parameter_queries import (
    ParameterQuery,
    bind_parameter_source,
    compile_parameter_query,
)
from syncline.sync_config.compiler.legacy.reading import folded_names, read_query, source_of
from syncline.sync_config.compiler.legacy.scalars import LegacyScalars
from syncline.sync_config.compiler.model import (
    BucketSource,
    CompiledStream,
    Origins,
    Querier,
    QueryOrigin,
    RowQuery,
)
from syncline.sync_config.compiler.schema_checks import ColumnReference, TableReference, check_references
from syncline.sync_config.document import ConfigDocument
from syncline.sync_config.document.model import LOWEST_PRIORITY, DefinitionDocument
from syncline.sync_config.plan import StreamDefinition
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.schema import SourceSchema
from syncline.sync_config.source_text import ProblemList
from syncline.sync_config.sql.syntax import Select
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["compile_definitions"]

_T = TypeVar("_T")

_EVERYBODY = Querier((), (), (), null_values=True)
"""Of a definition without parameter queries: one bucket, for each connection."""


def compile_definitions(
    document: ConfigDocument, problems: ProblemList, *, schema: SourceSchema | None = None
) -> tuple[list[CompiledStream], dict[str, BucketSource]]:
    """All bucket definitions, as streams that are subscribed by default, and their bucket sources by name.

    Problems are added to `problems`; with `schema`, also for tables and columns that the source does not have.
    """
    queries = _QueryCompiler(problems, fixed_json=document.options.fixed_json_extract)
    compiled = [_DefinitionCompiler(definition, queries, problems).compile() for definition in document.definitions]
    if schema is not None:
        check_references(queries.references, schema, problems)
    return [stream for stream, _ in compiled], {source.name: source for _, source in compiled}


class _QueryCompiler:
    """Compiles single queries; one that cannot be compiled is reported, and gives None."""

    def __init__(self, problems: ProblemList, *, fixed_json: bool) -> None:
        self._problems = problems
        self._fixed_json = fixed_json
        self.references: list[TableReference] = []

    def parameter_query(self, text: QueryText) -> ParameterQuery | None:
        """One entry of `parameters`."""

        def compile_it() -> ParameterQuery:
            select = read_query(text.sql)
            names = bind_parameter_source(select)
            query = compile_parameter_query(select, names, LegacyScalars(names, fixed_json=self._fixed_json))
            self._note(text, select, names, with_aliases=True)
            return query

        return self._attempt(text, compile_it)

    def data_query(self, text: QueryText, parameters: tuple[str, ...] | None) -> list[RowQuery]:
        """One entry of `data`; `parameters` None where they are not known."""

        def compile_it() -> list[RowQuery]:
            select = read_query(text.sql)
            table = bind_table_select(select, Parameters.BUCKET, fixed_json=self._fixed_json)
            queries = compile_data_query(select, table, parameters)
            self._note(text, select, table.names, with_aliases=False)
            return queries

        return self._attempt(text, compile_it) or []

    def _note(self, text: QueryText, select: Select, names: Names, *, with_aliases: bool) -> None:
        """Keep what the query reads, and warn of names that may be meant otherwise."""
        for name, span in folded_names(text.sql, with_aliases=with_aliases):
            self._problems.warn(
                ProblemKind.FOLDED_IDENTIFIER,
                f"The name {name} is read as {name.lower()}",
                text.span(span),
                hint=f'Write "{name}" in quotes if the upper case letters belong to it.',
            )
        source = source_of(select)
        if source is not None and names.pattern is not None:
            columns = tuple(ColumnReference(column.name, text.span(column.span)) for column in names.columns_read)
            self.references.append(TableReference(names.pattern, text.span(source.span), columns))

    def _attempt(self, text: QueryText, action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except SqlError as exc:
            self._problems.fatal(exc.kind, exc.message, text.span(exc.span), hint=exc.hint)
            return None


class _DefinitionCompiler:
    """Compiles one definition."""

    def __init__(self, definition: DefinitionDocument, queries: _QueryCompiler, problems: ProblemList) -> None:
        self._definition = definition
        self._queries = queries
        self._problems = problems
        self._origins = Origins()

    def compile(self) -> tuple[CompiledStream, BucketSource]:
        """The definition as a stream, and its bucket source."""
        name, priority = self._definition.name, self._definition.priority
        queriers, parameters = self._queriers()
        rows: dict[RowQuery, None] = {}
        for number, text in enumerate(self._definition.data, 1):
            for query in self._queries.data_query(text, parameters):
                rows[query] = None
                self._origins.add_rows(name, query, self._origin(text, f"data query {number}"))
        stream = StreamDefinition(name, auto_subscribe=True, priority=LOWEST_PRIORITY if priority is None else priority)
        compiled = CompiledStream(stream, tuple((querier, name) for querier in queriers), self._origins)
        return compiled, BucketSource(name, tuple(rows))

    def _queriers(self) -> tuple[list[Querier], tuple[str, ...] | None]:
        """The queriers of all parameter queries, and the names of the parameters; None where these are not certain."""
        if not self._definition.parameters:
            return [_EVERYBODY], ()
        queriers: list[Querier] = []
        names: tuple[str, ...] | None = None
        all_read = True
        for number, text in enumerate(self._definition.parameters, 1):
            query = self._queries.parameter_query(text)
            if query is None:
                all_read = False
                continue
            names = query.names if names is None else names
            if not self._check(query, names, text):
                continue
            for querier in query.queriers(names):
                queriers.append(querier)
                self._origins.add_querier(querier, self._origin(text, f"parameter query {number}"))
        return queriers, names if all_read else None

    def _check(self, query: ParameterQuery, names: tuple[str, ...], text: QueryText) -> bool:
        """Report what is wrong with a parameter query in this definition; False where it has other parameters than the first."""
        if query.priority is not None and self._definition.priority is not None:
            message = "The priority is given twice: by the key priority and by _priority"
            self._problems.fatal(ProblemKind.PRIORITY_TWICE, message, text.span(), hint="Keep one of them.")
        if query.rests_on_client_only and not self._definition.accept_dangerous:
            self._problems.warn(
                ProblemKind.UNAUTHENTICATED_PARAMETERS,
                "This query rests on values of the client alone, which it may choose freely",
                text.span(),
                hint="Use request.user_id() or request.jwt() too, or set accept_potentially_dangerous_queries: true.",
            )
        if set(query.names) == set(names):
            return True
        self._problems.fatal(
            ProblemKind.PARAMETER_SETS_DIFFER,
            "The parameter queries of a definition must select the same parameters",
            text.span(),
            hint=f"The first one selects {', '.join(names) or 'none'}.",
        )
        return False

    def _origin(self, text: QueryText, label: str) -> QueryOrigin:
        line = self._problems.source.line_of(text.start)
        return QueryOrigin(self._definition.name, label, text.sql.strip(), line)
