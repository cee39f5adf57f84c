"""A querier made ready for connections: its request expressions as closures, its lookups with their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.compiler.model import (
    ElementTable,
    LookupIndex,
    Querier,
    RequestSource,
    Stage,
    StageOutput,
    ValueSource,
)
from syncline.sync_config.evaluation.closures import NO_TABLE, Closure, Environment, closure_of
from syncline.sync_config.evaluation.json_values import elements
from syncline.sync_config.evaluation.partition import nullable_text, partition_text
from syncline.sync_config.evaluation.values import truthy

__all__ = ["ReadyQuerier", "ReadyStage", "ready_querier"]

Row = tuple[Any, ...]
"""Output values of one lookup row."""
ReadyValue = Closure | StageOutput


@dataclass(frozen=True, slots=True)
class ReadyStage:
    """One lookup: `lookup` is the name in storage up to the key values, or None where `find` computes the rows."""

    lookup: str | None
    keys: tuple[ReadyValue, ...]
    find: Callable[[Environment, tuple[SyncValue, ...]], list[Row]]


@dataclass(frozen=True, slots=True)
class ReadyQuerier:
    """See `compiler.model.Querier`."""

    bucket: str  # name of the bucket source
    request_filters: tuple[Closure, ...]
    groups: tuple[tuple[ReadyStage, ...], ...]
    instantiation: tuple[tuple[ReadyValue, ...], ...]
    null_values: bool
    priority: int | None


def ready_querier(querier: Querier, bucket: str, lookup_names: Mapping[LookupIndex, str]) -> ReadyQuerier:
    """Compile a querier's expressions once for all connections."""
    return ReadyQuerier(
        bucket,
        tuple(closure_of(expression, NO_TABLE) for expression in querier.request_filters),
        tuple(tuple(_stage(stage, lookup_names, querier) for stage in group) for group in querier.groups),
        tuple(tuple(_value(source) for source in sources) for sources in querier.instantiation),
        querier.null_values,
        querier.priority,
    )


def _value(source: ValueSource) -> ReadyValue:
    return closure_of(source.value, NO_TABLE) if isinstance(source, RequestSource) else source


def _stage(stage: Stage, lookup_names: Mapping[LookupIndex, str], querier: Querier) -> ReadyStage:
    keys = tuple(_value(source) for source in stage.keys)
    if isinstance(stage.table, ElementTable):
        return ReadyStage(None, keys, _element_finder(stage.table, null_values=querier.null_values))
    return ReadyStage(lookup_names[stage.table], keys, lambda _environment, _keys: [])


def _element_finder(
    table: ElementTable, *, null_values: bool
) -> Callable[[Environment, tuple[SyncValue, ...]], list[Row]]:
    argument = closure_of(table.argument, NO_TABLE)
    filters = [closure_of(expression, NO_TABLE) for expression in table.filters]
    keys = [closure_of(expression, NO_TABLE) for expression in table.keys]
    outputs = [closure_of(expression, NO_TABLE) for expression in table.outputs]
    outputs_text = nullable_text if null_values else partition_text

    def find(environment: Environment, wanted: tuple[SyncValue, ...]) -> list[Row]:
        found: dict[Row, None] = {}
        name = partition_text(wanted)
        if name is None:  # a NULL equals nothing, another NULL neither
            return []
        for element in elements(argument(environment)):
            here = Environment((element,), environment.request)
            values = tuple(output(here) for output in outputs)
            if (
                all(truthy(test(here)) for test in filters)
                and partition_text([key(here) for key in keys]) == name
                and outputs_text(values) is not None
            ):
                found[values] = None
        return list(found)

    return find
