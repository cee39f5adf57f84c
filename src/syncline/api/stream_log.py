"""What the log says of a stream, over either transport: the fields of the reference's session lines (golden operations, "Log lines").

A stream's first checkpoint is told, the later ones only at the level `verbose`: a change for 500 streams would be 500 lines. One that
is small is one line, when it is complete. Of buckets the streams are named, not the values that stand in their names.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field

from syncline.api.stream_registry import OpenStream
from syncline.sync.checkpoint_report import AnnouncedCheckpoint, CompletedCheckpoint
from syncline.sync.stream import SyncStream

__all__ = ["StreamLog", "tells_each_checkpoint"]

log = logging.getLogger("syncline.api.stream")

VERBOSE = 15  # between debug and info: `verbose` of the configuration
ROUTE = "/sync/stream"
_CLOSE_REASONS = {"client": "client closing stream", "shutdown": "process shutdown"}


def tells_each_checkpoint() -> bool:
    """Whether all checkpoints of streams are logged, and not their first ones only."""
    return log.isEnabledFor(VERBOSE)


@dataclass(slots=True)
class StreamLog:
    """The lines of one stream. All of them carry its request id. An observer of its checkpoints."""

    opened: OpenStream
    bson: bool
    _level: int = field(default=logging.INFO, init=False)  # of lines about checkpoints
    request_id: str = field(default_factory=lambda: f"h/{_uuid7(time.time_ns() // 1_000_000, random.getrandbits(74))}")

    def tell_opened(self) -> None:
        """The stream's first line goes out."""
        log.info("Stream opened", extra=self._fields("sync.open"))

    def checkpoint_announced(self, checkpoint: AnnouncedCheckpoint) -> None:
        """A checkpoint's head went out."""
        if not log.isEnabledFor(self._level):
            return
        extra = self._fields("sync.checkpoint") | _size_fields(checkpoint)
        log.log(self._level, "New checkpoint %s", _described(checkpoint), extra=extra)

    def checkpoint_completed(self, checkpoint: CompletedCheckpoint) -> None:
        """A checkpoint's last line went out."""
        if log.isEnabledFor(self._level):
            log.log(
                self._level,
                "Checkpoint complete, %d operations: %s",
                checkpoint.operations,
                _described(checkpoint.announced),
                extra={
                    **self._fields("sync.checkpoint_complete"),
                    **_size_fields(checkpoint.announced),
                    "operations_synced": checkpoint.operations,
                    "data_synced_bytes": checkpoint.line_bytes,
                    "ms": _milliseconds(checkpoint),
                },
            )
        self._level = VERBOSE

    def tell_closed(self, stream: SyncStream, *, reason: str) -> None:
        """It has ended, however it did. `reason`: our word for it; the field's word is logged where there is one."""
        opened, totals = self.opened, stream.totals
        log.info(
            "Stream closed",
            extra={
                **self._fields("sync.close"),
                "operations_synced": totals.operation_count,
                "operation_counts": totals.operations._asdict(),
                "data_synced_bytes": totals.line_bytes,
                "data_sent_bytes": opened.bytes_sent,
                "large_buckets": totals.large_buckets or {},
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


def _described(checkpoint: AnnouncedCheckpoint) -> str:
    named = ", ".join(f"{name}: {count}" for name, count in checkpoint.definitions.items())
    told = f" write checkpoint {checkpoint.write_checkpoint}," if checkpoint.write_checkpoint else ""
    return f"{checkpoint.op_id},{told} {checkpoint.bucket_count} buckets ({named})"


def _size_fields(checkpoint: AnnouncedCheckpoint) -> dict[str, object]:
    return {
        "checkpoint": int(checkpoint.op_id),
        "buckets": checkpoint.bucket_count,
        "parameter_query_results": checkpoint.parameter_results,
    }


def _milliseconds(checkpoint: CompletedCheckpoint) -> dict[str, int]:
    """Where the time of a checkpoint went; only what took any."""
    known_s = checkpoint.view_s + checkpoint.data_s + checkpoint.sending_s
    spent_s = {
        "checksum": checkpoint.view_s,
        "bucket_data": checkpoint.data_s,
        "sending": checkpoint.sending_s,
        "other": checkpoint.total_s - known_s,
        "total": checkpoint.total_s,
    }
    return {name: ms for name, seconds in spent_s.items() if (ms := round(seconds * 1000)) > 0}


def _uuid7(now_ms: int, random_bits: int) -> str:
    """A UUID of version 7 (RFC 9562, 5.7): 48 bits of time, then 74 random ones."""
    high, low = random_bits >> 62, random_bits & (1 << 62) - 1
    value = (now_ms & (1 << 48) - 1) << 80 | 7 << 76 | (high & 0xFFF) << 64 | 2 << 62 | low
    text = f"{value:032x}"
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])
