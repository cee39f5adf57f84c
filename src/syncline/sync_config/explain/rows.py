"""`explain_row`: what a config makes of one row, step by step, with the plain closures that say what a row contributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.compiled_plan import CompiledPlan
from syncline.sync_config.compiler.expressions import ColumnValue, Expression, walk
from syncline.sync_config.compiler.model import LookupIndex, RowTable
from syncline.sync_config.evaluation.closures import Environment, closure_of
from syncline.sync_config.evaluation.context import TableContext
from syncline.sync_config.evaluation.partition import nullable_text, partition_text
from syncline.sync_config.evaluation.reference import expanded
from syncline.sync_config.evaluation.table_queries import TableLookup, TableQuery
from syncline.sync_config.evaluation.values import EvaluationError, truthy
from syncline.sync_config.explain.parts import Condition, NamedValue
from syncline.sync_config.explain.plan_index import PlanIndex
from syncline.sync_config.explain.readable import lookup_text, source_names, table_sql
from syncline.sync_config.explain.row_explanation import (
    LookupPlace,
    QueryExplanation,
    RowExplanation,
    RowLookupExplanation,
    RowOutcome,
    RowPlace,
)
from syncline.sync_config.explain.shown_value import shown
from syncline.sync_config.explain.sql_text import conjuncts, sql_text
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.row_json import object_id_text, row_json

__all__ = ["SourceTableName", "explain_row"]


class SourceTableName(NamedTuple):
    """A table of the source."""

    schema: str
    name: str


def explain_row(
    plan: CompiledPlan, table: SourceTableName, row: Mapping[str, SyncValue], bucket_prefix: str = ""
) -> RowExplanation:
    """Which buckets a row stands in and why, why not in others, and which lookups it feeds.

    `row` has the values as replication decodes them, by column; a column that is not there counts as NULL. `bucket_prefix` is
    `<version>#` for the names that a running service uses. Errors of expressions are part of the result; nothing is raised.
    """
    index = PlanIndex(plan)
    queries, lookups = plan.table_work(table.schema, table.name, tuple(row), bucket_prefix)
    values = tuple(row.values())
    return RowExplanation(
        table.schema,
        table.name,
        bucket_prefix,
        tuple(_explain_query(query, values, index, bucket_prefix) for query in queries),
        tuple(_explain_lookup(lookup, values, index) for lookup in lookups),
        _missing_columns(queries, lookups, row),
    )


def _missing_columns(
    queries: Sequence[TableQuery], lookups: Sequence[TableLookup], row: Mapping[str, SyncValue]
) -> tuple[str, ...]:
    expressions: list[Expression] = []
    for query in queries:
        expressions += [*query.query.keys, *query.query.table.filters, *query.query.table.expansions]
        expressions += [value for _, value in query.outputs]
    for lookup in lookups:
        table = lookup.index.table
        expressions += [*lookup.index.keys, *lookup.index.outputs, *table.filters, *table.expansions]
    read = (part for expression in expressions for part in walk(expression))
    names = (part.name for part in read if isinstance(part, ColumnValue) and part.source == 0)
    return tuple(dict.fromkeys(name for name in names if name not in row))


class _Reader:
    """Evaluates the expressions of one query or lookup over one row, with its expanded lists."""

    def __init__(self, table: RowTable, context: TableContext) -> None:
        name = table_sql(TablePattern(context.schema, context.name))
        self.names = source_names(name, table.expansions)
        self._table = table
        self._context = context

    def environments(self, row: Sequence[SyncValue]) -> Iterator[Environment]:
        """The row with each element of its expanded lists. Raises EvaluationError."""
        return expanded(
            Environment((row,)), [closure_of(argument, self._context) for argument in self._table.expansions]
        )

    def elements(self, environment: Environment) -> tuple[NamedValue, ...]:
        """The elements that stand beside the row."""
        return tuple(
            NamedValue(f"{name}.value", shown(element[1]))
            for name, element in zip(self.names[1:], environment.rows[1:], strict=True)
        )

    def filters(self, environment: Environment) -> tuple[Condition, ...]:
        """All filters, also those after one that does not pass."""
        parts = (part for expression in self._table.filters for part in conjuncts(expression))
        return tuple(self._condition(part, environment) for part in parts)

    def _condition(self, expression: Expression, environment: Environment) -> Condition:
        sql = sql_text(expression, self.names)
        try:
            value = closure_of(expression, self._context)(environment)
        except EvaluationError as exc:
            return Condition(sql, passed=False, value=None, error=str(exc))
        return Condition(sql, truthy(value), shown(value))

    def values(
        self, expressions: Sequence[Expression], environment: Environment
    ) -> tuple[tuple[NamedValue, ...], list[SyncValue]]:
        """Values to be shown, and as they are. Raises EvaluationError."""
        values = [closure_of(expression, self._context)(environment) for expression in expressions]
        pairs = zip(expressions, values, strict=True)
        return tuple(NamedValue(sql_text(expression, self.names), shown(value)) for expression, value in pairs), values

    def value(self, expression: Expression, environment: Environment) -> SyncValue:
        """One value. Raises EvaluationError."""
        return closure_of(expression, self._context)(environment)


def _stopped_by(filters: Sequence[Condition]) -> tuple[RowOutcome, str] | None:
    """The first filter that does not pass decides; those after it are only shown."""
    for condition in filters:
        if condition.value is None:
            return RowOutcome.FAILED, f"{condition.sql} cannot be evaluated: {condition.error}"
        if not condition.passed:
            return RowOutcome.FILTERED_OUT, f"{condition.sql} is {_truth(condition)}"
    return None


def _truth(condition: Condition) -> str:
    return "NULL" if condition.value is not None and condition.value.text == "NULL" else "false"


def _unusable(values: Sequence[NamedValue]) -> str:
    """Why no name can be made of these values."""
    for named in values:
        if named.value is not None and named.value.type in ("null", "blob"):
            return f"{named.sql} is {'NULL' if named.value.type == 'null' else 'a blob'}"
    return "a key is not a finite number"


def _summary(found: Sequence[tuple[RowOutcome, str]], error: str) -> tuple[RowOutcome, str]:
    """One outcome for all elements: an error anywhere makes the query skip the row; else one place is enough."""
    if error:
        return RowOutcome.FAILED, f"an expanded list cannot be read: {error}"
    if not found:
        return RowOutcome.NO_ELEMENTS, "a list that the query expands has no elements"
    return min(found, key=lambda item: _DECISIVE.index(item[0]))


_DECISIVE = (
    RowOutcome.FAILED,
    RowOutcome.PLACED,
    RowOutcome.NO_OUTPUT,
    RowOutcome.NO_KEY,
    RowOutcome.FILTERED_OUT,
    RowOutcome.NO_ELEMENTS,
)
_ELSEWHERE_FAILED = "the query skips the row, because it fails for another element"


def _explain_query(
    query: TableQuery, row: Sequence[SyncValue], index: PlanIndex, bucket_prefix: str
) -> QueryExplanation:
    reader = _Reader(query.query.table, query.table)
    places: list[RowPlace] = []
    error = ""
    try:
        places = [_row_place(reader, query, here) for here in reader.environments(row)]
    except EvaluationError as exc:
        error = str(exc)
    outcome, reason = _summary([(place.outcome, place.reason) for place in places], error)
    if outcome is RowOutcome.FAILED:
        places = [replace(place, bucket=None, reason=place.reason or _ELSEWHERE_FAILED) for place in places]
    source = query.bucket.removeprefix(bucket_prefix)
    return QueryExplanation(
        source,
        index.streams_of_bucket(source),
        index.origins_of_rows(source, query.query),
        query.object_type,
        outcome,
        reason,
        tuple(places),
        tuple(dict.fromkeys(place.bucket for place in places if place.bucket is not None)),
    )


def _row_place(reader: _Reader, query: TableQuery, here: Environment) -> RowPlace:
    elements, filters = reader.elements(here), reader.filters(here)
    stopped = _stopped_by(filters)
    if stopped is not None:
        return RowPlace(*stopped, elements, filters, ())
    keys: tuple[NamedValue, ...] = ()
    try:
        keys, values = reader.values(query.query.keys, here)
        partition = partition_text(values)
        if partition is None:
            return RowPlace(RowOutcome.NO_KEY, _unusable(keys), elements, filters, keys)
        output = {name: reader.value(value, here) for name, value in query.outputs}
        data = row_json(output)
    except EvaluationError as exc:
        return RowPlace(RowOutcome.FAILED, str(exc), elements, filters, keys)
    identity = object_id_text(output.get("id"))
    return RowPlace(RowOutcome.PLACED, "", elements, filters, keys, query.bucket + partition, identity, data)


def _explain_lookup(lookup: TableLookup, row: Sequence[SyncValue], index: PlanIndex) -> RowLookupExplanation:
    reader = _Reader(lookup.index.table, lookup.table)
    places: list[LookupPlace] = []
    error = ""
    try:
        places = [_lookup_place(reader, lookup, here) for here in reader.environments(row)]
    except EvaluationError as exc:
        error = str(exc)
    outcome, reason = _summary([(place.outcome, place.reason) for place in places], error)
    if outcome is RowOutcome.FAILED:
        places = [replace(place, entry=None, reason=place.reason or _ELSEWHERE_FAILED) for place in places]
    text = str(lookup_text(lookup.index, reader.names[0]))
    streams = index.streams_of_lookup(lookup.index)
    return RowLookupExplanation(lookup.name, text, streams, outcome, reason, tuple(places))


def _lookup_place(reader: _Reader, lookup: TableLookup, here: Environment) -> LookupPlace:
    elements, filters = reader.elements(here), reader.filters(here)
    stopped = _stopped_by(filters)
    if stopped is not None:
        return LookupPlace(*stopped, elements, filters, (), ())
    keys: tuple[NamedValue, ...] = ()
    outputs: tuple[NamedValue, ...] = ()
    try:
        keys, key_values = reader.values(lookup.index.keys, here)
        name = partition_text(key_values)
        outputs, output_values = reader.values(lookup.index.outputs, here)
        found = _output_text(lookup.index, output_values)
    except EvaluationError as exc:
        return LookupPlace(RowOutcome.FAILED, str(exc), elements, filters, keys, outputs)
    if name is None:
        return LookupPlace(RowOutcome.NO_KEY, _unusable(keys), elements, filters, keys, outputs)
    if found is None:
        return LookupPlace(RowOutcome.NO_OUTPUT, _unusable(outputs), elements, filters, keys, outputs)
    return LookupPlace(RowOutcome.PLACED, "", elements, filters, keys, outputs, lookup.name + name)


def _output_text(lookup: LookupIndex, values: Sequence[SyncValue]) -> str | None:
    """Text of the outputs; None where there is no entry. Raises EvaluationError."""
    return nullable_text(values) if lookup.null_outputs else partition_text(values)
