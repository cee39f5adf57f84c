"""Tagged values of the corpus: blobs, reals that JSON has no form for, and values as Postgres prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.types import TypeInfo, TypeKind
from syncline.replication.postgres.values import make_converter
from syncline.sync_config.value_format import ValueFormat

__all__ = ["row_value", "typed", "untagged"]

_TYPES = {
    "bool": 16, "bytea": 17, "int8": 20, "int2": 21, "int4": 23, "text": 25, "json": 114, "float4": 700, "float8": 701,
    "varchar": 1043, "date": 1082, "time": 1083, "timestamp": 1114, "timestamptz": 1184, "numeric": 1700, "uuid": 2950,
    "jsonb": 3802,
}  # fmt: skip
_ARRAY = 100_000  # added to a type's id for its array: no built-in id is that high
_ARRAYS = {oid + _ARRAY: TypeInfo(oid + _ARRAY, f"{name}[]", TypeKind.ARRAY, oid) for name, oid in _TYPES.items()}


def row_value(value: Any, values_format: ValueFormat) -> SyncValue:
    """A value of a case's row as the evaluators get it."""
    if not isinstance(value, dict):
        return int(value) if isinstance(value, bool) else value
    tagged: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]  # read from JSON
    if "$blob" in tagged:
        return bytes.fromhex(tagged["$blob"])
    if "$pg" in tagged:
        name, text = str(tagged["$pg"]), tagged["text"]
        oid = _TYPES[name.removesuffix("[]")] + (_ARRAY if name.endswith("[]") else 0)
        return None if text is None else make_converter(oid, _ARRAYS, values_format)(text)
    return float(tagged["$num"])


def untagged(row: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded output row: reals that are not finite are NULL here (design decision 14)."""
    return {column: None if isinstance(value, dict) else value for column, value in row.items()}


def typed(row: dict[str, Any]) -> tuple[tuple[str, str, Any], ...]:
    """An output row as something that can be compared: 1 and 1.0 differ, the order of the columns is free."""
    return tuple(sorted(((name, type(value).__name__, value) for name, value in row.items()), key=repr))
