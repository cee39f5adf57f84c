"""The options under `config:`: which language edition a config is written in, and how values look (sync config reference, 1.1)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from syncline.sync_config.value_format import ValueFormat

__all__ = ["ConfigOptions", "TimestampPrecision"]


class TimestampPrecision(enum.IntEnum):
    """How many digits follow the dot of a timestamp's seconds, at most."""

    SECONDS = 0
    MILLISECONDS = 3
    MICROSECONDS = 6
    NANOSECONDS = 9


@dataclass(frozen=True, slots=True)
class ConfigOptions:
    """The options in effect: what the config says, else what its edition means."""

    edition: int = 1
    timestamps_iso8601: bool = False
    versioned_bucket_ids: bool = False
    fixed_json_extract: bool = False
    custom_postgres_types: bool = False
    unstable_sqlite_expression_engine: bool = False
    timestamp_max_precision: TimestampPrecision | None = None
    storage_version: int = 2

    @property
    def value_format(self) -> ValueFormat:
        """How values of the source look in synced rows; no source has more than microseconds."""
        precision = self.timestamp_max_precision
        digits = (
            TimestampPrecision.MICROSECONDS if precision is None else min(precision, TimestampPrecision.MICROSECONDS)
        )
        return ValueFormat(self.timestamps_iso8601, int(digits), self.custom_postgres_types)
