"""Beside replication, in its event loop: signs of life for the liveness probe, and the size of storage for metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from syncline.errors import StorageError
from syncline.metrics import ServiceMetrics
from syncline.storage.base import StorageWriter

__all__ = ["keep_up"]

log = logging.getLogger(__name__)

TOUCH_INTERVAL_S = 1.0  # seconds between signs of life
SIZES_INTERVAL_S = 60.0  # seconds between two measurements of storage
SIZES_TIME_SHARE = 0.005  # of the event loop's time, for measuring: replication waits meanwhile


async def keep_up(
    touch: Callable[[], None],
    writer: StorageWriter,
    metrics: ServiceMetrics | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run until cancelled. While replication waits for its next attempt it is alive; where its loop hangs, nothing is touched.

    `metrics` None: nobody asks for sizes, so nothing is measured. `clock` gives seconds, `sleep` waits for them.
    """
    due_s = clock()
    while True:
        touch()
        if metrics is not None and clock() >= due_s:
            began_s = clock()
            _measure(writer, metrics)
            due_s = clock() + max(SIZES_INTERVAL_S, (clock() - began_s) / SIZES_TIME_SHARE)
        await sleep(TOUCH_INTERVAL_S)


def _measure(writer: StorageWriter, metrics: ServiceMetrics) -> None:
    """Where storage fails, replication says so itself."""
    try:
        sizes = writer.sizes()
    except StorageError as exc:
        log.debug("Storage could not be measured: %s", exc.message, extra={"event": "metrics.sizes"})
    else:
        metrics.storage_sized(
            current_rows_bytes=sizes.current_rows_bytes, ops_bytes=sizes.ops_bytes, lookups_bytes=sizes.lookups_bytes
        )
