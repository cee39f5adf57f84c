"""What a config compiles to: row queries and lookup indexes for replication, queriers for connections, bucket sources for both.

In the expressions of one table, source 0 is the table's row and source i its i-th expansion (`json_each` over the row).
"""

from __future__ import annotations

from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import Expression
from syncline.sync_config.plan import StreamDefinition, TablePattern

__all__ = [
    "BucketSource",
    "CompiledStream",
    "ElementTable",
    "LookupIndex",
    "OutputColumn",
    "Querier",
    "RequestSource",
    "RowQuery",
    "RowTable",
    "Stage",
    "StageOutput",
    "ValueSource",
]


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A result column: `name` and `value`, or neither for all columns of the row (`*`)."""

    name: str | None
    value: Expression | None


@dataclass(frozen=True, slots=True)
class RowTable:
    """Rows of a source table that pass all filters, multiplied by the elements of each expansion."""

    pattern: TablePattern
    expansions: tuple[Expression, ...]
    filters: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which rows stand in which bucket: `keys` are the partition values. `object_type` None means the table's own name."""

    table: RowTable
    object_type: str | None
    columns: tuple[OutputColumn, ...]
    keys: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class LookupIndex:
    """A parameter lookup: under the key values of a row stand its output values."""

    table: RowTable
    keys: tuple[Expression, ...]
    outputs: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class ElementTable:
    """Elements of `json_each(argument)` over connection data, as source 0; looked up like an index, without storage."""

    argument: Expression
    filters: tuple[Expression, ...]
    keys: tuple[Expression, ...]
    outputs: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class RequestSource:
    """A value that is computed from connection data alone."""

    value: Expression


@dataclass(frozen=True, slots=True)
class StageOutput:
    """A value that an earlier stage of the same group found."""

    group: int
    stage: int
    output: int


ValueSource = RequestSource | StageOutput


@dataclass(frozen=True, slots=True)
class Stage:
    """One lookup: in `table`, under the values of `keys`."""

    table: LookupIndex | ElementTable
    keys: tuple[ValueSource, ...]


@dataclass(frozen=True, slots=True)
class Querier:
    """From a connection to bucket parameters.

    Values of one group of stages stem from the same rows and are only combined as they were found (provenance); different groups
    are combined freely. `instantiation` has for each partition key the sources that must agree on its value.
    """

    request_filters: tuple[Expression, ...]
    groups: tuple[tuple[Stage, ...], ...]
    instantiation: tuple[tuple[ValueSource, ...], ...]


@dataclass(frozen=True, slots=True)
class BucketSource:
    """A family of buckets: `stream|n`, told apart by their partition values."""

    name: str
    queries: tuple[RowQuery, ...]


@dataclass(frozen=True, slots=True)
class CompiledStream:
    """A stream with its queriers, each with the name of the bucket source that it opens."""

    definition: StreamDefinition
    queriers: tuple[tuple[Querier, str], ...]
