"""PURE: what a connection waits for, and which of it takes so long that the app has to be told (contract C6).

A client must never look idle while something keeps it waiting. Everything that it can wait for has a name here; after `STALL_REPORT_S`
the status says which, long before the wait is given up.
"""

from __future__ import annotations

import enum

from syncline.client.core.status import BlockedBy, SyncStatus
from syncline.errors import ClientError, Retry

__all__ = ["STALL_REPORT_S", "Stalled", "Wait", "Waits"]

STALL_REPORT_S = 25.0  # seconds of one wait until it is in the status; the service's keepalives come every 18 to 22 s


class Wait(enum.StrEnum):
    """What a connection can wait for, the most telling first: of several overdue waits the first is shown."""

    LOCAL_DATABASE = "local_database"  # the writer thread: an open transaction of the app, or a slow disk
    CREDENTIALS = "credentials"  # the connector's fetch_credentials
    ANSWER = "answer"  # the service's answer to the request for a stream
    LINE = "line"  # anything at all in an open stream that has keepalive lines
    UPLOAD = "upload"  # the connector's upload_data
    UPLOAD_ATTEMPT = "upload_attempt"  # the uploader's look at writes that wait in the queue
    CHECKPOINT_REQUEST = "checkpoint_request"  # the service's answer to a request for a write checkpoint
    CHECKPOINT = "checkpoint"  # the next operations, or the end, of a checkpoint that has begun
    WRITE_CHECKPOINT = "write_checkpoint"  # our own writes, on their way through the source and back


_HINTS = {
    Wait.LOCAL_DATABASE: "Close write transactions soon, and do not wait for the network inside of one.",
    Wait.CREDENTIALS: "Give the requests of fetch_credentials a timeout.",
    Wait.ANSWER: "The service is reached, but does not answer: see its log.",
    Wait.LINE: "A proxy between client and service may buffer the stream: switch buffering off for /sync/stream.",
    Wait.UPLOAD: "Give the requests of upload_data a timeout.",
    Wait.UPLOAD_ATTEMPT: "Close read transactions soon: the upload queue is read through the same connections.",
    Wait.CHECKPOINT_REQUEST: "The service does not answer: see its log.",
    Wait.CHECKPOINT: "The service has begun a checkpoint and does not end it: see its log.",
    Wait.WRITE_CHECKPOINT: "Replication may be behind, or the stream may belong to another user than the upload.",
}


class Stalled(ClientError):
    """Something takes longer than STALL_REPORT_S; `reason` says what. The client goes on, and gives it up when its own time is over."""

    retry = Retry.BACKOFF

    def __init__(self, reason: Wait, after_s: float = STALL_REPORT_S) -> None:
        super().__init__(
            f"Nothing has moved for {after_s:g} s: still waiting for {reason.value.replace('_', ' ')}.",
            hint=_HINTS[reason],
            reason=reason.value,
        )
        self.reason = reason


class Waits:
    """Since when which wait is on. Times are seconds of any clock that only goes forward."""

    def __init__(self, *, report_after_s: float = STALL_REPORT_S) -> None:
        self._report_after_s = report_after_s
        self._since_s: dict[Wait, float] = {}
        self._progress: object = None

    def begin(self, wait: Wait, *, now_s: float) -> None:
        """It begins now, or has just moved on."""
        self._since_s[wait] = now_s

    def end(self, *waits: Wait) -> None:
        """They are over."""
        for wait in waits:
            self._since_s.pop(wait, None)

    def observe(self, status: SyncStatus, *, now_s: float) -> None:
        """Take from the status what it knows: whether a checkpoint moves on, and whether our own writes are on their
        way to the backend, and back.
        """
        downloading = status.progress if status.connected and status.blocked_by is None else None
        if downloading is None:
            self.end(Wait.CHECKPOINT)
        elif downloading != self._progress:
            self.begin(Wait.CHECKPOINT, now_s=now_s)
        self._progress = downloading
        self._keep(Wait.WRITE_CHECKPOINT, status.blocked_by == BlockedBy.WRITE_CHECKPOINT, now_s=now_s)
        untried = bool(status.pending_changes) and not status.uploading and status.upload_error is None
        self._keep(Wait.UPLOAD_ATTEMPT, untried, now_s=now_s)

    def _keep(self, wait: Wait, is_on: bool, *, now_s: float) -> None:
        if not is_on:
            self.end(wait)
        elif wait not in self._since_s:
            self.begin(wait, now_s=now_s)

    def overdue(self, *, now_s: float) -> Wait | None:
        """The most telling of the waits that take too long; None while all is well."""
        return next(
            (wait for wait in Wait if wait in self._since_s and now_s - self._since_s[wait] >= self._report_after_s),
            None,
        )

    def waited_s(self, wait: Wait, *, now_s: float) -> float:
        """Seconds of a wait until now; 0.0 where it is not on."""
        return now_s - self._since_s.get(wait, now_s)

    def pause_s(self, *, now_s: float) -> float | None:
        """Seconds until the next wait becomes overdue; None while there is none that could."""
        left = [since_s + self._report_after_s - now_s for since_s in self._since_s.values()]
        future = [left_s for left_s in left if left_s > 0]
        return min(future) if future else None
