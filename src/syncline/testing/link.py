"""The way between one device and a service in memory, and what can go wrong on it."""

from __future__ import annotations

import asyncio
import enum
import re
from collections import Counter
from collections.abc import Callable

from syncline.client.errors import AuthFailed, ConnectionFailed, ServiceError

__all__ = ["Link", "RequestKind", "corrupted"]


class RequestKind(enum.Enum):
    """What a device asks for."""

    TOKEN = "token"  # noqa: S105 - a kind of request, no secret
    STREAM = "stream"
    WRITE_CHECKPOINT = "write checkpoint"
    UPLOAD = "upload"


class Link:
    """One device's network. Faults are planned ahead: each hits the next request of its kind, once or as often as said.

    Everything is counted in `happened`. A subclass can decide for itself by overriding `before`, `after`, `deliveries` and `line`.
    """

    def __init__(self) -> None:
        self.happened: Counter[str] = Counter()
        self.delay_s = 0.0
        """Seconds that each message takes, in both directions."""
        self._offline = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusals: dict[RequestKind, list[int]] = {kind: [] for kind in RequestKind}
        self._lost: Counter[RequestKind] = Counter()
        self._repeated: Counter[RequestKind] = Counter()
        self._corrupt = 0
        self._duplicate = 0
        self._cuts: set[Callable[[Exception], None]] = set()

    # -- for tests

    @property
    def offline(self) -> bool:
        """True: open streams break and nothing can be reached. Set it to False to be online again."""
        return self._offline

    @offline.setter
    def offline(self, value: bool) -> None:
        self._offline = value
        if value:
            self.cut()

    def cut(self) -> int:
        """Break the open streams at once; what was under way is lost. Returns how many there were."""
        cuts = list(self._cuts)
        for cut in cuts:
            cut(ConnectionFailed("The connection was cut."))
        self.happened["cut"] += len(cuts)
        return len(cuts)

    def stall(self) -> None:
        """Let nothing pass any more, in silence: connections stay open, as behind a dead router."""
        self._flowing.clear()
        self.happened["stall"] += 1

    def resume(self) -> None:
        """End a stall: what was held back arrives."""
        self._flowing.set()

    def refuse(self, kind: RequestKind, status: int, *, times: int = 1) -> None:
        """Answer the next requests of a kind with an HTTP status; 502 and the like bring a page of HTML."""
        self._refusals[kind] += [status] * times

    def lose_answers(self, kind: RequestKind, *, times: int = 1) -> None:
        """Let the next requests of a kind arrive and have their effect, and lose the answers."""
        self._lost[kind] += times

    def repeat(self, kind: RequestKind, *, times: int = 1) -> None:
        """Deliver the next requests of a kind twice, as a proxy does that tries again by itself."""
        self._repeated[kind] += times

    def corrupt_checksums(self, *, times: int = 1) -> None:
        """Change the checksum of an operation in the next data lines, so that its bucket's total does not fit."""
        self._corrupt += times

    def duplicate_lines(self, *, times: int = 1) -> None:
        """Send the next data lines twice."""
        self._duplicate += times

    # -- what transports and connectors call

    async def before(self, kind: RequestKind) -> None:
        """A request is on its way. Raises ConnectionFailed, AuthFailed or ServiceError where it does not arrive."""
        await self._pass()
        if self._refusals[kind]:
            status = self._refusals[kind].pop(0)
            self.happened[f"{kind.value}: HTTP {status}"] += 1
            raise _http_error(status)

    async def after(self, kind: RequestKind) -> None:
        """The answer is on its way. Raises ConnectionFailed where it does not arrive."""
        if self._lost[kind]:
            self._lost[kind] -= 1
            self.happened[f"{kind.value}: answer lost"] += 1
            raise ConnectionFailed("The connection broke before the answer came.")
        await self._pass()

    def deliveries(self, kind: RequestKind) -> int:
        """How many times a request arrives at the other end."""
        if self._repeated[kind]:
            self._repeated[kind] -= 1
            self.happened[f"{kind.value}: repeated"] += 1
            return 2
        return 1

    async def line(self, line: bytes, sent_at_s: float) -> list[bytes]:
        """A line of a stream is on its way since the loop's time `sent_at_s`: what arrives in its place.

        Raises ConnectionFailed where the stream breaks.
        """
        await self._pass(sent_at_s)
        if line.startswith(b'{"data":'):
            if self._corrupt:
                self._corrupt -= 1
                self.happened["checksum corrupted"] += 1
                return [corrupted(line)]
            if self._duplicate:
                self._duplicate -= 1
                self.happened["line duplicated"] += 1
                return [line, line]
        return [line]

    def register(self, cut: Callable[[Exception], None]) -> Callable[[], None]:
        """A stream is open: `cut` breaks it. Returns what to call at its end."""
        self._cuts.add(cut)
        return lambda: self._cuts.discard(cut)

    async def _pass(self, sent_at_s: float | None = None) -> None:
        self._check_online()
        await self._flowing.wait()
        if self.delay_s:
            now_s = asyncio.get_running_loop().time()
            await asyncio.sleep((now_s if sent_at_s is None else sent_at_s) + self.delay_s - now_s)
        self._check_online()

    def _check_online(self) -> None:
        if self._offline:
            self.happened["not reachable"] += 1
            raise ConnectionFailed("The device is offline.")


def corrupted(line: bytes) -> bytes:
    """A data line whose first operation has another checksum."""
    return re.sub(rb'"checksum":(\d+)', lambda match: b'"checksum":%d' % (int(match[1]) ^ 1), line, count=1)


def _http_error(status: int) -> ServiceError:
    """What the client makes of an HTTP status; of a page of HTML nothing is shown."""
    if status == 401:
        return AuthFailed("The service answered HTTP 401.", status_code=401, code="PSYNC_S2103")
    return ServiceError(f"The service answered HTTP {status}.", status_code=status)
