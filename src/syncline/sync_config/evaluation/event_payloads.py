"""What listeners of an event hear of a row (sync config reference, 9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.compiler.model import EventPayload
from syncline.sync_config.evaluation.closures import Environment, closure_of
from syncline.sync_config.evaluation.context import TableContext
from syncline.sync_config.evaluation.table_queries import output_columns
from syncline.sync_config.evaluation.values import truthy

__all__ = ["PayloadFunction", "payload_function"]

PayloadFunction = Callable[[Sequence[SyncValue]], dict[str, SyncValue] | None]
"""From the values of a complete row to its payload; None for a row that the payload's conditions leave out. Raises EvaluationError."""


def payload_function(payload: EventPayload, schema: str, name: str, columns: Sequence[str]) -> PayloadFunction | None:
    """The payload of rows of one source table, whose values come in the order of `columns`; None for a table that is not meant."""
    if not payload.pattern.matches(schema, name):
        return None
    table = TableContext(schema, name, columns, payload.pattern)
    filters = [closure_of(expression, table) for expression in payload.filters]
    outputs = [(column, closure_of(value, table)) for column, value in output_columns(payload.columns, table)]

    def evaluate(row: Sequence[SyncValue]) -> dict[str, SyncValue] | None:
        environment = Environment((row,))
        if not all(truthy(test(environment)) for test in filters):
            return None
        return {column: value(environment) for column, value in outputs}

    return evaluate
