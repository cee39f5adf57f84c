"""PURE: Postgres' texts to sync values (replication reference, 6; sync config reference, 7, with the options of edition 3).

The session that reads has DateStyle ISO and TimeZone UTC, so that timestamps with time zone end in `+00`. NaN and infinities become
NULL, also inside arrays: there is no JSON for them (the reference writes them bare).
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
from syncline.replication.postgres.types import TypeInfo, TypeKind
from syncline.sync_config.evaluation.json_values import json_text, quote

__all__ = ["BOOL", "INTEGER_TYPES", "TEXT_TYPES", "Converter", "as_it_is", "make_converter"]

Converter = Callable[[str], SyncValue]

BOOL = 16
INTEGER_TYPES = frozenset({20, 21, 23, 26})  # int8, int2, int4, oid
FLOAT_TYPES = frozenset({700, 701})
JSON_TYPES = frozenset({114, 3802})
BYTEA, DATE, TIME, TIMESTAMP, TIMESTAMPTZ, PG_LSN = 17, 1082, 1083, 1114, 1184, 3220
TEXT_TYPES = frozenset({25, 1043, 1042, 18, 19, 1700, 790, 2950, 114, 3802, 142, 1186, 869, 650, 829, 774, 1266})
"""Common types whose text is the value already."""

NESTING_MAX = 10  # levels of arrays and composites in each other (PSYNC_S1004)


def make_converter(oid: int, types: Mapping[int, TypeInfo]) -> Converter:
    """The function that turns a text of this type into its sync value. A type that is not known passes as text."""
    scalar = _SCALARS.get(oid)
    if scalar is not None:
        return scalar
    info = types.get(oid)
    if info is None or info.kind in (TypeKind.BASE, TypeKind.ENUM):
        return as_it_is
    if info.kind is TypeKind.DOMAIN:
        return make_converter(info.inner, types)
    to_json = _json_maker(oid, types, 0)

    def convert(text: str) -> SyncValue:
        if info.kind is TypeKind.RANGE and text == "empty":
            return text
        try:
            return to_json(text)
        except (ValueError, IndexError):
            return text  # not in the form that we know: better the source's text than a lost row

    return convert


def _json_maker(oid: int, types: Mapping[int, TypeInfo], depth: int) -> Callable[[str], str]:
    """The function that turns a text of this type into JSON, for a place inside an array, composite or range."""
    if depth > NESTING_MAX:
        return quote
    if oid in JSON_TYPES:
        return _json_as_it_is
    info = types.get(oid)
    if oid in _SCALARS or info is None or info.kind in (TypeKind.BASE, TypeKind.ENUM):
        scalar = _SCALARS.get(oid, as_it_is)
        return lambda text: "null" if isinstance(value := scalar(text), bytes) else json_text(value)
    if info.kind is TypeKind.DOMAIN:
        return _json_maker(info.inner, types, depth + 1)
    if info.kind is TypeKind.COMPOSITE:
        return _composite_maker(info, types, depth)
    inner = _json_maker(info.inner, types, depth + 1)
    if info.kind is TypeKind.ARRAY:
        return lambda text: _array_json(parse_array(text, info.delimiter), inner)
    if info.kind is TypeKind.RANGE:
        return lambda text: _range_json(parse_range(text), inner)
    subtype = types.get(info.inner)
    bound = _json_maker(subtype.inner, types, depth + 2) if subtype is not None else quote
    return lambda text: f"[{','.join(_range_json(item, bound) for item in parse_multirange(text))}]"


def _composite_maker(info: TypeInfo, types: Mapping[int, TypeInfo], depth: int) -> Callable[[str], str]:
    makers = [(quote(name), _json_maker(type_id, types, depth + 1)) for name, type_id in info.attributes]

    def make(text: str) -> str:
        values = parse_composite(text)
        pairs = zip(makers, values, strict=True)
        return "{" + ",".join(f"{name}:{'null' if v is None else maker(v)}" for (name, maker), v in pairs) + "}"

    return make


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


def _date(text: str) -> SyncValue:
    return {"infinity": "9999-12-31", "-infinity": "0000-01-01"}.get(text, text)


def _time(text: str) -> SyncValue:
    return f"{text[:8]}.{text[9:]:0<6}"


def _timestamp(text: str) -> SyncValue:
    if text[-1] in "yC":
        return _special_timestamp(text, "")
    date, _, time = text.partition(" ")
    return f"{date}T{time[:8]}.{time[9:]:0<6}"


def _timestamptz(text: str) -> SyncValue:
    if text[-1] in "yC":
        return _special_timestamp(text, "Z")
    if text[10] != " ":
        return None  # a year above 9999
    return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<6}Z" if text[19] == "." else f"{text[:10]}T{text[11:19]}.000000Z"


def _special_timestamp(text: str, zone: str) -> SyncValue:
    """Infinities get the ends of the calendar; years before Christ have no ISO form that clients would understand."""
    if text == "infinity":
        return f"9999-12-31T23:59:59.000000{zone}"
    return f"0000-01-01T00:00:00.000000{zone}" if text == "-infinity" else None


_SCALARS: dict[int, Converter] = {
    **dict.fromkeys(TEXT_TYPES, as_it_is),
    **dict.fromkeys(INTEGER_TYPES, int),
    **dict.fromkeys(FLOAT_TYPES, _float),
    BOOL: _bool,
    BYTEA: _bytea,
    DATE: _date,
    TIME: _time,
    TIMESTAMP: _timestamp,
    TIMESTAMPTZ: _timestamptz,
    PG_LSN: pad_lsn,
}
