"""`datetime` and `unixepoch` beyond the recorded expressions: the calendar, and forms of input (sync config reference, 5)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.calendar import date_of_days, days_of_date
from syncline.sync_config.evaluation.time_functions import datetime, unixepoch


@given(st.dates())
def test_the_calendar_agrees_with_pythons_between_the_years_1_and_9999(day: date) -> None:
    days = (day - date(1970, 1, 1)) / timedelta(days=1)
    assert days_of_date(day.year, day.month, day.day) == days
    assert date_of_days(int(days)) == (day.year, day.month, day.day)


@given(st.integers(-200_000_000, 200_000_000))
def test_the_calendar_reads_what_it_says(days: int) -> None:
    assert days_of_date(*date_of_days(days)) == days


@pytest.mark.parametrize(
    ("value", "modifiers", "expected"),
    [
        ("2026-01-02 03:04:05", ("now",), None),
        ("2026-01-02 24:00:00", (), None),
        ("2026-01-02 03:04:60", (), None),
        ("2026-01-02 03:04:05+02", (), None),
        ("12026-01-02", (), "+012026-01-02 00:00:00"),
        ("0099-01-01", (), "1999-01-01 00:00:00"),
        ("0100-01-01", (), "0100-01-01 00:00:00"),
        ("0001-01-01 00:00:00Z", (), "2001-01-01 00:00:00"),
        ("0001-01-01T00:00:00Z", (), "0001-01-01 00:00:00"),
        ("10000-01-01 00:00:00", (), "+010000-01-01 00:00:00"),
        ("10000-01-01T00:00:00", (), None),
        ("999999-01-01", (), None),
        (8_640_000_000_000, ("unixepoch",), "+275760-09-13 00:00:00"),
        (8_640_000_000_001, ("unixepoch",), None),
        (float("nan"), ("unixepoch",), None),
        (float("inf"), (), None),
        (10**400, ("unixepoch",), None),
        ("1" * 400, (), None),
        (2461042.6278356481, (), "2026-01-02 03:04:05"),
        (0, (None, "unixepoch"), "1970-01-01 00:00:00"),
    ],
)
def test_a_moment_is_written_or_is_null(
    value: SyncValue, modifiers: tuple[SyncValue, ...], expected: SyncValue
) -> None:
    assert datetime(value, *modifiers) == expected
    assert (unixepoch(value, *modifiers) is None) == (expected is None)
