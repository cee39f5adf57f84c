"""The streams that apps subscribe to, and what their parameters are compared with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from syncline.cli.schema_generation.expression_types import value_type
from syncline.cli.schema_generation.model import ANY_SCALAR, ClientStream, StreamParameter, ValueTypes
from syncline.cli.schema_generation.source_columns import SourceColumn
from syncline.sync_config.compiler.expressions import Apply, Expression, Literal, RequestValue, walk
from syncline.sync_config.compiler.model import (
    BucketSource,
    CompiledStream,
    ElementTable,
    Querier,
    RequestSource,
    RowQuery,
    Stage,
    ValueSource,
)
from syncline.sync_config.plan import TablePattern

__all__ = ["client_streams"]

ColumnsOf = Callable[[TablePattern], Mapping[str, SourceColumn]]
_READS_A_MEMBER = frozenset({"->>", "->> unfixed", "->", "-> unfixed", "json_extract", "json_extract unfixed"})


def client_streams(
    streams: Sequence[CompiledStream], sources: Sequence[BucketSource], columns_of: ColumnsOf
) -> tuple[ClientStream, ...]:
    """All streams that no device is subscribed to by itself, in the order of the config.

    A parameter that is compared with a value of a row has that value's types; one that is used in any other way can have any. They
    stand in the order in which the queries name them.
    """
    queries = {source.name: source.queries for source in sources}
    found: list[ClientStream] = []
    for stream in streams:
        if stream.definition.auto_subscribe:
            continue
        uses = _Uses()
        for querier, bucket in stream.queriers:
            uses.add_querier(querier, queries[bucket], columns_of)
        found.append(ClientStream(stream.definition.name, uses.in_order(_sql_of(stream))))
    return tuple(found)


def _sql_of(stream: CompiledStream) -> str:
    """All queries of a stream, as they are written, in their order."""
    origins = dict.fromkeys(origin for found in stream.origins.queriers.values() for origin in found)
    return "\n".join(origin.sql for origin in sorted(origins, key=lambda origin: origin.line))


@dataclass(slots=True)
class _Uses:
    """The parameters that were found, with what they are compared with."""

    types: dict[str, ValueTypes] = field(default_factory=dict[str, ValueTypes])
    lists: set[str] = field(default_factory=set[str])

    def add_querier(self, querier: Querier, queries: Sequence[RowQuery], columns_of: ColumnsOf) -> None:
        """All parameters of one querier; `queries` are those of the bucket source that it opens."""
        for condition in querier.request_filters:
            self._add_nested(condition)
        for number, sources in enumerate(querier.instantiation):
            keys = [(query.keys[number], columns_of(query.table.pattern)) for query in queries]
            for source in sources:
                self._add_compared(source, keys)
        for stage in (stage for group in querier.groups for stage in group):
            self._add_stage(stage, columns_of)

    def _add_stage(self, stage: Stage, columns_of: ColumnsOf) -> None:
        if isinstance(stage.table, ElementTable):
            name = _parameter(stage.table.argument)
            if name is None:
                self._add_nested(stage.table.argument)
            else:
                self._add(name, ValueTypes.TEXT)
                self.lists.add(name)
            for condition in stage.table.filters:
                self._add_nested(condition)
            return
        columns = columns_of(stage.table.table.pattern)
        for key, source in zip(stage.table.keys, stage.keys, strict=True):
            self._add_compared(source, [(key, columns)])

    def _add_compared(self, source: ValueSource, keys: Sequence[tuple[Expression, Mapping[str, SourceColumn]]]) -> None:
        if not isinstance(source, RequestSource):
            return
        name = _parameter(source.value)
        if name is None:
            self._add_nested(source.value)
            return
        for key, columns in keys:
            self._add(name, value_type(key, columns).types)

    def _add_nested(self, expression: Expression) -> None:
        """Parameters inside of an expression: nothing says what they have to be."""
        for name in filter(None, map(_parameter, walk(expression))):
            self._add(name, ANY_SCALAR)

    def _add(self, name: str, types: ValueTypes) -> None:
        self.types[name] = self.types.get(name, ValueTypes(0)) | types

    def in_order(self, sql: str) -> tuple[StreamParameter, ...]:
        """As the queries name them."""
        names = sorted(self.types, key=lambda name: next(_places(sql, name), len(sql)))
        return tuple(StreamParameter(name, self.types[name], name in self.lists) for name in names)


def _places(sql: str, name: str) -> Iterator[int]:
    for quoted in (f"'{name}'", f"'$.{name}'", f'"{name}"'):
        place = sql.find(quoted)
        if place >= 0:
            yield place


def _parameter(expression: Expression) -> str | None:
    """The name that `subscription.parameter('name')` or `subscription.parameters() ->> 'name'` reads; None for anything else."""
    match expression:
        case RequestValue(scope="subscription", key=Literal(value=str() as name)):
            return name
        case Apply(
            name=operator, arguments=(RequestValue(scope="subscription", key=None), Literal(value=str() as path))
        ) if operator in _READS_A_MEMBER:
            return path.removeprefix("$.")
        case _:
            return None
