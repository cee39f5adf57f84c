from __future__ import annotations

import base64
from typing import Any

import pytest

from syncline.backend.conflicts.values import EPOCH_MS_FROM
from syncline.backend.persisters.base import WriteRefused
from syncline.backend.persisters.postgres.columns import ColumnKind, TableColumn, ValueType
from syncline.backend.persisters.postgres.values import postgres_text

DEEP = "[" * 100_000


def text(value: Any, kind: str, element: str = ColumnKind.OTHER) -> str | None:
    value_type = ValueType(kind, ValueType(element), zoned=True)
    return postgres_text(value, TableColumn("c", "some type", value_type), operation_index=3)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (ColumnKind.BOOLEAN, 0, "false"),
        (ColumnKind.BOOLEAN, 1, "true"),
        (ColumnKind.BOOLEAN, 1.0, "true"),
        (ColumnKind.BOOLEAN, True, "true"),
        (ColumnKind.BOOLEAN, "true", "true"),
        (ColumnKind.BOOLEAN, "F", "false"),
        (ColumnKind.INTEGER, 2**63 - 1, "9223372036854775807"),
        (ColumnKind.INTEGER, 7.0, "7"),
        (ColumnKind.INTEGER, "12", "12"),
        (ColumnKind.INTEGER, False, "0"),
        (ColumnKind.OTHER, 1.5, "1.5"),
        (ColumnKind.OTHER, "1.10", "1.10"),
        (ColumnKind.OTHER, "", ""),
        (ColumnKind.OTHER, {"a": 1}, '{"a": 1}'),
        (ColumnKind.JSON, '{"a": 1}', '{"a": 1}'),
        (ColumnKind.JSON, {"ä": [1, None]}, '{"ä": [1, null]}'),
        (ColumnKind.JSON, 3, "3"),
        (ColumnKind.BYTES, base64.b64encode(b"\x00\xff").decode(), "\\x00ff"),
        (ColumnKind.BYTES, "\\x00ff", "\\x00ff"),
        (ColumnKind.BYTES, "", "\\x"),
        (ColumnKind.TIMESTAMP, "2026-01-02 03:04:05.678Z", "2026-01-02 03:04:05.678Z"),
        (ColumnKind.TIMESTAMP, EPOCH_MS_FROM - 1, "2286-11-20T17:46:39+00:00"),
        (ColumnKind.TIMESTAMP, -EPOCH_MS_FROM, "1969-09-07T06:13:20+00:00"),
        (ColumnKind.TIMESTAMP, 1 - EPOCH_MS_FROM, "1653-02-10T06:13:21+00:00"),
        (ColumnKind.TIMESTAMP, 1, "1970-01-01T00:00:01+00:00"),
        (ColumnKind.TIMESTAMP, 1_700_000_000.5, "2023-11-14T22:13:20.500000+00:00"),
        (ColumnKind.TIMESTAMP, 1_700_000_000_123, "2023-11-14T22:13:20.123000+00:00"),
        (ColumnKind.TIMESTAMP, EPOCH_MS_FROM, "1970-04-26T17:46:40+00:00"),
        (ColumnKind.TIMESTAMP, -1, "1969-12-31T23:59:59+00:00"),
    ],
)
def test_a_value_of_a_device_becomes_the_text_that_the_column_reads(kind: str, value: Any, expected: str) -> None:
    assert text(value, kind) == expected


@pytest.mark.parametrize(
    ("element", "value", "expected"),
    [
        (ColumnKind.OTHER, '["a", null, "b,c"]', '{"a",NULL,"b,c"}'),
        (ColumnKind.OTHER, ['quote"', "back\\slash"], '{"quote\\"","back\\\\slash"}'),
        (ColumnKind.OTHER, "{a,b}", "{a,b}"),
        (ColumnKind.OTHER, "[]", "{}"),
        (ColumnKind.INTEGER, [[1, 2.0], [3, 4]], '{{"1","2"},{"3","4"}}'),
        (ColumnKind.BOOLEAN, "[true, 0]", '{"true","false"}'),
        (ColumnKind.BYTES, ["AP8="], '{"\\\\x00ff"}'),
        (ColumnKind.JSON, [[1], {"a": 2}], '{"[1]","{\\"a\\": 2}"}'),
    ],
)
def test_a_json_array_becomes_an_array_literal(element: str, value: Any, expected: str) -> None:
    assert text(value, ColumnKind.ARRAY, element) == expected


@pytest.mark.parametrize(
    "kind", [ColumnKind.BOOLEAN, ColumnKind.INTEGER, ColumnKind.JSON, ColumnKind.ARRAY, ColumnKind.BYTES]
)
def test_null_is_null_for_every_column(kind: str) -> None:
    assert text(None, kind) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ColumnKind.BOOLEAN, 2),
        (ColumnKind.BOOLEAN, "maybe"),
        (ColumnKind.BYTES, "not base64!"),
        (ColumnKind.BYTES, "ä"),
        (ColumnKind.ARRAY, "hello"),
        (ColumnKind.ARRAY, 5),
        (ColumnKind.ARRAY, '{"a": 1}\0'),
        pytest.param(ColumnKind.ARRAY, DEEP, id="deep"),
        (ColumnKind.OTHER, "zero\0character"),
        (ColumnKind.TIMESTAMP, 1e300),
        (ColumnKind.TIMESTAMP, -(10**17)),
    ],
)
def test_a_value_that_cannot_be_meant_is_invalid_and_not_repeated(kind: str, value: Any) -> None:
    with pytest.raises(WriteRefused) as refused:
        text(value, kind)
    assert (refused.value.error_code, refused.value.operation_index) == ("INVALID_DATA", 3)
    assert refused.value.message == "The value of c is no some type."
