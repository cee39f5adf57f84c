"""Dates, times and booleans as they are stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest

from syncline.client.dates import from_bool, now_text, parse_bool, parse_date, parse_datetime, parse_time, to_text

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)


@pytest.mark.requirement(91)
@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05.6Z",
        "2026-01-02T03:04:05.600000Z",
        "2026-01-02 03:04:05.6Z",
        "2026-01-02 03:04:05.6+00",
        "2026-01-02T05:04:05.600+02:00",
    ],
)
def test_every_way_to_write_a_moment_is_read(text: str) -> None:
    assert parse_datetime(text) == MOMENT
    assert parse_datetime(text).tzinfo is UTC


@pytest.mark.requirement(91)
def test_what_was_written_is_read_again() -> None:
    assert to_text(MOMENT) == "2026-01-02T03:04:05.600000Z"
    assert parse_datetime(to_text(MOMENT.astimezone(timezone(timedelta(hours=-5))))) == MOMENT
    naive = datetime(2026, 1, 2, 3, 4)
    assert parse_datetime(to_text(naive)) == naive
    assert parse_date(to_text(date(2026, 1, 2))) == date(2026, 1, 2)
    assert parse_date(to_text(MOMENT)) == date(2026, 1, 2)
    assert parse_time(to_text(time(1, 2))) == time(1, 2)
    assert parse_datetime(now_text()) <= datetime.now(UTC)
    with pytest.raises(ValueError, match="Invalid"):
        parse_datetime("tomorrow")


@pytest.mark.requirement(92)
def test_booleans_are_0_and_1() -> None:
    assert [from_bool(value) for value in (True, False, None)] == [1, 0, None]
    assert [parse_bool(value) for value in (1, 0, "t", "false", None)] == [True, False, True, False, None]
    with pytest.raises(ValueError, match="neither"):
        parse_bool(2)
