"""`json_each` over a row: how many rows one source row may become."""

from __future__ import annotations

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.json_values import elements
from syncline.sync_config.evaluation.values import EvaluationError

__all__ = ["EXPANDED_ROWS_MAX", "expand"]

EXPANDED_ROWS_MAX = (
    10_000  # rows that one becomes: several calls of json_each multiply, and each row is one more to keep in step
)


def expand(argument: SyncValue, rows: int) -> list[tuple[SyncValue, SyncValue]]:
    """Keys and values of one more `json_each`, where those before have made `rows` rows of one. Raises EvaluationError."""
    found = elements(argument)
    if rows * len(found) > EXPANDED_ROWS_MAX:
        raise EvaluationError(f"json_each makes more than {EXPANDED_ROWS_MAX} rows of one")
    return found
