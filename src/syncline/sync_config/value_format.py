"""How values of the source look in synced rows, as far as a config decides it (sync config reference, 1.1 and 7)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EDITION_3_FORMAT", "ValueFormat"]


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """What a config says about values; the defaults are those of edition 3.

    `iso8601`: timestamps have a `T` and always `fraction_digits` digits after the seconds (0 to 6; 0 means no dot). Without it they
    have a space and the source's own digits. `custom_types`: domains, composites, ranges and arrays of custom types are decoded,
    else they stay as the source prints them.
    """

    iso8601: bool = True
    fraction_digits: int = 6
    custom_types: bool = True


EDITION_3_FORMAT = ValueFormat()
