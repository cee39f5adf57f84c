"""`compile_sync_config`: text to plan. The plan puts replication's and the sync session's questions to the compiled parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncline.errors import SyncConfigError
from syncline.protocol.requests import StreamsRequest
from syncline.sync_config.compiler.legacy.definitions import compile_definitions
from syncline.sync_config.compiler.legacy.events import compile_events
from syncline.sync_config.compiler.model import (
    BucketSource,
    CompiledStream,
    EventDefinition,
    LookupIndex,
    Querier,
    RowQuery,
)
from syncline.sync_config.compiler.streams import compile_streams
from syncline.sync_config.document import parse_document
from syncline.sync_config.evaluation.codegen import generate_evaluator
from syncline.sync_config.evaluation.table_queries import TableLookup, TableQuery, table_lookups, table_queries
from syncline.sync_config.options import ConfigOptions
from syncline.sync_config.plan import (
    CHECKPOINT_EVENTS,
    BucketQuery,
    ConnectionData,
    RowEvaluator,
    StreamDefinition,
    TablePattern,
)
from syncline.sync_config.problems import Problem, ProblemKind
from syncline.sync_config.request_closures import ready_querier
from syncline.sync_config.resolution import ReadyStream, resolve_buckets
from syncline.sync_config.resolution_observer import ResolutionObserver
from syncline.sync_config.schema import SourceSchema
from syncline.sync_config.source_text import ProblemList, SourceText
from syncline.sync_config.sqlite_expressions import ExpressionEngine
from syncline.sync_config.value_format import ValueFormat

__all__ = ["CompiledPlan", "compile_sync_config"]


def compile_sync_config(
    text: str, *, schema: SourceSchema | None = None, engine: ExpressionEngine | None = None
) -> CompiledPlan:
    """Compile a sync config. The same text gives the same names of buckets and lookups each time.

    With `schema`, tables and columns that the source does not have are warned of. `engine` evaluates the expressions of configs with
    `unstable_sqlite_expression_engine`. Raises SyncConfigError with all problems, warnings included, when one of them is fatal.
    """
    problems = ProblemList(SourceText(text))
    document = parse_document(text, problems)
    if document.options.unstable_sqlite_expression_engine and engine is None and not problems.any_fatal:
        message = "unstable_sqlite_expression_engine is on, and there is no engine here"
        hint = "Hand in an engine (syncline.storage.sqlite.expression_engine), or leave the option out."
        problems.fatal(ProblemKind.ENGINE_UNAVAILABLE, message, (0, 0), hint=hint)
    streams, bucket_sources = compile_streams(document, problems, schema=schema, engine=engine)
    definitions, definition_sources = compile_definitions(document, problems, schema=schema)
    events = compile_events(document, problems)
    if problems.any_fatal:
        raise SyncConfigError(problems.in_order())
    return CompiledPlan(
        document.options,
        [*streams, *definitions],
        {**bucket_sources, **definition_sources},
        problems.in_order(),
        events=events,
    )


class CompiledPlan:
    """A compiled sync config; see `plan.SyncPlan` for the contract."""

    def __init__(
        self,
        options: ConfigOptions,
        streams: Sequence[CompiledStream],
        bucket_sources: dict[str, BucketSource],
        warnings: Sequence[Problem],
        *,
        events: Sequence[EventDefinition] = (),
    ) -> None:
        self.options = options
        self.events = tuple(events)
        self.has_custom_write_checkpoints = any(event.name in CHECKPOINT_EVENTS for event in self.events)
        self._warnings = tuple(warnings)
        self._bucket_sources = tuple(bucket_sources.values())
        self._lookups = _lookup_names(streams)
        self._compiled = tuple(streams)
        self._definitions = tuple(stream.definition for stream in streams)
        self._streams = tuple(
            ReadyStream(
                stream.definition,
                tuple(ready_querier(querier, bucket, self._lookups) for querier, bucket in stream.queriers),
            )
            for stream in streams
        )

    @property
    def streams(self) -> tuple[StreamDefinition, ...]:
        """All streams in config order."""
        return self._definitions

    @property
    def value_format(self) -> ValueFormat:
        """How values of the source look in synced rows."""
        return self.options.value_format

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems that do not keep the config from being used."""
        return self._warnings

    @property
    def table_patterns(self) -> tuple[TablePattern, ...]:
        """The source tables that replication has to follow, each once."""
        rows = [query.table.pattern for source in self._bucket_sources for query in source.queries]
        return tuple(dict.fromkeys([*rows, *(index.table.pattern for index in self._lookups)]))

    def row_evaluator(self, schema: str, name: str, columns: Sequence[str], bucket_prefix: str) -> RowEvaluator:
        """The evaluator for rows of one source table whose values come in the order of `columns`."""
        queries, lookups = self.table_work(schema, name, columns, bucket_prefix)
        return generate_evaluator(queries, lookups, len(columns))

    def table_work(
        self, schema: str, name: str, columns: Sequence[str], bucket_prefix: str
    ) -> tuple[list[TableQuery], list[TableLookup]]:
        """All queries and lookups over one source table: what its evaluator is made from."""
        return (
            table_queries(self._bucket_sources, schema, name, tuple(columns), bucket_prefix),
            table_lookups(self._lookups.items(), schema, name, tuple(columns)),
        )

    @property
    def compiled_streams(self) -> tuple[CompiledStream, ...]:
        """What the streams were compiled to, in config order, for explanations."""
        return self._compiled

    def stream_queries(self) -> Iterator[tuple[CompiledStream, Querier, RowQuery]]:
        """Every stream with every querier of it, and every query of the bucket source which that opens."""
        queries = {source.name: source.queries for source in self._bucket_sources}
        for stream in self._compiled:
            for querier, bucket in stream.queriers:
                for query in queries[bucket]:
                    yield stream, querier, query

    @property
    def bucket_sources(self) -> tuple[BucketSource, ...]:
        """All bucket sources, in the order of their first use."""
        return self._bucket_sources

    def query_buckets(
        self,
        connection: ConnectionData,
        streams: StreamsRequest | None,
        bucket_prefix: str,
        *,
        buckets_max: int,
        parameter_results_max: int,
        observer: ResolutionObserver | None = None,
    ) -> BucketQuery:
        """Start working out the buckets of a connection; `observer` is told of every step."""
        return resolve_buckets(
            self._streams,
            connection,
            streams,
            bucket_prefix,
            buckets_max=buckets_max,
            parameter_results_max=parameter_results_max,
            observer=observer,
        )


def _lookup_names(streams: Sequence[CompiledStream]) -> dict[LookupIndex, str]:
    """Every lookup index once, named by the order of its first use."""
    names: dict[LookupIndex, str] = {}
    for stream in streams:
        for querier, _ in stream.queriers:
            for group in querier.groups:
                for stage in group:
                    if isinstance(stage.table, LookupIndex):
                        names.setdefault(stage.table, f"lookup:{len(names)}")
    return names
