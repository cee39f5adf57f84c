"""The plain row evaluator, made of closures. It says what a row contributes; the generated one (`codegen`) only says it faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.compiler.model import RowTable
from syncline.sync_config.evaluation.closures import Closure, Environment, closure_of
from syncline.sync_config.evaluation.context import TableContext
from syncline.sync_config.evaluation.expansion import expand
from syncline.sync_config.evaluation.partition import encode_outputs, nullable_text, partition_text
from syncline.sync_config.evaluation.table_queries import TableLookup, TableQuery
from syncline.sync_config.evaluation.values import EvaluationError, truthy
from syncline.sync_config.plan import EvaluatedLookup, EvaluatedRow, RowEvaluation
from syncline.sync_config.row_json import object_id_text, row_json

__all__ = ["expanded", "reference_evaluator"]


def reference_evaluator(
    queries: Sequence[TableQuery], lookups: Sequence[TableLookup]
) -> Callable[[Sequence[SyncValue]], RowEvaluation]:
    """A function that evaluates one row of a table."""
    row_parts = [_QueryClosures(query) for query in queries]
    lookup_parts = [_LookupClosures(lookup) for lookup in lookups]

    def evaluate(row: Sequence[SyncValue]) -> RowEvaluation:
        found_rows: list[EvaluatedRow] = []
        found_lookups: list[EvaluatedLookup] = []
        errors: list[str] = []
        for part in row_parts:
            try:
                found_rows.extend(dict.fromkeys(part.evaluate(row)))
            except EvaluationError as exc:
                errors.append(f"{part.object_type}: {exc}")
        found_rows = list(dict.fromkeys(found_rows))  # two queries may put it into the same bucket
        for part in lookup_parts:
            try:
                found_lookups.extend(part.evaluate(row))
            except EvaluationError as exc:
                errors.append(f"{part.name}: {exc}")
        return RowEvaluation(found_rows, found_lookups, errors)

    return evaluate


def expanded(environment: Environment, expansions: Sequence[Closure], rows: int = 1) -> Iterator[Environment]:
    """The environment with each combination of elements of `expansions`, one after the other. Raises EvaluationError.

    `rows` is how many rows the expansions before these have made of one.
    """
    if not expansions:
        yield environment
        return
    found = expand(expansions[0](environment), rows)
    for element in found:
        yield from expanded(Environment((*environment.rows, element)), expansions[1:], rows * len(found))


class _TableClosures:
    """The rows of a table that pass its filters, with their expansions."""

    def __init__(self, rows: RowTable, table: TableContext) -> None:
        self._filters = [closure_of(expression, table) for expression in rows.filters]
        self._expansions = [closure_of(expression, table) for expression in rows.expansions]

    def environments(self, row: Sequence[SyncValue]) -> Iterator[Environment]:
        for environment in expanded(Environment((row,)), self._expansions):
            if all(truthy(test(environment)) for test in self._filters):
                yield environment


class _QueryClosures(_TableClosures):
    def __init__(self, query: TableQuery) -> None:
        super().__init__(query.query.table, query.table)
        self.object_type = query.object_type
        self._bucket = query.bucket
        self._keys = [closure_of(key, query.table) for key in query.query.keys]
        self._outputs = [(name, closure_of(value, query.table)) for name, value in query.outputs]

    def evaluate(self, row: Sequence[SyncValue]) -> Iterator[EvaluatedRow]:
        for environment in self.environments(row):
            partition = partition_text([key(environment) for key in self._keys])
            if partition is not None:
                output = {name: value(environment) for name, value in self._outputs}
                object_id = object_id_text(output.get("id"))
                yield EvaluatedRow(self._bucket + partition, self.object_type, object_id, row_json(output))


class _LookupClosures(_TableClosures):
    def __init__(self, lookup: TableLookup) -> None:
        super().__init__(lookup.index.table, lookup.table)
        self.name = lookup.name
        self._keys = [closure_of(key, lookup.table) for key in lookup.index.keys]
        self._outputs = [closure_of(output, lookup.table) for output in lookup.index.outputs]
        self._outputs_text = nullable_text if lookup.index.null_outputs else partition_text

    def evaluate(self, row: Sequence[SyncValue]) -> list[EvaluatedLookup]:
        found: dict[str, list[str]] = {}
        for environment in self.environments(row):
            keys = partition_text([key(environment) for key in self._keys])
            outputs = self._outputs_text([output(environment) for output in self._outputs])
            if keys is not None and outputs is not None:
                found.setdefault(self.name + keys, []).append(outputs)
        return [EvaluatedLookup(name, encode_outputs(outputs)) for name, outputs in found.items()]
