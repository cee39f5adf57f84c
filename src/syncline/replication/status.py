"""What a replication job is doing, for probes and diagnostics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from syncline.errors import SynclineError

__all__ = ["CopyMeter", "CopyProgress", "JobStatus"]


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far the copy of a table is. Rows and blocks (pages of the table) count from the copy's first attempt."""

    rows: int
    blocks_done: int
    blocks: int
    rows_per_s: float
    seconds_left: float | None  # None while it cannot be told

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.blocks_done / self.blocks if self.blocks else 1.0

    def __str__(self) -> str:
        left = f", about {self.seconds_left:.0f} s left" if self.seconds_left is not None else ""
        return f"{self.rows} rows, {self.share:.0%} of the table, {self.rows_per_s:.0f} rows/s{left}"


class CopyMeter:
    """Measures a copy from when it was made. Speeds are of this attempt, counts of all of them."""

    def __init__(self, *, rows: int, blocks_done: int, blocks: int, now_s: float) -> None:
        self._rows = self._rows_before = rows
        self._blocks_done = self._blocks_before = blocks_done
        self._blocks = blocks
        self._started_s = now_s

    def add_rows(self, rows: int) -> None:
        """Rows were handed to storage."""
        self._rows += rows

    def reach(self, *, blocks_done: int, blocks: int) -> None:
        """The blocks before `blocks_done` are complete. A rewritten table begins again at a lower one."""
        self._blocks_before = min(self._blocks_before, blocks_done)
        self._blocks_done, self._blocks = blocks_done, blocks

    def read(self, now_s: float) -> CopyProgress:
        """The progress as of now."""
        took_s = max(now_s - self._started_s, 1e-6)
        blocks_per_s = (self._blocks_done - self._blocks_before) / took_s
        left = self._blocks - self._blocks_done
        return CopyProgress(
            rows=self._rows,
            blocks_done=self._blocks_done,
            blocks=self._blocks,
            rows_per_s=(self._rows - self._rows_before) / took_s,
            seconds_left=left / blocks_per_s if blocks_per_s else None,
        )


@dataclass(slots=True)
class JobStatus:
    """What the job is doing. `last_error` is the newest failure, None while all is well."""

    phase: str = "starting"
    last_error: SynclineError | None = None
    copied: dict[str, CopyProgress] = field(default_factory=dict[str, CopyProgress])  # by table
    unpublished: set[str] = field(default_factory=set[str])  # tables that left the publication: their rows were removed
    slot_budget: float | None = None  # share of max_slot_wal_keep_size that is left; None without a limit
    touched_s: float = field(default_factory=time.time)  # last sign of life, in seconds since 1970
