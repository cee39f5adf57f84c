"""How many requests of a kind run at a time, and how many wait; the next one is refused at once (protocol reference, 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = [
    "ADMIN_QUEUED_MAX",
    "ADMIN_RUNNING_MAX",
    "CHECKPOINTS_QUEUED_MAX",
    "CHECKPOINTS_RUNNING_MAX",
    "GroupFull",
    "RequestGroup",
]

ADMIN_RUNNING_MAX, ADMIN_QUEUED_MAX = 10, 20  # requests of administrators
CHECKPOINTS_RUNNING_MAX, CHECKPOINTS_QUEUED_MAX = 100, 100  # requests for write checkpoints


class GroupFull(Exception):
    """Too many requests of a group run and wait: the answer is 429 with an empty body."""


class RequestGroup:
    """At most `running_max` inside at a time, at most `queued_max` waiting."""

    def __init__(self, *, running_max: int, queued_max: int) -> None:
        self._places = asyncio.Semaphore(running_max)
        self._inside_max = running_max + queued_max
        self._inside = 0  # running or waiting

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Wait for a place. Raises GroupFull where too many wait already."""
        if self._inside >= self._inside_max:
            raise GroupFull
        self._inside += 1
        try:
            async with self._places:
                yield
        finally:
            self._inside -= 1
