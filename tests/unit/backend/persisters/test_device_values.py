from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from syncline.backend.persisters import device_values
from syncline.backend.persisters.device_values import DECIMAL_DIGITS_MAX

DEEP = "[" * 100_000
INSTANT = datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)


@pytest.mark.requirement(140, 141)
@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (device_values.plain, True, "1"),
        (device_values.plain, 7.0, "7"),
        (device_values.plain, 1.5, "1.5"),
        (device_values.plain, {"ä": [1]}, '{"ä": [1]}'),
        (device_values.flag, 1, True),
        (device_values.flag, 0.0, False),
        (device_values.flag, "True", True),
        (device_values.flag, "f", False),
        (device_values.whole, 2**64 - 1, 2**64 - 1),
        (device_values.whole, "9007199254740993", 2**53 + 1),
        (device_values.whole, "-7", -7),
        (device_values.whole, 7.0, 7),
        (device_values.whole, False, 0),
        (device_values.real, "1.5e300", 1.5e300),
        (device_values.exact, "1.10", Decimal("1.10")),
        (device_values.exact, 2, Decimal(2)),
        (device_values.exact, "9" * DECIMAL_DIGITS_MAX, Decimal("9" * DECIMAL_DIGITS_MAX)),
        (device_values.instant, "2023-11-14 22:13:20.500Z", INSTANT),
        (device_values.instant, "2023-11-14T22:13:20.5", INSTANT),
        (device_values.instant, "2023-11-14T23:13:20.5+01:00", INSTANT),
        (device_values.instant, 1_700_000_000.5, INSTANT),
        (device_values.instant, 1_700_000_000_500, INSTANT),
        (device_values.instant, -1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (device_values.day, "2026-01-02", date(2026, 1, 2)),
        (device_values.day, "2026-01-02T23:00:00Z", date(2026, 1, 2)),
        (device_values.json_text, '{"a": 1}', '{"a": 1}'),
        (device_values.json_text, {"ä": None}, '{"ä": null}'),
        (device_values.json_text, 3, "3"),
        (device_values.binary, "AP8=", b"\x00\xff"),
        (device_values.binary, "\\x00ff", b"\x00\xff"),
        (device_values.binary, "", b""),
    ],
)
def test_a_value_of_a_device_becomes_pythons(read: Any, value: Any, expected: Any) -> None:
    found = read(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (device_values.plain, "half a pair \ud800"),
        (device_values.flag, 2),
        (device_values.flag, "maybe"),
        (device_values.whole, "1.5"),
        (device_values.whole, 1.5),
        (device_values.whole, "1_000"),
        (device_values.whole, "٣"),
        (device_values.whole, "9" * 1_001),
        (device_values.whole, ""),
        (device_values.real, "inf"),
        (device_values.real, "nan"),
        (device_values.real, "much"),
        (device_values.exact, "1,5"),
        (device_values.exact, "NaN"),
        (device_values.exact, "9" * (DECIMAL_DIGITS_MAX + 1)),
        (device_values.exact, f"1e{DECIMAL_DIGITS_MAX + 1}"),
        (device_values.exact, "1e-999999"),
        (device_values.instant, "soon"),
        (device_values.instant, True),
        (device_values.instant, 1e300),
        (device_values.instant, "0001-01-01T00:00:00+10:00"),
        (device_values.day, "2026-02-30"),
        (device_values.day, 20_260_101),
        (device_values.json_text, "not json"),
        pytest.param(device_values.json_text, DEEP, id="deep"),
        (device_values.binary, "not base64!"),
        (device_values.binary, "\\xq"),
        (device_values.binary, "ä"),
    ],
)
def test_what_cannot_be_meant_is_refused(read: Any, value: Any) -> None:
    with pytest.raises((ValueError, OverflowError, RecursionError)):
        read(value)
