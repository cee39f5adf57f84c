"""`compile_sync_config`: text to plan. The plan puts replication's and the sync session's questions to the compiled parts."""

from __future__ import annotations

from collections.abc import Sequence

from syncline.errors import SyncConfigError
from syncline.protocol.requests import StreamsRequest
from syncline.sync_config.compiler.model import BucketSource, CompiledStream, LookupIndex
from syncline.sync_config.compiler.streams import compile_streams
from syncline.sync_config.document import parse_document
from syncline.sync_config.evaluation.codegen import generate_evaluator
from syncline.sync_config.evaluation.table_queries import TableLookup, TableQuery, table_lookups, table_queries
from syncline.sync_config.plan import BucketQuery, ConnectionData, RowEvaluator, StreamDefinition, TablePattern
from syncline.sync_config.problems import Problem
from syncline.sync_config.request_closures import ready_querier
from syncline.sync_config.resolution import ReadyStream, resolve_buckets
from syncline.sync_config.source_text import ProblemList, SourceText

__all__ = ["CompiledPlan", "compile_sync_config"]


def compile_sync_config(text: str) -> CompiledPlan:
    """Compile a sync config. The same text gives the same names of buckets and lookups each time.

    Raises SyncConfigError with all problems, warnings included, when one of them is fatal.
    """
    problems = ProblemList(SourceText(text))
    document = parse_document(text, problems)
    streams, bucket_sources = compile_streams(document, problems)
    if problems.any_fatal:
        raise SyncConfigError(problems.in_order())
    return CompiledPlan(streams, bucket_sources, problems.in_order())


class CompiledPlan:
    """A compiled sync config; see `plan.SyncPlan` for the contract."""

    def __init__(
        self, streams: Sequence[CompiledStream], bucket_sources: dict[str, BucketSource], warnings: Sequence[Problem]
    ) -> None:
        self._warnings = tuple(warnings)
        self._bucket_sources = tuple(bucket_sources.values())
        self._lookups = _lookup_names(streams)
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

    def query_buckets(
        self,
        connection: ConnectionData,
        streams: StreamsRequest | None,
        bucket_prefix: str,
        *,
        buckets_max: int,
        parameter_results_max: int,
    ) -> BucketQuery:
        """Start working out the buckets of a connection."""
        return resolve_buckets(
            self._streams,
            connection,
            streams,
            bucket_prefix,
            buckets_max=buckets_max,
            parameter_results_max=parameter_results_max,
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
