"""The event loop of a process that serves or replicates."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run_in_loop"]

GC_THRESHOLD = 50_000  # new containers between two looks of the garbage collector
# The replicator and the readers of storage are threads beside the event loop. Each of them waits this long, where Python's own 5 ms are
# longer than a whole change takes, until a loop that is busy with a download lets it on.
SWITCH_INTERVAL_S = 0.001  # seconds
_T = TypeVar("_T")


def run_in_loop(main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run `main` in a new event loop, uvloop's where there is one, and return its result."""
    # Replication makes many short-lived tuples and no cycles: looking for cycles every 700 of them is wasted work.
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        import uvloop
    except ImportError:  # there is no uvloop for Windows
        return asyncio.run(main())
    return uvloop.run(main())
