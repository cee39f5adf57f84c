"""Which streams are open: whose, since when, how much was sent. And the way to end those of one user."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from syncline.storage.control_model import ConnectionReport
from syncline.sync.small_sets import SmallSets

__all__ = ["REPORTS_WAITING_MAX", "OpenStream", "StreamRegistry"]

log = logging.getLogger(__name__)

REPORTS_WAITING_MAX = 10_000  # reports that wait to be stored; the oldest go where storage does not keep up
USER_AGENT_CHARACTERS_MAX = 300  # characters of a user agent that a report keeps


@dataclass(slots=True, eq=False)
class OpenStream:
    """A stream while it is open. Whoever sends counts up `operations_sent` and `bytes_sent` (as sent, after compression)."""

    user_id: str
    client_id: str
    user_agent: str
    transport: str  # http or websocket
    opened_ms: int  # since 1970
    token_expires_s: int  # since 1970
    end: Callable[[], object] = field(repr=False)  # ends the stream; safe to call twice
    operations_sent: int = 0
    bytes_sent: int = 0
    is_revoked: bool = False  # ended because the user was revoked
    measure: Callable[[], tuple[int, int]] | None = field(
        default=None, repr=False
    )  # both counts, where they are kept elsewhere

    def count(self) -> None:
        """Bring `operations_sent` and `bytes_sent` up to date."""
        if self.measure is not None:
            self.operations_sent, self.bytes_sent = self.measure()


class StreamRegistry:
    """All open streams of a process. Use it from one event loop."""

    def __init__(self, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._by_user: SmallSets[OpenStream] = SmallSets()
        self._waiting: deque[ConnectionReport] = deque(maxlen=REPORTS_WAITING_MAX)

    def open(
        self,
        *,
        user_id: str,
        client_id: str | None,
        user_agent: str,
        transport: str,
        token_expires_s: int,
        end: Callable[[], object],
    ) -> OpenStream:
        """A stream begins. Hand the result to `close` when it has ended, however it did."""
        stream = OpenStream(
            user_id=user_id,
            client_id=client_id or "",
            user_agent=user_agent[:USER_AGENT_CHARACTERS_MAX],
            transport=transport,
            opened_ms=self._now_ms(),
            token_expires_s=token_expires_s,
            end=end,
        )
        self._by_user.add(user_id, stream)
        self._waiting.append(_report(stream))
        return stream

    def close(self, stream: OpenStream) -> None:
        """A stream has ended. Safe to call twice."""
        if stream not in self._by_user.of(stream.user_id):
            return
        self._by_user.discard(stream.user_id, stream)
        ended = replace(
            _report(stream),
            connections=0,
            disconnected_ms=None if self._has_open(stream.user_id, stream.client_id) else self._now_ms(),
            operations_sent=stream.operations_sent,
            bytes_sent=stream.bytes_sent,
        )
        self._waiting.append(ended)

    def end(self, user_id: str) -> int:
        """End all streams of a user; how many they were."""
        streams = list(self._by_user.of(user_id))
        for stream in streams:
            stream.is_revoked = True
            try:
                stream.end()
            except Exception:  # one that cannot be ended must not keep the others open
                log.exception("A stream could not be ended", extra={"event": "api.end_failed"})
        return len(streams)

    def streams(self, user_id: str | None = None) -> Sequence[OpenStream]:
        """Open streams of one user or of all, the oldest first."""
        found = list(self._by_user.members() if user_id is None else self._by_user.of(user_id))
        for stream in found:
            stream.count()
        return sorted(found, key=lambda stream: stream.opened_ms)

    def __len__(self) -> int:
        return len(self._by_user)

    def take_reports(self) -> list[ConnectionReport]:
        """What was opened and closed since this was called last, for storage."""
        reports = list(self._waiting)
        self._waiting.clear()
        return reports

    def give_back(self, reports: Sequence[ConnectionReport]) -> None:
        """Reports that could not be stored: they wait again, before the newer ones, as far as there is room."""
        room = REPORTS_WAITING_MAX - len(self._waiting)
        self._waiting.extendleft(reversed(reports[max(0, len(reports) - room) :] if room else []))

    def _has_open(self, user_id: str, client_id: str) -> bool:
        return any(stream.client_id == client_id for stream in self._by_user.of(user_id))


def _report(stream: OpenStream) -> ConnectionReport:
    return ConnectionReport(
        user_id=stream.user_id,
        client_id=stream.client_id,
        user_agent=stream.user_agent,
        connected_ms=stream.opened_ms,
        disconnected_ms=None,
        token_expires_s=stream.token_expires_s,
    )
