"""Probes for whoever supervises the service (protocol reference, 7.1): 200 where the answer is yes, else 400, with the raw state."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import orjson

from syncline.api.answers import Scope

__all__ = ["Probes"]

LIVE_WITHIN_S = 10.0  # seconds since the last sign of life of replication, within which the process counts as alive


class Probes:
    """State of this process. `touched_s` gives the last sign of life of replication, in seconds since 1970."""

    def __init__(self, *, is_ready: Callable[[], bool], touched_s: Callable[[], float]) -> None:
        self._is_ready = is_ready
        self._touched_s = touched_s

    async def startup(self, _scope: Scope) -> tuple[int, bytes]:
        """The process has started."""
        return self._answer(ok=True)

    async def liveness(self, _scope: Scope) -> tuple[int, bytes]:
        """Replication has shown signs of life, if only by a failed attempt."""
        return self._answer(ok=time.time() - self._touched_s() < LIVE_WITHIN_S)

    async def readiness(self, _scope: Scope) -> tuple[int, bytes]:
        """Streams can be served: a version is active. The reference says yes as soon as the process runs."""
        return self._answer(ok=self._is_ready())

    def _answer(self, *, ok: bool) -> tuple[int, bytes]:
        touched = datetime.fromtimestamp(self._touched_s(), UTC).isoformat(timespec="milliseconds")
        state = {"started": True, "ready": self._is_ready(), "touched_at": touched.replace("+00:00", "Z")}
        return (200 if ok else 400), orjson.dumps(state)
