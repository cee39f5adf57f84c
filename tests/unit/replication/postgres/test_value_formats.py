"""Values under the options of a config: the replication reference's table of verified conversions, columns "on" and "off"."""

from __future__ import annotations

import pytest

from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.pgoutput import make_tuple_decoder
from syncline.replication.postgres.values import as_it_is, make_converter
from syncline.sync_config.value_format import ValueFormat
from tests.unit.replication.postgres.test_values import (
    AMOUNT,
    ARRAYS,
    BOOL,
    DATE,
    INT4,
    INT4MULTI,
    NUMRANGE,
    ROW,
    ROWS,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    TYPES,
)
from tests.unit.replication.postgres.wire import encode_tuple

OFF = ValueFormat(iso8601=False, custom_types=False)
SECONDS, MILLISECONDS = ValueFormat(fraction_digits=0), ValueFormat(fraction_digits=3)

TABLE: list[tuple[ValueFormat, int, str, SyncValue]] = [
    (OFF, TIMESTAMPTZ, "2026-01-02 03:04:05.12+00", "2026-01-02 03:04:05.12Z"),
    (OFF, TIMESTAMPTZ, "2026-01-02 05:04:05.12+02", "2026-01-02 03:04:05.12Z"),
    (OFF, TIMESTAMPTZ, "2026-01-02 05:04:05+00", "2026-01-02 05:04:05Z"),
    (OFF, TIMESTAMPTZ, "infinity", "9999-12-31 23:59:59Z"),
    (OFF, TIMESTAMPTZ, "-infinity", "0000-01-01 00:00:00Z"),
    (OFF, TIMESTAMPTZ, "0044-03-15 00:00:00+00 BC", None),
    (OFF, TIMESTAMPTZ, "12026-01-01 00:00:00+00", None),
    (OFF, TIMESTAMP, "2026-01-02 05:04:05", "2026-01-02 05:04:05"),
    (OFF, TIMESTAMP, "-infinity", "0000-01-01 00:00:00"),
    (OFF, TIMESTAMP, "0044-03-15 00:00:00 BC", None),
    (OFF, TIME, "03:04:05.5", "03:04:05.5"),
    (OFF, DATE, "infinity", "9999-12-31"),
    (OFF, ARRAYS[INT4], "[0:1]={7,8}", "[7,8]"),
    (OFF, ARRAYS[TIMESTAMPTZ], '{"2026-01-02 03:04:05.5+00"}', '["2026-01-02 03:04:05.5Z"]'),
    (OFF, NUMRANGE, "[1,5)", "[1,5)"),
    (OFF, INT4MULTI, "{[1,3),[5,7)}", "{[1,3),[5,7)}"),
    (OFF, ROW, '(1,"x y",t)', '(1,"x y",t)'),
    (OFF, ROWS, '{"(1,a,t)"}', '{"(1,a,t)"}'),
    (OFF, AMOUNT, "1.5", "1.5"),
    (SECONDS, TIMESTAMPTZ, "2026-01-02 03:04:05.999999+00", "2026-01-02T03:04:05Z"),
    (SECONDS, TIMESTAMPTZ, "infinity", "9999-12-31T23:59:59Z"),
    (SECONDS, TIMESTAMP, "2026-01-02 03:04:05.5", "2026-01-02T03:04:05"),
    (SECONDS, TIME, "23:59:59.999999", "23:59:59"),
    (MILLISECONDS, TIMESTAMPTZ, "2026-01-02 03:04:05.12+00", "2026-01-02T03:04:05.120Z"),
    (MILLISECONDS, TIMESTAMPTZ, "0044-03-15 00:00:00+00 BC", None),
    (MILLISECONDS, TIMESTAMP, "2026-01-02 03:04:05.999999", "2026-01-02T03:04:05.999"),
    (MILLISECONDS, TIME, "24:00:00", "24:00:00.000"),
    (MILLISECONDS, ARRAYS[TIMESTAMPTZ], '{"2026-01-02 03:04:05+00"}', '["2026-01-02T03:04:05.000Z"]'),
    (MILLISECONDS, AMOUNT, "1.5", 1.5),
    (ValueFormat(), TIMESTAMPTZ, "1969-12-31 23:59:59.5+05:45", "1969-12-31T18:14:59.500000Z"),
    (ValueFormat(), TIMESTAMPTZ, "1883-01-01 00:00:00-04:56:02", "1883-01-01T04:56:02.000000Z"),
    (ValueFormat(), TIMESTAMPTZ, "0001-01-01 00:00:00+02", None),
]


@pytest.mark.parametrize(("value_format", "type_id", "text", "value"), TABLE)
def test_a_text_becomes_the_value_in_the_format_of_the_config(
    value_format: ValueFormat, type_id: int, text: str, value: SyncValue
) -> None:
    assert make_converter(type_id, TYPES, value_format)(text) == value
    streamed, _ = make_tuple_decoder([type_id], TYPES, value_format)(encode_tuple([text]), 0)
    assert streamed == (value,)


def test_types_whose_text_is_the_value_are_recognised_in_every_format() -> None:
    assert make_converter(TEXT, TYPES, OFF) is as_it_is
    assert make_converter(ROW, TYPES, OFF) is as_it_is
    assert make_converter(BOOL, TYPES, OFF)("t") == 1
