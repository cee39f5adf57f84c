"""The table of the replication reference, section 6 (column "on"), and the golden facts of its section 12."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.pgoutput import make_tuple_decoder
from syncline.replication.postgres.types import TypeInfo, TypeKind
from syncline.replication.postgres.values import make_converter
from tests.unit.replication.postgres.wire import encode_tuple

BOOL, BYTEA, INT8, INT4, TEXT, FLOAT8, NUMERIC, JSONB = 16, 17, 20, 23, 25, 701, 1700, 3802
DATE, TIME, TIMESTAMP, TIMESTAMPTZ, TIMETZ, UUID, PG_LSN = 1082, 1083, 1114, 1184, 1266, 2950, 3220
ROW, ROWS, AMOUNT, NUMRANGE, INT4RANGE, INT4MULTI, MOOD, UNKNOWN = 90001, 90002, 90003, 3906, 3904, 4451, 90004, 90099


def array_of(element: int, oid: int) -> TypeInfo:
    return TypeInfo(oid=oid, name="_x", kind=TypeKind.ARRAY, inner=element)


ARRAYS = {BOOL: 1000, BYTEA: 1001, INT4: 1007, TEXT: 1009, FLOAT8: 1022, NUMERIC: 1231, JSONB: 3807, TIMESTAMPTZ: 1185}
TYPES = {
    **{oid: array_of(element, oid) for element, oid in ARRAYS.items()},
    ROW: TypeInfo(ROW, "pair", TypeKind.COMPOSITE, attributes=(("a", INT4), ("b", TEXT), ("c", BOOL))),
    ROWS: array_of(ROW, ROWS),
    AMOUNT: TypeInfo(AMOUNT, "amount", TypeKind.DOMAIN, inner=FLOAT8),
    NUMRANGE: TypeInfo(NUMRANGE, "numrange", TypeKind.RANGE, inner=NUMERIC),
    INT4RANGE: TypeInfo(INT4RANGE, "int4range", TypeKind.RANGE, inner=INT4),
    INT4MULTI: TypeInfo(INT4MULTI, "int4multirange", TypeKind.MULTIRANGE, inner=INT4RANGE),
    MOOD: TypeInfo(MOOD, "mood", TypeKind.ENUM),
}

TABLE: list[tuple[int, str, SyncValue]] = [
    (BOOL, "t", 1),
    (BOOL, "f", 0),
    (INT8, "-9223372036854775808", -(2**63)),
    (FLOAT8, "1.5", 1.5),
    (FLOAT8, "NaN", None),
    (FLOAT8, "-Infinity", None),
    (NUMERIC, "1.50", "1.50"),
    (NUMERIC, "NaN", "NaN"),
    (UUID, "a396dd91-09fc-4017-a28d-3df722f651e9", "a396dd91-09fc-4017-a28d-3df722f651e9"),
    (BYTEA, "\\x00ff", b"\x00\xff"),
    (BYTEA, "\\x", b""),
    (JSONB, '{"a": 1.0, "b": [true, null]}', '{"a": 1.0, "b": [true, null]}'),
    (DATE, "2026-01-02", "2026-01-02"),
    (DATE, "infinity", "9999-12-31"),
    (DATE, "-infinity", "0000-01-01"),
    (DATE, "0044-03-15 BC", "0044-03-15 BC"),
    (TIME, "03:04:05.5", "03:04:05.500000"),
    (TIME, "03:04:05", "03:04:05.000000"),
    (TIMETZ, "03:04:05+02", "03:04:05+02"),
    (TIMESTAMP, "2026-01-02 05:04:05", "2026-01-02T05:04:05.000000"),
    (TIMESTAMP, "2026-01-02 05:04:05.123456", "2026-01-02T05:04:05.123456"),
    (TIMESTAMP, "12026-01-01 00:00:00", "12026-01-01T00:00:00.000000"),
    (TIMESTAMP, "0044-03-15 00:00:00 BC", None),
    (TIMESTAMP, "infinity", "9999-12-31T23:59:59.000000"),
    (TIMESTAMPTZ, "2026-01-02 03:04:05.12+00", "2026-01-02T03:04:05.120000Z"),
    (TIMESTAMPTZ, "2026-01-02 05:04:05+00", "2026-01-02T05:04:05.000000Z"),
    (TIMESTAMPTZ, "infinity", "9999-12-31T23:59:59.000000Z"),
    (TIMESTAMPTZ, "-infinity", "0000-01-01T00:00:00.000000Z"),
    (TIMESTAMPTZ, "0044-03-15 00:00:00+00 BC", None),
    (TIMESTAMPTZ, "12026-01-01 00:00:00+00", None),
    (PG_LSN, "1/A", "00000001/0000000A"),
    (ARRAYS[INT4], "{1,NULL,3}", "[1,null,3]"),
    (ARRAYS[INT4], "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
    (ARRAYS[INT4], "[0:1]={7,8}", "[7,8]"),
    (ARRAYS[INT4], "{}", "[]"),
    (ARRAYS[BOOL], "{t,f}", "[1,0]"),
    (ARRAYS[NUMERIC], "{1.5,2}", '["1.5","2"]'),
    (ARRAYS[FLOAT8], "{1.5,2}", "[1.5,2.0]"),
    (ARRAYS[FLOAT8], "{NaN,1}", "[null,1.0]"),
    (ARRAYS[BYTEA], '{"\\\\x00"}', "[null]"),
    (ARRAYS[JSONB], '{"{\\"a\\": 1}"}', '[{"a": 1}]'),
    (ARRAYS[TIMESTAMPTZ], '{"2026-01-02 03:04:05+00"}', '["2026-01-02T03:04:05.000000Z"]'),
    (ARRAYS[TEXT], '{NULL,"NULL","a\\"b","x,y"}', '[null,"NULL","a\\"b","x,y"]'),
    (NUMRANGE, "[1,5)", '{"lower":"1","upper":"5","lower_exclusive":0,"upper_exclusive":1}'),
    (NUMRANGE, "(,5]", '{"lower":null,"upper":"5","lower_exclusive":1,"upper_exclusive":0}'),
    (NUMRANGE, "empty", "empty"),
    (
        INT4MULTI,
        "{[1,3),[5,7)}",
        '[{"lower":1,"upper":3,"lower_exclusive":0,"upper_exclusive":1},'
        '{"lower":5,"upper":7,"lower_exclusive":0,"upper_exclusive":1}]',
    ),
    (INT4MULTI, "{}", "[]"),
    (ROW, '(1,"x y",t)', '{"a":1,"b":"x y","c":1}'),
    (ROW, "(,,)", '{"a":null,"b":null,"c":null}'),
    (ROW, '(1,"say ""hi""",f)', '{"a":1,"b":"say \\"hi\\"","c":0}'),
    (ROWS, '{"(1,a,t)"}', '[{"a":1,"b":"a","c":1}]'),
    (AMOUNT, "1.5", 1.5),
    (MOOD, "so so", "so so"),
    (UNKNOWN, "(1,2)", "(1,2)"),
]


