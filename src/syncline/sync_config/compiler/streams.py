"""Compiles the streams of a document: queries to variants, equal ones merged, bucket sources and lookups shared.

Names of bucket sources are `stream|n`; n counts the variants of a stream in order, also those that were merged away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from syncline.sync_config.compiler.binding import QueryBinder
from syncline.sync_config.compiler.conditions import variants_of
from syncline.sync_config.compiler.expressions import Expression, RequestValue, walk
from syncline.sync_config.compiler.model import (
    BucketSource,
    CompiledStream,
    ElementTable,
    Querier,
    RequestSource,
    RowQuery,
    StageOutput,
)
from syncline.sync_config.compiler.result_columns import result_columns
from syncline.sync_config.compiler.variants import compile_variant
from syncline.sync_config.document import ConfigDocument, QueryText, StreamDocument
from syncline.sync_config.plan import StreamDefinition
from syncline.sync_config.source_text import ProblemList
from syncline.sync_config.sql.parser import parse_query
from syncline.sync_config.sql.syntax import Select
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["BUCKET_SOURCES_MAX", "compile_streams"]

BUCKET_SOURCES_MAX = 100  # bucket sources of one stream (sync config reference, 3.1)

_T = TypeVar("_T")


def compile_streams(
    document: ConfigDocument, problems: ProblemList
) -> tuple[list[CompiledStream], dict[str, BucketSource]]:
    """All streams with their queriers, and all bucket sources by name. Problems are added to `problems`."""
    compiler = _StreamsCompiler(problems)
    global_ctes = compiler.parse_ctes(document.ctes)
    streams = [compiler.compile(stream, global_ctes) for stream in document.streams]
    compiler.warn_of_unused(document.ctes)
    return streams, compiler.bucket_sources


class _StreamsCompiler:
    def __init__(self, problems: ProblemList) -> None:
        self._problems = problems
        self._names_by_queries: dict[frozenset[RowQuery], str] = {}
        self._used_ctes: set[QueryText] = set()
        self.bucket_sources: dict[str, BucketSource] = {}

    def parse_ctes(self, texts: Mapping[str, QueryText]) -> dict[str, tuple[QueryText, Select]]:
        """The named subqueries that could be read; the others are reported."""
        parsed = {name: self._attempt(text, lambda text=text: parse_query(text.sql)) for name, text in texts.items()}
        return {name: (texts[name], select) for name, select in parsed.items() if select is not None}

    def warn_of_unused(self, texts: Mapping[str, QueryText]) -> None:
        """Report named subqueries that no query uses."""
        for name, text in texts.items():
            if text not in self._used_ctes:
                self._problems.warn(f'The subquery "{name}" is not used', text.span())

    def compile(self, stream: StreamDocument, global_ctes: Mapping[str, tuple[QueryText, Select]]) -> CompiledStream:
        """One stream with all its queries."""
        ctes = {**global_ctes, **self.parse_ctes(stream.ctes)}
        variants: list[tuple[RowQuery, Querier, QueryText]] = []
        for text in stream.queries:
            found = self._attempt(text, lambda text=text: self._compile_query(text, ctes))
            variants += [(query, querier, text) for query, querier in found or []]
        self.warn_of_unused(stream.ctes)
        definition = StreamDefinition(stream.name, stream.auto_subscribe, stream.priority)
        merged: dict[Querier, tuple[int, dict[RowQuery, None], QueryText]] = {}
        for number, (query, querier, text) in enumerate(variants):
            merged.setdefault(querier, (number, {}, text))[1][query] = None
        if len(merged) > BUCKET_SOURCES_MAX:
            self._problems.fatal(
                f'The stream "{stream.name}" has more than {BUCKET_SOURCES_MAX} bucket sources', stream.name_span
            )
        queriers: list[tuple[Querier, str]] = []
        for querier, (number, queries, text) in merged.items():
            queriers.append((querier, self._bucket_source(f"{stream.name}|{number}", tuple(queries))))
            if not stream.accept_dangerous and _rests_on_client_only(querier):
                self._problems.warn(
                    "This query is filtered by values of the client alone, which it may choose freely",
                    text.span(),
                    hint="Add a condition on auth.…, or set accept_potentially_dangerous_queries: true.",
                )
        return CompiledStream(definition, tuple(queriers))

    def _bucket_source(self, name: str, queries: tuple[RowQuery, ...]) -> str:
        """The name of the bucket source with exactly these queries: an earlier one's, or `name` for a new one."""
        shared = self._names_by_queries.setdefault(frozenset(queries), name)
        if shared == name:
            self.bucket_sources[name] = BucketSource(name, queries)
        return shared

    def _compile_query(
        self, text: QueryText, ctes: Mapping[str, tuple[QueryText, Select]]
    ) -> list[tuple[RowQuery, Querier]]:
        select = parse_query(text.sql)
        binder = QueryBinder({name: cte for name, (_, cte) in ctes.items()})
        try:
            bound = binder.bind_select(select)
        finally:
            self._used_ctes.update(ctes[name][0] for name in binder.used_ctes)
        if not select.sources:
            raise SqlError("The query selects from no table", select.span, hint="Write SELECT … FROM table.")
        columns = result_columns(bound, binder, text.sql)
        for warning in columns.warnings:
            self._problems.warn(warning.message, text.span(warning.span), hint=warning.hint)
        if len(bound.scope.names) > 1 and columns.table in binder.aliased:
            self._problems.warn(
                "The alias of the selected table is its name on the client",
                text.span(binder.aliased[columns.table]),
                hint="Leave the alias out if the client's table has the name of the source table.",
            )
        variants = variants_of(bound.condition, binder.sources, select.span)
        return [compile_variant(terms, columns, binder.sources) for terms in variants]

    def _attempt(self, text: QueryText, action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except SqlError as exc:
            self._problems.fatal(exc.message, text.span(exc.span), hint=exc.hint)
            return None


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
