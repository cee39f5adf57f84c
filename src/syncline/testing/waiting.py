"""Waiting for conditions, never for durations."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["eventually", "eventually_sync"]

_T = TypeVar("_T")
POLL_INTERVAL_S = 0.01


async def eventually(condition: Callable[[], _T | Awaitable[_T]], *, timeout_s: float = 10.0, what: str = "") -> _T:
    """The first truthy result of `condition`, which may be a coroutine function. Raises AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return result  # type: ignore[return-value]  # what was waited for
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}; last result: {result!r}")
        await asyncio.sleep(POLL_INTERVAL_S)


def eventually_sync(condition: Callable[[], _T], *, timeout_s: float = 10.0, what: str = "") -> _T:
    """The same for code without an event loop."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}; last result: {result!r}")
        time.sleep(POLL_INTERVAL_S)
    return result
