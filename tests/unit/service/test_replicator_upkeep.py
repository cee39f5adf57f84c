"""Signs of life and sizes beside replication."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from syncline.errors import StorageUnavailable
from syncline.metrics import ServiceMetrics
from syncline.service.replicator_upkeep import SIZES_INTERVAL_S, SIZES_TIME_SHARE, keep_up
from syncline.storage.base import StorageWriter
from syncline.storage.model import StorageSizes


class Writer:
    """Storage that can be measured, or cannot."""

    def __init__(self, clock: Clock, *, failures: int = 0, took_s: float = 0.0) -> None:
        self.clock = clock
        self.failures = failures
        self.took_s = took_s
        self.asked_at_s: list[float] = []

    def sizes(self) -> StorageSizes:
        self.asked_at_s.append(self.clock.now_s)
        self.clock.now_s += self.took_s
        if len(self.asked_at_s) <= self.failures:
            raise StorageUnavailable("not now")
        return StorageSizes(ops_bytes=2, current_rows_bytes=1, lookups_bytes=3, total_bytes=6)


class Clock:
    """Time that passes when somebody sleeps, up to an end."""

    def __init__(self, end_s: float) -> None:
        self.now_s = 0.0
        self.end_s = end_s

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s > self.end_s:
            raise asyncio.CancelledError


@pytest.mark.parametrize("wanted", [True, False])
async def test_signs_of_life_go_on_and_sizes_are_taken_where_somebody_wants_them(wanted: bool) -> None:
    clock, touched = Clock(end_s=100.0), list[float]()
    writer, metrics = Writer(clock, failures=1), ServiceMetrics()
    with pytest.raises(asyncio.CancelledError):
        await keep_up(
            lambda: touched.append(clock.now_s),
            cast("StorageWriter", writer),
            metrics if wanted else None,
            clock=clock,
            sleep=clock.sleep,
        )
    assert touched == [float(second) for second in range(101)]
    assert writer.asked_at_s == ([0.0, SIZES_INTERVAL_S] if wanted else [])
    snapshot = metrics.snapshot()
    sizes = (snapshot.replication_storage_bytes, snapshot.operation_storage_bytes, snapshot.parameter_storage_bytes)
    assert sizes == ((1, 2, 3) if wanted else (None, None, None))


async def test_measuring_takes_no_more_than_its_share_of_the_time() -> None:
    clock = Clock(end_s=1000.0)
    writer = Writer(clock, took_s=1.0)
    with pytest.raises(asyncio.CancelledError):
        await keep_up(lambda: None, cast("StorageWriter", writer), ServiceMetrics(), clock=clock, sleep=clock.sleep)
    assert len(writer.asked_at_s) / 1000.0 <= 1.2 * SIZES_TIME_SHARE
