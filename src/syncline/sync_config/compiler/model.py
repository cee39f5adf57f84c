"""What a config compiles to: row queries and lookup indexes for replication, queriers for connections, bucket sources for both.

In the expressions of one table, source 0 is the table's row and source i its i-th expansion (`json_each` over the row).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from syncline.sync_config.compiler.expressions import Expression
from syncline.sync_config.plan import StreamDefinition, TablePattern

__all__ = [
    "BucketSource",
    "CompiledStream",
    "ElementTable",
    "EventDefinition",
    "EventPayload",
    "LookupIndex",
    "Origins",
    "OutputColumn",
    "Querier",
    "QueryOrigin",
    "RequestSource",
    "RowQuery",
    "RowTable",
    "Stage",
    "StageOutput",
    "ValueSource",
]


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A result column: `name` and `value`, or neither for all columns of the row (`*`).

    `fills_in` is the `*` of bucket definitions: it leaves out columns that begin with `_`, and keeps what earlier columns have set.
    """

    name: str | None
    value: Expression | None
    fills_in: bool = False


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

    @property
    def device_table(self) -> str:
        """The name of the table under which devices have the rows."""
        return self.object_type or self.table.pattern.name

    @property
    def column_names(self) -> frozenset[str] | None:
        """The columns that devices get; None where it is all that a row has."""
        names = {column.name for column in self.columns}
        return None if None in names else frozenset(name for name in names if name is not None)


@dataclass(frozen=True, slots=True)
class EventPayload:
    """What listeners of an event hear of the rows of a table that pass all filters."""

    pattern: TablePattern
    columns: tuple[OutputColumn, ...]
    filters: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """An event of the config (sync config reference, 9): changes of these rows are told to listeners."""

    name: str
    payloads: tuple[EventPayload, ...]


@dataclass(frozen=True, slots=True)
class LookupIndex:
    """A parameter lookup: under the key values of a row stand its output values.

    A NULL key gives no entry; neither does a NULL output, unless `null_outputs` (bucket definitions).
    """

    table: RowTable
    keys: tuple[Expression, ...]
    outputs: tuple[Expression, ...]
    null_outputs: bool = False


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
    In bucket definitions NULL is a value like others (`null_values`), and a parameter query can have a `priority` of its own.
    """

    request_filters: tuple[Expression, ...]
    groups: tuple[tuple[Stage, ...], ...]
    instantiation: tuple[tuple[ValueSource, ...], ...]
    null_values: bool = False
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class BucketSource:
    """A family of buckets: `stream|n`, told apart by their partition values."""

    name: str
    queries: tuple[RowQuery, ...]


@dataclass(frozen=True, slots=True)
class QueryOrigin:
    """A query as it is written: in the stream or bucket definition `definition`, where it is called `label` (`query 2`).

    `line` counts from 1 and is where the query begins in the document.
    """

    definition: str
    label: str
    sql: str
    line: int


@dataclass(slots=True)
class Origins:
    """Which queries of the config the parts of one stream come from, in the order of the document.

    It stands beside the parts and not in them, so that equal queries stay equal. Row queries are kept under the name of the bucket
    source that they fill, because the same one can fill several.
    """

    queriers: dict[Querier, dict[QueryOrigin, None]] = field(default_factory=dict[Querier, dict[QueryOrigin, None]])
    rows: dict[tuple[str, RowQuery], dict[QueryOrigin, None]] = field(
        default_factory=dict[tuple[str, RowQuery], dict[QueryOrigin, None]]
    )

    def add_querier(self, querier: Querier, origin: QueryOrigin) -> None:
        """`origin` says what connections ask."""
        self.queriers.setdefault(querier, {})[origin] = None

    def add_rows(self, bucket: str, query: RowQuery, origin: QueryOrigin) -> None:
        """`origin` says which rows stand in the buckets of the source named `bucket`."""
        self.rows.setdefault((bucket, query), {})[origin] = None


@dataclass(frozen=True, slots=True)
class CompiledStream:
    """A stream with its queriers, each with the name of the bucket source that it opens."""

    definition: StreamDefinition
    queriers: tuple[tuple[Querier, str], ...]
    origins: Origins = field(default_factory=Origins, compare=False)
