"""Dates, times and booleans as SQLite keeps them: ISO 8601 text, and 0 or 1 (the service sends Postgres timestamps so)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from syncline.client.schema_columns import BOOLEAN, DATETIME

__all__ = ["from_bool", "now_text", "parse_bool", "parse_date", "parse_datetime", "parse_time", "to_text"]


def to_text(moment: datetime | date | time) -> str:
    """The text to store. Times with a zone are in UTC with six digits and Z, so that texts sort like times.

    >>> to_text(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000000Z'
    """
    return str(DATETIME.encode(moment)) if isinstance(moment, datetime) else moment.isoformat()


def now_text() -> str:
    """The present moment as text to store."""
    return to_text(datetime.now(UTC))


def parse_datetime(text: str) -> datetime:
    """A stored time. With a zone it comes in UTC, without one it stays without; a date alone is its midnight.

    Takes what services and databases write: `T` or a space in the middle, `Z`, `+00`, `+00:00`, any number of digits. Raises ValueError.
    """
    parsed = DATETIME.decode(text)
    assert isinstance(parsed, datetime)
    return parsed


def parse_date(text: str) -> date:
    """A stored date; of a time it is the day. Raises ValueError."""
    return date.fromisoformat(text) if len(text) <= len("2026-01-02") else parse_datetime(text).date()


def parse_time(text: str) -> time:
    """A stored time of day. Raises ValueError."""
    return time.fromisoformat(text)


def from_bool(value: bool | None) -> int | None:
    """0 or 1 to store; None stays."""
    return None if value is None else int(value)


def parse_bool(value: str | float | None) -> bool | None:
    """A stored boolean; None stays. Takes the texts of Postgres (`t`, `true`) as well. Raises ValueError."""
    return None if value is None else bool(BOOLEAN.decode(value))
