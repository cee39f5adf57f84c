"""The result of `explain_row`: where a row stands and why, and which lookups it feeds."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from syncline.sync_config.compiler.model import QueryOrigin
from syncline.sync_config.explain.parts import Condition, Explained, NamedValue, indented, origin_line
from syncline.sync_config.explain.shown_value import short

__all__ = ["LookupPlace", "QueryExplanation", "RowExplanation", "RowLookupExplanation", "RowOutcome", "RowPlace"]


class RowOutcome(enum.StrEnum):
    """What became of a row in one query or lookup."""

    PLACED = "placed"  # it stands in a bucket, or under a key of the lookup
    NO_ELEMENTS = "no_elements"  # a list of the row that the query expands has no elements
    FILTERED_OUT = "filtered_out"  # a condition on the row is false or NULL
    NO_KEY = "no_key"  # a key is NULL, a blob, or no finite number: such rows stand nowhere
    NO_OUTPUT = "no_output"  # (lookups) an output is
    FAILED = "failed"  # an expression could not be evaluated; then the query skips the row altogether


@dataclass(frozen=True, slots=True)
class RowPlace:
    """What became of a row together with one element of each list that the query expands (without such lists: of the row)."""

    outcome: RowOutcome
    reason: str
    elements: tuple[NamedValue, ...]
    filters: tuple[Condition, ...]
    keys: tuple[NamedValue, ...]
    bucket: str | None = None
    object_id: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class QueryExplanation:
    """A row in the buckets of one source. `streams` open them; `buckets` has each bucket once."""

    bucket_source: str
    streams: tuple[str, ...]
    origins: tuple[QueryOrigin, ...]
    object_type: str
    outcome: RowOutcome
    reason: str
    places: tuple[RowPlace, ...]
    buckets: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The query, then what it makes of the row."""
        yield f"{'✓' if self.buckets else '✗'} {origin_line(self.origins, self.bucket_source)}"
        if not self.places:
            yield f"    {self.reason}"
        for place in self.places:
            yield from indented([str(element) for element in place.elements if element not in place.keys], 4)
            yield from indented([str(condition) for condition in place.filters], 4)
            yield from indented([f"key {key}" for key in place.keys], 4)
            if place.bucket is None:
                yield f"    in no bucket: {place.reason}"
            else:
                yield f"    in bucket {place.bucket}"
                yield f"    as {self.object_type} '{place.object_id}': {short(place.data)}"


@dataclass(frozen=True, slots=True)
class LookupPlace:
    """What became of a row, with one element of each expanded list, in a lookup. `entry` is the name in storage."""

    outcome: RowOutcome
    reason: str
    elements: tuple[NamedValue, ...]
    filters: tuple[Condition, ...]
    keys: tuple[NamedValue, ...]
    outputs: tuple[NamedValue, ...]
    entry: str | None = None


@dataclass(frozen=True, slots=True)
class RowLookupExplanation:
    """A row in one parameter lookup: it helps connections of `streams` to find their buckets."""

    lookup: str
    text: str
    streams: tuple[str, ...]
    outcome: RowOutcome
    reason: str
    places: tuple[LookupPlace, ...]

    def lines(self) -> Iterator[str]:
        """The lookup, then what the row adds to it."""
        mark = "✓" if self.outcome is RowOutcome.PLACED else "✗"
        yield f"{mark} {self.text} ({self.lookup}, for {', '.join(self.streams)})"
        if not self.places:
            yield f"    {self.reason}"
        for place in self.places:
            yield from indented([str(condition) for condition in place.filters], 4)
            if place.entry is None:
                yield f"    no entry: {place.reason}"
            else:
                keys = ", ".join(map(str, place.keys)) or "no key"
                outputs = ", ".join(map(str, place.outputs)) or "there is a row"
                yield f"    {keys} → {outputs}"


@dataclass(frozen=True, slots=True)
class RowExplanation(Explained):
    """Everything that a config makes of one row. `missing_columns` are read by queries, but not in the row: they count as NULL."""

    schema: str
    table: str
    bucket_prefix: str
    queries: tuple[QueryExplanation, ...]
    lookups: tuple[RowLookupExplanation, ...]
    missing_columns: tuple[str, ...]

    @property
    def buckets(self) -> tuple[str, ...]:
        """Every bucket that the row stands in, once."""
        return tuple(dict.fromkeys(bucket for query in self.queries for bucket in query.buckets))

    def lines(self) -> Iterator[str]:
        """The explanation as lines of text."""
        count = len(self.buckets)
        yield f"Row of {self.schema}.{self.table}: in {count} bucket{'s' * (count != 1)}"
        if self.missing_columns:
            yield f"  not in the row, so NULL: {', '.join(self.missing_columns)}"
        if not self.queries and not self.lookups:
            yield "  No query of the config reads this table."
        for query in self.queries:
            yield from indented(query.lines())
        if self.lookups:
            yield "  Parameter lookups that it feeds:"
        for lookup in self.lookups:
            yield from indented(lookup.lines(), 4)