@pytest.mark.parametrize(("type_id", "text", "value"), TABLE)
def test_a_text_becomes_the_value_of_its_type(type_id: int, text: str, value: SyncValue) -> None:
    assert make_converter(type_id, TYPES)(text) == value


@pytest.mark.parametrize(("type_id", "text", "value"), TABLE)
def test_streamed_rows_hold_the_same_values_as_copied_ones(type_id: int, text: str, value: SyncValue) -> None:
    row, _ = make_tuple_decoder([type_id], TYPES)(encode_tuple([text]), 0)
    assert row == (value,)
    assert type(row[0]) is type(value)


def test_a_negative_zero_loses_its_sign() -> None:
    assert str(make_converter(FLOAT8, TYPES)("-0")) == "0.0"


def test_a_literal_in_an_unknown_form_passes_as_text() -> None:
    assert make_converter(ROW, TYPES)("(1,2)") == "(1,2)"
    assert make_converter(ARRAYS[INT4], TYPES)("no array") == "no array"


def test_nesting_ends_in_text_not_in_a_stack_overflow() -> None:
    depth = 40
    types = {oid: array_of(oid + 1, oid) for oid in range(70000, 70000 + depth)}
    converted = make_converter(70000, types)("{" * 3 + "1" + "}" * 3)
    assert isinstance(converted, str)


def test_big_integers_in_arrays_stay_exact() -> None:
    types = {1016: array_of(INT8, 1016)}
    text = make_converter(1016, types)("{9223372036854775807}")
    assert json.loads(str(text), parse_int=Decimal) == [Decimal(2**63 - 1)]
