"""Times of devices, without a database; `tests/integration/backend/test_types.py` asks Postgres what it makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.backend.persisters.postgres.times import date_text, interval_text, time_text, timestamp_text


@pytest.mark.requirement(140)
@pytest.mark.parametrize(
    ("value", "zoned", "zoneless"),
    [
        (0, "1970-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"),
        (9_999_999_999, "2286-11-20T17:46:39+00:00", "2286-11-20T17:46:39+00:00"),
        (10_000_000_000, "1970-04-26T17:46:40+00:00", "1970-04-26T17:46:40+00:00"),
        (-9_999_999_999, "1653-02-10T06:13:21+00:00", "1653-02-10T06:13:21+00:00"),
        ("1700000000", "2023-11-14T22:13:20+00:00", "2023-11-14T22:13:20+00:00"),
        ("-1700000000500", "1916-02-18T01:46:39.500000+00:00", "1916-02-18T01:46:39.500000+00:00"),
        ("2026-01-02", "2026-01-02 00:00:00+00", "2026-01-02 00:00:00"),
        ("2026-01-02 03:04", "2026-01-02 03:04+00", "2026-01-02 03:04"),
        ("2026-01-02T03:04:05.678Z", "2026-01-02 03:04:05.678Z", "2026-01-02 03:04:05.678Z"),
        ("2026-01-02 03:04:05+02", "2026-01-02 03:04:05+02", "2026-01-02 01:04:05"),
        ("20260102T030405Z", "2026-01-02 03:04:05Z", "2026-01-02 03:04:05Z"),
        (" Infinity ", "infinity", "infinity"),
        ("12026-01-02 03:04:05", "12026-01-02 03:04:05+00", "12026-01-02 03:04:05"),
    ],
)
def test_a_timestamp_in_each_form_that_arrives(value: Any, zoned: str, zoneless: str) -> None:
    assert (timestamp_text(value, zoned=True), timestamp_text(value, zoned=False)) == (zoned, zoneless)


@pytest.mark.parametrize(
    "value", ["", "now", "today", "1/2/2026", "2026", "20260102030405", "2026-01-02 03", True, [], {}, 1e300, "12:00"]
)
def test_what_is_no_timestamp_for_sure_is_refused(value: Any) -> None:
    for zoned in (True, False):
        with pytest.raises((ValueError, OverflowError)):
            timestamp_text(value, zoned=zoned)


def test_a_zone_in_a_year_that_cannot_be_moved_is_refused() -> None:
    for value in ("0044-03-15 12:00+02 BC", "12026-01-02 03:04+02"):
        with pytest.raises(ValueError):
            timestamp_text(value, zoned=False)


def test_dates_times_and_intervals() -> None:
    assert [date_text(value) for value in ("2026-01-02", "2026-01-02T23:00:00-05", "20260102")] == ["2026-01-02"] * 3
    assert (time_text("03:04", zoned=True), time_text("03:04Z", zoned=False)) == ("03:04+00", "03:04")
    assert interval_text("PT5M") == "PT5M"
    for convert, value in [(date_text, 20260102), (date_text, "2 Jan 2026"), (interval_text, "5"), (interval_text, 5)]:
        with pytest.raises(ValueError):
            convert(value)
    for value in ("3pm", "03:04+02"):
        with pytest.raises(ValueError):
            time_text(value, zoned=False)
