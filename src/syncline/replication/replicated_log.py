"""What the log says of replication as it goes: what was flushed, which checkpoint is held back and why, when a config becomes active.

The lines begin with the slot's name, as the reference's do (golden operations, "Log lines"). Those that would come with every
transaction are told together, every few seconds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from syncline.replication.apply import Flushed
from syncline.replication.limits import REPLICATED_TOLD_INTERVAL_S
from syncline.storage.model import Checkpoint, Version, VersionState

__all__ = ["ReplicatedLog"]

log = logging.getLogger(__name__)


class ReplicatedLog:
    """The lines of one version. `flushed` says what was handed to storage since the start; times are in seconds of one clock."""

    def __init__(self, version: Version, flushed: Callable[[], Flushed]) -> None:
        self._version = version
        self._slot = version.slot_name
        self._rows = self._transactions = 0
        self._flushed = flushed
        self._before = flushed()
        self._told_s = self._held_told_s = -math.inf
        self._is_active = version.state is VersionState.ACTIVE

    def stream_begins(self) -> None:
        """What was flushed before was copied, of which others tell."""
        self._before = self._flushed()

    def count(self, *, rows: int, transactions: int) -> None:
        """A batch of the stream was applied."""
        self._rows += rows
        self._transactions += transactions

    def tell(self, position: str, *, now_s: float) -> None:
        """Say what was replicated since the last time, at most every REPLICATED_TOLD_INTERVAL_S; call it regularly."""
        if (not self._rows and not self._transactions) or now_s - self._told_s < REPLICATED_TOLD_INTERVAL_S:
            return
        self._told_s = now_s
        flushed, before = self._flushed(), self._before
        flushes, operations, data_kb = (
            flushed.flushes - before.flushes,
            flushed.operations - before.operations,
            round((flushed.data_bytes - before.data_bytes) / 1000),
        )
        log.info(
            "[%s] Replicated %d rows of %d transactions up to %s: %d flushes, %d operations, %d kB",
            self._slot,
            self._rows,
            self._transactions,
            position,
            flushes,
            operations,
            data_kb,
            extra=self._fields("flush")
            | {
                "position": position,
                "rows": self._rows,
                "transactions": self._transactions,
                "flushes": flushes,
                "operations": operations,
                "data_kb": data_kb,
            },
        )
        self._before = flushed
        self._rows = self._transactions = 0

    def held_back(self, position: str, reason: str, *, now_s: float) -> None:
        """Everything up to `position` is stored, and may not be seen yet. Told at most every REPLICATED_TOLD_INTERVAL_S."""
        if now_s - self._held_told_s < REPLICATED_TOLD_INTERVAL_S:
            return
        self._held_told_s = now_s
        log.info(
            "[%s] The checkpoint at %s is held back: %s",
            self._slot,
            position,
            reason,
            extra=self._fields("held_back") | {"position": position},
        )

    def visible(self, checkpoint: Checkpoint) -> None:
        """A checkpoint became visible; the first one of a version makes its config the active one."""
        if not self._is_active:
            self._is_active = True
            log.info(
                "[%s] The sync config is active: version %d, checkpoint %d at %s",
                self._slot,
                *checkpoint,
                extra=self._fields("activated") | {"version": checkpoint.version, "checkpoint": checkpoint.op_id},
            )

    def _fields(self, name: str) -> dict[str, object]:
        return {"event": f"replication.{name}", "slot": self._slot}
