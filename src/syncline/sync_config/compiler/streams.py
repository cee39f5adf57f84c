"""Compiles the streams of a document: queries to variants, equal ones merged, bucket sources and lookups shared.

Names of bucket sources are `stream|n`; n counts the variants of a stream in order, also those that were merged away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from syncline.sync_config.compiler.binding import Cte
from syncline.sync_config.compiler.expressions import Expression, RequestValue, walk
from syncline.sync_config.compiler.model import (
    BucketSource,
    CompiledStream,
    ElementTable,
    Origins,
    Querier,
    QueryOrigin,
    RequestSource,
    RowQuery,
    StageOutput,
)
from syncline.sync_config.compiler.queries import QueryCompiler
from syncline.sync_config.document import ConfigDocument, StreamDocument
from syncline.sync_config.plan import StreamDefinition
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.schema import SourceSchema
from syncline.sync_config.source_text import ProblemList
from syncline.sync_config.sqlite_expressions import ExpressionEngine

__all__ = ["BUCKET_SOURCES_MAX", "compile_streams"]

BUCKET_SOURCES_MAX = 100  # bucket sources of one stream (sync config reference, 3.1)


def compile_streams(
    document: ConfigDocument,
    problems: ProblemList,
    *,
    schema: SourceSchema | None = None,
    engine: ExpressionEngine | None = None,
) -> tuple[list[CompiledStream], dict[str, BucketSource]]:
    """All streams with their queriers, and all bucket sources by name. Problems are added to `problems`."""
    compiler = _StreamsCompiler(problems, QueryCompiler(problems, document.options, schema, engine))
    global_ctes = compiler.read_ctes(document.ctes)
    streams = [compiler.compile(stream, global_ctes) for stream in document.streams]
    compiler.warn_of_unused(global_ctes)
    return streams, compiler.bucket_sources


class _StreamsCompiler:
    def __init__(self, problems: ProblemList, queries: QueryCompiler) -> None:
        self._problems = problems
        self._queries = queries
        self._names_by_queries: dict[frozenset[RowQuery], str] = {}
        self.bucket_sources: dict[str, BucketSource] = {}

    def read_ctes(self, texts: Mapping[str, QueryText]) -> dict[str, Cte]:
        """The named subqueries."""
        return {name: self._queries.read_cte(name, text) for name, text in texts.items()}

    def warn_of_unused(self, ctes: Mapping[str, Cte]) -> None:
        """Report named subqueries that no query uses."""
        for name, cte in ctes.items():
            if not cte.used:
                message = f'The subquery "{name}" is not used'
                self._problems.warn(ProblemKind.UNUSED_CTE, message, cte.text.span())

    def compile(self, stream: StreamDocument, global_ctes: Mapping[str, Cte]) -> CompiledStream:
        """One stream with all its queries."""
        own_ctes = self.read_ctes(stream.ctes)
        ctes = {**global_ctes, **own_ctes}
        variants: list[tuple[RowQuery, Querier, QueryText]] = []
        for text in stream.queries:
            found = self._queries.compile(text, ctes)
            variants += [(query, querier, text) for query, querier in found]
        self.warn_of_unused(own_ctes)
        definition = StreamDefinition(stream.name, stream.auto_subscribe, stream.priority)
        merged: dict[Querier, tuple[int, dict[RowQuery, None], QueryText]] = {}
        for number, (query, querier, text) in enumerate(variants):
            merged.setdefault(querier, (number, {}, text))[1][query] = None
        if len(merged) > BUCKET_SOURCES_MAX:
            self._problems.fatal(
                ProblemKind.TOO_MANY_BUCKET_SOURCES,
                f'The stream "{stream.name}" has more than {BUCKET_SOURCES_MAX} bucket sources',
                stream.queries[0].span(),
                hint="Split it into several streams.",
            )
        queriers: list[tuple[Querier, str]] = []
        for querier, (number, queries, text) in merged.items():
            queriers.append((querier, self._bucket_source(f"{stream.name}|{number}", tuple(queries))))
            if not stream.accept_dangerous and _rests_on_client_only(querier):
                self._problems.warn(
                    ProblemKind.UNAUTHENTICATED_PARAMETERS,
                    "This query is filtered by values of the client alone, which it may choose freely",
                    text.span(),
                    hint="Add a condition on auth.…, or set accept_potentially_dangerous_queries: true.",
                )
        return CompiledStream(definition, tuple(queriers), self._origins(stream, variants, dict(queriers)))

    def _origins(
        self,
        stream: StreamDocument,
        variants: Iterable[tuple[RowQuery, Querier, QueryText]],
        buckets: Mapping[Querier, str],
    ) -> Origins:
        """Which query each part comes from; `buckets` are the names of the bucket sources."""
        origins = Origins()
        numbers = {text.places: number for number, text in enumerate(stream.queries, 1)}
        for query, querier, text in variants:
            label = f"query {numbers[text.places]}" if len(stream.queries) > 1 else "query"
            line = self._problems.source.line_of(text.start)
            origin = QueryOrigin(stream.name, label, text.sql.strip(), line)
            origins.add_querier(querier, origin)
            origins.add_rows(buckets[querier], query, origin)
        return origins

    def _bucket_source(self, name: str, queries: tuple[RowQuery, ...]) -> str:
        """The name of the bucket source with exactly these queries: an earlier one's, or `name` for a new one."""
        shared = self._names_by_queries.setdefault(frozenset(queries), name)
        if shared == name:
            self.bucket_sources[name] = BucketSource(name, queries)
        return shared


def _request_expressions(querier: Querier) -> list[Expression]:
    """Expressions that bucket parameters are made from; of a querier without parameters, its request filters."""
    if not querier.instantiation:
        return list(querier.request_filters)
    sources = [source for alternatives in querier.instantiation for source in alternatives]
    found = [source.value for source in sources if isinstance(source, RequestSource)]
    for group in {source.group for source in sources if isinstance(source, StageOutput)}:
        for stage in querier.groups[group]:
            found += [source.value for source in stage.keys if isinstance(source, RequestSource)]
            if isinstance(stage.table, ElementTable):
                found.append(stage.table.argument)
    return found


def _rests_on_client_only(querier: Querier) -> bool:
    scopes = {
        part.scope
        for expression in _request_expressions(querier)
        for part in walk(expression)
        if isinstance(part, RequestValue)
    }
    return bool(scopes) and "auth" not in scopes
