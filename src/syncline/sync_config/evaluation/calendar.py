"""Days and years of the Gregorian calendar in both directions without end: Python's own stops at the years 1 and 9999."""

from __future__ import annotations

__all__ = ["date_of_days", "days_of_date"]

_ERA_YEARS, _ERA_DAYS = 400, 146_097  # after which the calendar repeats
_DAYS_TO_1970 = 719_468  # from 1 March of the year 0


def days_of_date(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date. A day beyond the end of its month counts on into the next one."""
    # Years run from March here, so that the leap day is the last one.
    shifted = year - (month <= 2)
    era, year_of_era = divmod(shifted, _ERA_YEARS)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * _ERA_DAYS + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - _DAYS_TO_1970


def date_of_days(days: int) -> tuple[int, int, int]:
    """Year, month and day that stand so many days after 1970-01-01."""
    era, day_of_era = divmod(days + _DAYS_TO_1970, _ERA_DAYS)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    from_march = (5 * day_of_year + 2) // 153
    month = (from_march + 2) % 12 + 1
    year = year_of_era + era * _ERA_YEARS + (month <= 2)
    return year, month, day_of_year - (153 * from_march + 2) // 5 + 1
