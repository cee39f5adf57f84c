"""How the service is: this process, the source, replication, and how long a copy will take."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from syncline import __version__
from syncline.api.admin.diagnostics import Diagnostics
from syncline.api.admin.status import iso_time
from syncline.api.dashboard.limits import OVERVIEW_FRESH_S, SAMPLES_KEPT
from syncline.api.probes import Probes
from syncline.api.stream_registry import StreamRegistry

__all__ = ["Overview", "SnapshotEstimates"]

TABLES_FOLLOWED_MAX = 1000  # tables whose copies are timed at once


class SnapshotEstimates:
    """When copies will be done, from how far they were at the looks of the last minutes. Times are in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: dict[tuple[str, str], deque[tuple[float, float]]] = {}

    def seconds_left(self, slot_name: str, table: str, share: float) -> float | None:
        """Seconds until the table is copied, of which `share` (0 to 1) is; None while its pace is not known.

        A copy that began again is timed anew.
        """
        key = (slot_name, table)
        samples = self._samples.get(key)
        if samples is None or (samples and share < samples[-1][1]):
            if len(self._samples) >= TABLES_FOLLOWED_MAX:
                self._samples.pop(next(iter(self._samples)))
            samples = self._samples[key] = deque(maxlen=SAMPLES_KEPT)
        samples.append((self._clock(), share))
        (began_s, first), (now_s, last) = samples[0], samples[-1]
        if last <= first or now_s <= began_s:
            return None
        return (1 - last) * (now_s - began_s) / (last - first)


class Overview:
    """Answers `overview`. `diagnostics` are those of the admin API."""

    def __init__(
        self,
        *,
        diagnostics: Diagnostics,
        probes: Probes,
        registry: StreamRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._diagnostics = diagnostics
        self._probes = probes
        self._registry = registry
        self._estimates = SnapshotEstimates()
        self._started_ms = time.time_ns() // 1_000_000
        self._one_at_a_time = asyncio.Lock()
        self._answer: dict[str, Any] | None = None
        self._answered_s = 0.0  # of the monotonic clock

    async def __call__(self) -> dict[str, Any]:
        """Health of this process, and how the active and the deploying config stand; at most OVERVIEW_FRESH_S old."""
        async with self._one_at_a_time:
            if self._answer is None or self._clock() - self._answered_s >= OVERVIEW_FRESH_S:
                self._answer = await self._ask()
                self._answered_s = self._clock()
            return self._answer

    async def _ask(self) -> dict[str, Any]:
        standing = await self._diagnostics.diagnostics(content=False)
        touched_s = self._probes.touched_s
        return {
            "process": {
                "version": __version__,
                "pid": os.getpid(),
                "started_at": iso_time(self._started_ms),
                "now": iso_time(time.time_ns() // 1_000_000),
                "is_ready": self._probes.ready,
                "replication_seen_at": iso_time(int(touched_s * 1000)) if touched_s else None,
                "open_streams": len(self._registry),
            },
            "source": standing["connections"][0],
            "active": self._with_estimates(standing.get("active_sync_rules")),
            "deploying": self._with_estimates(standing.get("deploying_sync_rules")),
        }

    def _with_estimates(self, status: dict[str, Any] | None) -> dict[str, Any] | None:
        """The status; tables that are being copied say in `seconds_left` when they will be done, where that is known."""
        for connection in status["connections"] if status is not None else ():
            for table in connection["tables"]:
                snapshot = table.get("snapshot")
                if snapshot is not None and snapshot["share"] > 0:
                    name = f"{table['schema']}.{table['name']}"
                    left_s = self._estimates.seconds_left(connection["slot_name"], name, snapshot["share"])
                    snapshot["seconds_left"] = None if left_s is None else round(left_s, 1)
        return status
