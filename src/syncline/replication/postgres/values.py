"""PURE: Postgres' texts to sync values, in the format that a config asks for (replication reference, 6; sync config reference, 7).

NaN and infinities become NULL, also inside arrays: there is no JSON for them (the reference writes them bare).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.literals import (
    ArrayItem,
    RangeText,
    parse_array,
    parse_composite,
    parse_multirange,
    parse_range,
)
from syncline.replication.postgres.lsn import pad_lsn
from syncline.replication.postgres.timestamps import time_converters
from syncline.replication.postgres.types import TypeInfo, TypeKind
from syncline.sync_config.evaluation.json_values import json_text, quote
from syncline.sync_config.value_format import EDITION_3_FORMAT, ValueFormat

__all__ = ["BOOL", "INTEGER_TYPES", "TEXT_TYPES", "Converter", "as_it_is", "make_converter"]

Converter = Callable[[str], SyncValue]

BOOL = 16
INTEGER_TYPES = frozenset({20, 21, 23, 26})  # int8, int2, int4, oid
FLOAT_TYPES = frozenset({700, 701})
JSON_TYPES = frozenset({114, 3802})
BYTEA, PG_LSN = 17, 3220
TEXT_TYPES = frozenset({25, 1043, 1042, 18, 19, 1700, 790, 2950, 114, 3802, 142, 1186, 869, 650, 829, 774, 1266})
"""Common types whose text is the value already."""

NESTING_MAX = 10  # levels of arrays and composites in each other (PSYNC_S1004)
FIRST_CUSTOM_OID = 16_384  # types that Postgres comes with are below


def make_converter(oid: int, types: Mapping[int, TypeInfo], value_format: ValueFormat = EDITION_3_FORMAT) -> Converter:
    """The function that turns a text of this type into its sync value. A type that is not known passes as text."""
    scalar = _scalar(oid, value_format)
    if scalar is not None:
        return scalar
    info = types.get(oid)
    if info is None or info.kind in (TypeKind.BASE, TypeKind.ENUM):
        return as_it_is
    if not value_format.custom_types and _is_custom(info, types):
        return as_it_is
    if info.kind is TypeKind.DOMAIN:
        return make_converter(info.inner, types, value_format)
    to_json = _JsonMakers(types, value_format).maker(oid, 0)

    def convert(text: str) -> SyncValue:
        if info.kind is TypeKind.RANGE and text == "empty":
            return text
        try:
            return to_json(text)
        except (ValueError, IndexError):
            return text  # not in the form that we know: better the source's text than a lost row

    return convert


def _scalar(oid: int, value_format: ValueFormat) -> Converter | None:
    return _SCALARS.get(oid) or time_converters(value_format).get(oid)


def _is_custom(info: TypeInfo, types: Mapping[int, TypeInfo]) -> bool:
    """Whether `custom_postgres_types` decides over a type: all but arrays of what Postgres comes with and knows by itself."""
    if info.kind is not TypeKind.ARRAY:
        return True
    element = types.get(info.inner)
    return info.inner >= FIRST_CUSTOM_OID or (element is not None and element.kind is not TypeKind.BASE)


class _JsonMakers:
    """Makes the functions that turn a text into JSON, for places inside arrays, composites and ranges."""

    def __init__(self, types: Mapping[int, TypeInfo], value_format: ValueFormat) -> None:
        self._types = types
        self._format = value_format

    def maker(self, oid: int, depth: int) -> Callable[[str], str]:
        """The function for texts of this type."""
        if depth > NESTING_MAX:
            return quote
        if oid in JSON_TYPES:
            return _json_as_it_is
        info = self._types.get(oid)
        scalar = _scalar(oid, self._format)
        if scalar is not None or info is None or info.kind in (TypeKind.BASE, TypeKind.ENUM):
            return _scalar_json(scalar or as_it_is)
        if info.kind is TypeKind.DOMAIN:
            return self.maker(info.inner, depth + 1)
        if info.kind is TypeKind.COMPOSITE:
            return self._composite(info, depth)
        inner = self.maker(info.inner, depth + 1)
        if info.kind is TypeKind.ARRAY:
            return lambda text: _array_json(parse_array(text, info.delimiter), inner)
        if info.kind is TypeKind.RANGE:
            return lambda text: _range_json(parse_range(text), inner)
        subtype = self._types.get(info.inner)
        bound = self.maker(subtype.inner, depth + 2) if subtype is not None else quote
        return lambda text: f"[{','.join(_range_json(item, bound) for item in parse_multirange(text))}]"

    def _composite(self, info: TypeInfo, depth: int) -> Callable[[str], str]:
        makers = [(quote(name), self.maker(type_id, depth + 1)) for name, type_id in info.attributes]

        def make(text: str) -> str:
            values = parse_composite(text)
            pairs = zip(makers, values, strict=True)
            return "{" + ",".join(f"{name}:{'null' if v is None else maker(v)}" for (name, maker), v in pairs) + "}"

        return make


def _scalar_json(scalar: Converter) -> Callable[[str], str]:
    return lambda text: "null" if isinstance(value := scalar(text), bytes) else json_text(value)


def _array_json(items: list[ArrayItem], inner: Callable[[str], str]) -> str:
    parts = [
        "null" if item is None else _array_json(item, inner) if isinstance(item, list) else inner(item)
        for item in items
    ]
    return f"[{','.join(parts)}]"


def _range_json(bounds: RangeText | None, inner: Callable[[str], str]) -> str:
    if bounds is None:
        return '"empty"'
    lower = "null" if bounds.lower is None else inner(bounds.lower)
    upper = "null" if bounds.upper is None else inner(bounds.upper)
    return (
        f'{{"lower":{lower},"upper":{upper},'
        f'"lower_exclusive":{int(bounds.lower_exclusive)},"upper_exclusive":{int(bounds.upper_exclusive)}}}'
    )


def as_it_is(text: str) -> SyncValue:
    """The converter of types whose text is the value; hot loops recognise it and spare the call."""
    return text


def _json_as_it_is(text: str) -> str:
    return text


def _bool(text: str) -> SyncValue:
    return 1 if text == "t" else 0


def _float(text: str) -> SyncValue:
    value = float(text)
    return value + 0.0 if math.isfinite(value) else None  # the sum takes the sign from a negative zero


def _bytea(text: str) -> SyncValue:
    return bytes.fromhex(text[2:]) if text.startswith("\\x") else text.encode()


_SCALARS: dict[int, Converter] = {
    **dict.fromkeys(TEXT_TYPES, as_it_is),
    **dict.fromkeys(INTEGER_TYPES, int),
    **dict.fromkeys(FLOAT_TYPES, _float),
    BOOL: _bool,
    BYTEA: _bytea,
    PG_LSN: pad_lsn,
}
"""Types whose values no config changes. Those of time are in `timestamps`."""
