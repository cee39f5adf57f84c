"""What the log says of a stream, over either transport: the fields of the reference's session lines (golden operations, "Log lines")."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field

from syncline.api.stream_registry import OpenStream
from syncline.sync.stream import SyncStream

__all__ = ["StreamLog"]

log = logging.getLogger("syncline.api.stream")

ROUTE = "/sync/stream"
_CLOSE_REASONS = {"client": "client closing stream", "shutdown": "process shutdown"}


@dataclass(frozen=True, slots=True)
class StreamLog:
    """The lines of one stream. All of them carry its request id."""

    opened: OpenStream
    bson: bool
    request_id: str = field(default_factory=lambda: f"h/{_uuid7(time.time_ns() // 1_000_000, random.getrandbits(74))}")

    def tell_opened(self) -> None:
        """The stream's first line goes out."""
        log.info("Stream opened", extra=self._fields("sync.open"))

    def tell_closed(self, stream: SyncStream, *, reason: str) -> None:
        """It has ended, however it did. `reason`: our word for it; the field's word is logged where there is one."""
        opened = self.opened
        log.info(
            "Stream closed",
            extra={
                **self._fields("sync.close"),
                "operations_synced": stream.operations_sent,
                "data_synced_bytes": stream.bytes_made,
                "data_sent_bytes": opened.bytes_sent,
                "stream_ms": time.time_ns() // 1_000_000 - opened.opened_ms,
                "close_reason": _CLOSE_REASONS.get(reason, reason),
            },
        )

    def _fields(self, event: str) -> dict[str, object]:
        opened = self.opened
        return {
            "event": event,
            "rid": self.request_id,
            "route": ROUTE,
            "transport": opened.transport,
            "user_id": opened.user_id,
            "client_id": opened.client_id,
            "user_agent": opened.user_agent,
            "bson": self.bson,
        }


def _uuid7(now_ms: int, random_bits: int) -> str:
    """A UUID of version 7 (RFC 9562, 5.7): 48 bits of time, then 74 random ones."""
    high, low = random_bits >> 62, random_bits & (1 << 62) - 1
    value = (now_ms & (1 << 48) - 1) << 80 | 7 << 76 | (high & 0xFFF) << 64 | 2 << 62 | low
    text = f"{value:032x}"
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])
