"""Strategies that find out that a write was made on an outdated row: a version column, a time of the last change. PURE.

Facts: docs/reference/write-path.md, 4 (strategies 1 and 2).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from syncline.backend.conflicts.strategy import Apply, CurrentRow, Decision, Keep, Reject
from syncline.backend.conflicts.values import holds, moment, whole_number
from syncline.backend.persisters.base import Write
from syncline.protocol.crud import UpdateType

__all__ = ["CLOCK_SKEW_S_MAX", "CONFLICT", "OnStale", "VersionColumn"]

CONFLICT = "CONFLICT"  # code of a refusal: the row has changed since the device read it
CLOCK_SKEW_S_MAX = 60.0  # seconds that a device's clock may be ahead before the log says so

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VersionColumn:
    """Compare and set: a write applies only to the version of the row that the device changed; each write makes the next version.

    With `counted_by_device` (the default) the device counts: `UPDATE … SET version = version + 1`, and `version` arrives with every
    PATCH. Then edits that a device makes one after another, offline, follow each other. Without, the version arrives as it was read, or
    in `previous_values`, and the server counts: a second edit before the first has come back conflicts with it.
    A DELETE is judged where it brings `previous_values`; else it wins. A write that the row holds already has arrived before: no conflict.
    """

    column: str
    counted_by_device: bool = True

    def needs(self, write: Write) -> Collection[str]:
        """The version, and what the write changes."""
        return {self.column, *write.data}

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """Apply to the version that the device knew; else a conflict."""
        if current is None:
            return Apply(self._first(write))
        base = self._base(write)
        if base is None:
            if write.op is UpdateType.DELETE:
                return Apply(write)
            return Reject(
                "VALIDATION_ERROR",
                f"A change of {write.table} must bring its {self.column}.",
                [{"field": self.column, "rule": "missing"}],
            )
        stored = whole_number(current.get(self.column)) or 0
        if base == stored:
            if write.op is UpdateType.DELETE:
                return Apply(write)
            return Apply(replace(write, data={**write.data, self.column: stored + 1}))
        if write.op is not UpdateType.DELETE and holds(current, self._sent(write)):
            return Keep()
        return conflict_over(write, self.column)

    def _first(self, write: Write) -> Write:
        if write.op is not UpdateType.PUT:
            return write
        sent = whole_number(write.data.get(self.column)) if self.counted_by_device else None
        return replace(write, data={**write.data, self.column: 1 if sent is None else sent})

    def _base(self, write: Write) -> int | None:
        """The version that the device changed."""
        before = whole_number((write.previous_values or {}).get(self.column))
        sent = whole_number(write.data.get(self.column))
        if not self.counted_by_device:
            return sent if before is None else before
        return before if sent is None else sent - 1

    def _sent(self, write: Write) -> Mapping[str, Any]:
        """What the row has once this write has been applied."""
        if self.counted_by_device:
            return write.data
        return {name: value for name, value in write.data.items() if name != self.column}


@dataclass(frozen=True, slots=True)
class OnStale:
    """A write that is older than the row's last change is a conflict. `column` is the time of the change, set by the device.

    Compared is the time that the device read (`previous_values`) where it is known, else the time of the write itself, which trusts the
    device's clock. A time from the future counts, and is stored, as the time of arrival: a clock that is ahead wins no other conflicts;
    the log warns of it (`backend.clock_skew`). A write without a time is refused; a DELETE without one wins.
    """

    column: str

    def needs(self, write: Write) -> Collection[str]:
        """The time of the last change."""
        del write
        return (self.column,)

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """Apply what is not older than the row; else a conflict."""
        changed = self._changed(write)
        base = moment((write.previous_values or {}).get(self.column)) or changed
        if base is None and write.op is not UpdateType.DELETE:
            return Reject(
                "VALIDATION_ERROR",
                f"A write to {write.table} must bring a time in {self.column}.",
                [{"field": self.column, "rule": "missing"}],
            )
        stored = moment(current.get(self.column)) if current is not None else None
        # A repeat brings the very time that the row has: it is let through, for applied twice it leaves what it left.
        if base is not None and stored is not None and base < stored and changed != stored:
            return conflict_over(write, self.column)
        if write.op is UpdateType.DELETE:
            return Apply(write)
        time = changed or write.context.received_at
        return Apply(replace(write, data={**write.data, self.column: time.isoformat()}))

    def _changed(self, write: Write) -> datetime | None:
        """When the device made the write, as far as that can be; None where it does not say."""
        sent = moment(write.data.get(self.column))
        if sent is None:
            return None
        arrived = write.context.received_at
        if sent > arrived + timedelta(seconds=CLOCK_SKEW_S_MAX):
            log.warning("The clock of a device is ahead", extra={"event": "backend.clock_skew", "table": write.table})
        return min(sent, arrived)


def conflict_over(write: Write, *columns: str) -> Reject:
    """The refusal of a write whose row has changed since, as `columns` show."""
    return Reject(
        CONFLICT, f"The row of {write.table} has changed since this write was made.", {"columns": list(columns)}
    )
