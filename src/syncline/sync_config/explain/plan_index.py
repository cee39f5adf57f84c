"""What a plan has under which name: the way back from bucket sources and lookups to streams and queries."""

from __future__ import annotations

from syncline.sync_config.compiled_plan import CompiledPlan
from syncline.sync_config.compiler.model import BucketSource, LookupIndex, Querier, QueryOrigin, RowQuery

__all__ = ["PlanIndex"]


class PlanIndex:
    """Looks up the parts of one plan."""

    def __init__(self, plan: CompiledPlan) -> None:
        self.streams = {stream.definition.name: stream for stream in plan.compiled_streams}
        self.bucket_sources: dict[str, BucketSource] = {source.name: source for source in plan.bucket_sources}
        self._streams_of_bucket: dict[str, dict[str, None]] = {}
        self._streams_of_lookup: dict[LookupIndex, dict[str, None]] = {}
        for name, stream in self.streams.items():
            for querier, bucket in stream.queriers:
                self._streams_of_bucket.setdefault(bucket, {})[name] = None
                for stage in (stage for group in querier.groups for stage in group):
                    if isinstance(stage.table, LookupIndex):
                        self._streams_of_lookup.setdefault(stage.table, {})[name] = None

    def streams_of_bucket(self, bucket_source: str) -> tuple[str, ...]:
        """The streams that open buckets of a source."""
        return tuple(self._streams_of_bucket.get(bucket_source, ()))

    def streams_of_lookup(self, lookup: LookupIndex) -> tuple[str, ...]:
        """The streams that ask a lookup."""
        return tuple(self._streams_of_lookup.get(lookup, ()))

    def origins_of_rows(self, bucket_source: str, query: RowQuery) -> tuple[QueryOrigin, ...]:
        """The queries that put these rows into buckets of a source."""
        found = (stream.origins.rows.get((bucket_source, query), ()) for stream in self.streams.values())
        return tuple(dict.fromkeys(origin for origins in found for origin in origins))

    def origins_of_querier(self, stream: str, querier: Querier) -> tuple[QueryOrigin, ...]:
        """The queries of a stream that make connections ask this."""
        return tuple(self.streams[stream].origins.queriers.get(querier, ()))
