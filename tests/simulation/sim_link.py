"""A link of the simulation: every message may be late, lost, repeated or the last one."""

from __future__ import annotations

import asyncio
import random

from syncline.client.errors import AuthFailed, ConnectionFailed, ServiceError
from syncline.testing.link import Link, RequestKind, corrupted
from syncline.testing.simulated_loop import Machine
from tests.simulation.plan import Faults

__all__ = ["SimLink"]


class SimLink(Link):
    """One device's network over all its lives. `faults` are those of now: `heal` ends all of them."""

    def __init__(self, name: str, *, seed: int, faults: Faults, latency_s: float) -> None:
        super().__init__()
        self._draw = random.Random(f"{seed} link of {name}")
        self._faults = faults
        self._latency_s = latency_s

    def heal(self) -> None:
        """From now on everything arrives; what was held back, too."""
        self._faults = Faults()
        self.offline = False
        self.resume()

    async def before(self, kind: RequestKind) -> None:
        """A request is on its way."""
        await self._travel()
        await super().before(kind)
        if self._happens(self._faults.request_lost, f"{kind.value}: request lost"):
            raise ConnectionFailed("The request was lost.")
        if self._happens(self._faults.refused, f"{kind.value}: refused"):
            if self._draw.random() < 0.4:
                raise AuthFailed("HTTP 401", status_code=401)
            status = self._draw.choice([502, 503])
            raise ServiceError(f"HTTP {status}", status_code=status)

    async def after(self, kind: RequestKind) -> None:
        """The answer is on its way."""
        if self._happens(self._faults.answer_lost, f"{kind.value}: answer lost"):
            raise ConnectionFailed("The answer was lost.")
        await self._travel()
        await super().after(kind)

    def deliveries(self, kind: RequestKind) -> int:
        """Proxies deliver requests twice."""
        repeated = kind is not RequestKind.STREAM and self._happens(
            self._faults.upload_repeated, f"{kind.value}: repeated"
        )
        return 2 if repeated else 1

    async def line(self, line: bytes, sent_at_s: float) -> list[bytes]:
        """A line is on its way. Lines that say what follows are never lost alone: TCP would not do that, and no checksum tells."""
        await self._travel(sent_at_s)
        arrived = await super().line(line, sent_at_s)
        if self._happens(self._faults.cut_at_line, "cut at a line"):
            raise ConnectionFailed("The connection broke.")
        if line.startswith(b'{"data":'):
            if self._happens(self._faults.line_corrupted, "line corrupted"):
                return [corrupted(line)]
            if self._happens(self._faults.line_duplicated, "line duplicated"):
                return [line, line]
            if self._happens(self._faults.line_lost, "line lost"):
                return []
        return arrived

    async def _travel(self, sent_at_s: float | None = None) -> None:
        machine = Machine.current()
        if machine is not None and machine.is_dead:
            raise asyncio.CancelledError
        if self._latency_s:
            now_s = asyncio.get_running_loop().time()
            due_s = (now_s if sent_at_s is None else sent_at_s) + self._draw.random() * self._latency_s
            if due_s > now_s:
                await asyncio.sleep(due_s - now_s)

    def _happens(self, probability: float, what: str) -> bool:
        if not probability or self._draw.random() >= probability:
            return False
        self.happened[what] += 1
        return True
