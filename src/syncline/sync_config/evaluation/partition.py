"""Names made of values: the bracketed part of bucket names and lookup names, and the output texts of lookups.

An output text is a JSON array of rows, because one source row can have several (through `json_each`), and each row is an array.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from syncline.protocol.bucket_names import SyncValue, canonical_json
from syncline.sync_config.evaluation.values import EvaluationError

__all__ = ["BucketNames", "decode_outputs", "encode_outputs", "nullable_text", "partition_of_one", "partition_text"]

_encode = msgspec.json.Encoder().encode


def partition_text(values: Sequence[SyncValue]) -> str | None:
    """Canonical JSON of partition values or keys; None where one is NULL, a blob or no finite number: such rows stand nowhere."""
    for value in values:
        if value is None or isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value)):
            return None
    try:
        return canonical_json(values)
    except UnicodeEncodeError:
        raise EvaluationError("A text is not valid Unicode") from None


def nullable_text(values: Sequence[SyncValue]) -> str | None:
    """As `partition_text`, but NULL is a value like others: outputs of lookups and buckets of sync rules (reference, 8.1)."""
    if all(value is None or partition_text((value,)) is not None for value in values):
        return canonical_json(values)
    return None


def partition_of_one(value: SyncValue) -> str | None:
    """`partition_text` of a single value; the common case, a text, in one step."""
    if type(value) is str:
        try:
            return _encode((value,)).decode()
        except UnicodeEncodeError:
            raise EvaluationError("A text is not valid Unicode") from None
    return partition_text((value,))


class BucketNames(dict[SyncValue, str | None]):
    """Names of the buckets with one partition value, by the value: `names[value]`; None where such rows stand nowhere.

    Names for texts are remembered, because the rows of a batch share their keys; others are not, because 10^22 and 1e22 are equal
    as keys but have two names. Make one per batch: it grows by a name for each text.
    """

    def __init__(self, bucket: str) -> None:
        super().__init__()
        self._bucket = bucket

    def __missing__(self, value: SyncValue) -> str | None:
        """Make the name. Raises EvaluationError as `partition_of_one` does."""
        partition = partition_of_one(value)
        name = None if partition is None else self._bucket + partition
        if type(value) is str:
            self[value] = name
        return name


def encode_outputs(rows: Iterable[str]) -> str:
    """The output text of a lookup entry, from the `partition_text` of each of its rows."""
    return f"[{','.join(dict.fromkeys(rows))}]"


def decode_outputs(text: str) -> list[tuple[Any, ...]]:
    """The rows of an output text."""
    return [tuple(row) for row in json.loads(text)]
