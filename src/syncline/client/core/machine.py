"""PURE: what a client does with what it hears (client SQLite reference, section 9).

Knows no socket, clock or database: events in, instructions out. The runner (`client/sync_loop.py`) performs them and decides nothing.
"""

from __future__ import annotations

from dataclasses import replace

from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.checkpoint import Applied, Blocked, LocalCheckpoint, Mismatch
from syncline.client.core.progress import ProgressTracker
from syncline.client.core.retry import RetryDelays
from syncline.client.core.status import FULL_SYNC_PRIORITY, BlockedBy, PriorityStatus, StreamStatus, SyncStatus, time_of
from syncline.client.core.stream_statuses import StreamStatuses
from syncline.client.core.subscriptions import LocalSubscription, streams_request
from syncline.client.errors import AuthFailed, ChecksumMismatch
from syncline.errors import RemoteProtocolError
from syncline.protocol import lines
from syncline.protocol.requests import StreamRequest

__all__ = ["TOKEN_PREFETCH_S", "SyncMachine"]

TOKEN_PREFETCH_S = 30  # seconds of life left at which a new token is fetched ahead

_NOT_CONNECTED: dict[str, object] = {
    "connected": False,
    "connecting": False,
    "progress": None,
    "blocked_by": None,
    "caught_up": False,
    "applied_write_checkpoint": None,
}


class SyncMachine:
    """The download side of one connected client, over any number of iterations (one per opened stream).

    Not safe to share between threads: one runner feeds it. `receive` never raises for what the service sends; a broken protocol ends
    the iteration with a `CloseStream` that carries the error.
    """

    def __init__(
        self,
        *,
        client_id: str,
        parameters: dict[str, object] | None = None,
        app_metadata: dict[str, str] | None = None,
        include_defaults: bool = True,
        retry: RetryDelays | None = None,
    ) -> None:
        self._client_id = client_id
        self._parameters = parameters or {}
        self._app_metadata = app_metadata or {}
        self._include_defaults = include_defaults
        self._status = SyncStatus()
        self._retry = retry or RetryDelays()
        self._auth_failures = 0  # refused tokens in a row, over iterations
        self._expiries = 0  # tokens in a row that had no life left at their first keepalive
        self._token_is_new = False  # fetched ahead; its first keepalive tells how long it lives
        self._prefetch_s = TOKEN_PREFETCH_S
        self._failures = 0  # iterations in a row that did not get as far as a complete checkpoint
        self._mismatches = 0  # complete checkpoints in a row with wrong checksums
        self._begin(ev.Started())
        self._running = False

    def receive(self, event: ev.Event) -> list[do.Instruction]:
        """Take one event; returns what to do about it, in this order."""
        if isinstance(event, ev.Started):
            return self._started(event)
        if isinstance(event, ev.Stopped):
            return self._stopped()
        if isinstance(event, ev.SyncStateChanged):
            return [self._publish(**_priorities(event.sync_state))]
        if isinstance(event, ev.ClientIdChanged):
            return self._client_id_changed(event.client_id)
        if isinstance(event, ev.SubscriptionsChanged):
            return self._subscriptions_changed(event.subscriptions)
        if not self._running:
            return []  # of an iteration that is over
        match event:
            case ev.ConnectionOpened():
                self._auth_failures = 0
                return [self._publish(connected=True, connecting=False)]
            case ev.LineReceived():
                return self._line(event)
            case ev.StreamEnded():
                return self._close(error=None)
            case ev.StreamFailed():
                return self._failed(event.error)
            case ev.UploadFinished():
                return self._upload_finished(event)
            case ev.TokenRefreshed():
                self._token_is_new = True
                return self._reopen()
            case ev.TokenPrefetchFailed():
                self._prefetching = False  # the next keepalive tries again
                return []
            case ev.TimePassed():
                return [do.RefreshSubscriptions(), do.TriggerUpload()]
            case ev.CheckpointApplied():
                return self._applied(event)

    # -- iterations

    def _begin(self, event: ev.Started) -> None:
        self._running = True
        self._checkpoint: LocalCheckpoint | None = None
        self._pending: LocalCheckpoint | None = None  # validated, but not applied
        self._known = {position.name for position in event.positions}
        self._requested = streams_request(event.subscriptions, include_defaults=self._include_defaults)
        self._streams = StreamStatuses(event.subscriptions)
        self._progress = ProgressTracker(event.counters)
        self._seen: int | None = None  # the newest write checkpoint in a complete checkpoint of this iteration
        self._first_line = True
        self._prefetching = False

    def _started(self, event: ev.Started) -> list[do.Instruction]:
        hidden = self._status.connected  # only another request: what the app sees goes on until the first line
        self._begin(event)
        request = StreamRequest(
            buckets=list(event.positions),
            include_checksum=True,
            raw_data=True,
            client_id=self._client_id,
            parameters=self._parameters,
            app_metadata=self._app_metadata or None,
            streams=self._requested,
        )
        publish = self._publish(
            connecting=not hidden,
            progress=self._status.progress if hidden else None,
            blocked_by=self._status.blocked_by if hidden else None,
            caught_up=self._status.caught_up and hidden,
            applied_write_checkpoint=None,
            streams=self._streams.statuses(),
            **_priorities(event.sync_state),
        )
        return [publish, do.OpenStream(request)]

    def _stopped(self) -> list[do.Instruction]:
        self._running = False
        self._failures = self._mismatches = self._auth_failures = self._expiries = 0
        publish = self._publish(**_NOT_CONNECTED, streams=self._without_progress(), download_error=None, retries=0)
        return [do.CloseStream(), publish]

    def _close(
        self, *, error: Exception | None, reconnect_now: bool = False, first: list[do.Instruction] | None = None
    ) -> list[do.Instruction]:
        """End the iteration visibly."""
        self._running = False
        if error is not None or self._checkpoint is None:
            self._failures += 1
        failures = self._mismatches if isinstance(error, ChecksumMismatch) else self._failures
        publish = self._publish(
            **_NOT_CONNECTED,
            streams=self._without_progress(),
            # What is tried again at once (a token that had run out) is no error yet.
            download_error=(None if reconnect_now else error) or self._status.download_error,
            retries=self._failures,
        )
        delay_s = 0.0 if reconnect_now else self._retry.delay_s(failures, error)
        close = do.CloseStream(error=error, reconnect_now=reconnect_now, delay_s=delay_s)
        return [*(first or []), close, publish]

    def _failed(self, error: Exception) -> list[do.Instruction]:
        if not isinstance(error, AuthFailed):
            return self._close(error=error)
        # A refused token is replaced at once; a second refusal in a row waits, or a wrong key would make a hot loop.
        self._auth_failures += 1
        return self._close(
            error=error, reconnect_now=self._auth_failures == 1, first=[do.FetchCredentials(expired=True)]
        )

    def _without_progress(self) -> tuple[StreamStatus, ...]:
        self._streams.show_progress(None)
        return self._streams.statuses()

    # -- lines

    def _line(self, event: ev.LineReceived) -> list[do.Instruction]:
        try:
            return self._read_line(event)
        except RemoteProtocolError as exc:
            return self._close(error=exc)

    def _read_line(self, event: ev.LineReceived) -> list[do.Instruction]:
        opening: list[do.Instruction] = []
        if self._first_line:
            self._first_line = False
            opening.append(do.TriggerUpload())
            if not self._status.connected:
                opening.append(self._publish(connected=True, connecting=False))
        match event.line:
            case None:
                return opening
            case lines.Checkpoint() as line:
                return opening + self._new_checkpoint(line)
            case lines.TokenExpiresIn(seconds):
                return opening + self._token(seconds)
            case lines.DataBatch() as batch:
                return opening + self._data(batch, event.size_bytes)
            case lines.CheckpointDiff() as line:
                if self._checkpoint is None:
                    return self._protocol_error("checkpoint_diff")
                return opening + self._diff(self._checkpoint, line)
            case lines.CheckpointComplete():
                if self._checkpoint is None:
                    return self._protocol_error("checkpoint_complete")
                return [*opening, do.ApplyCheckpoint(self._checkpoint, None)]
            case lines.PartialCheckpointComplete(_, priority):
                if self._checkpoint is None:
                    return self._protocol_error("partial_checkpoint_complete")
                return [*opening, do.ApplyCheckpoint(self._checkpoint, priority)]

    def _protocol_error(self, kind: str) -> list[do.Instruction]:
        return self._close(error=RemoteProtocolError(f"The service sent {kind} before any checkpoint."))

    def _data(self, batch: lines.DataBatch, size_bytes: int) -> list[do.Instruction]:
        moved = self._progress.received(batch.bucket, len(batch.data))
        self._known.add(batch.bucket)
        store = do.StoreOps(batch, size_bytes)
        if self._checkpoint is None:
            return [store]
        self._streams.show_progress(self._progress, moved)
        return [store, self._publish(progress=self._progress.progress(), streams=self._streams.statuses())]

    def _new_checkpoint(self, line: lines.Checkpoint) -> list[do.Instruction]:
        self._streams.set_streams(line.streams)
        warnings: list[do.Instruction] = [
            do.LogWarning("stream_unknown", f"The service has no sync stream named {name!r} for this user.")
            for name in self._streams.unknown
        ]
        warnings += [
            do.LogWarning("stream_error", f"Sync stream {stream.name!r}: {error.message}")
            for stream in line.streams
            for error in stream.errors
        ]
        checkpoint = LocalCheckpoint.of_line(line)
        gone = tuple(sorted(self._known - checkpoint.buckets.keys()))
        return [*warnings, do.RecordStreams(tuple(line.streams)), *self._adopt(checkpoint, gone)]

    def _diff(self, checkpoint: LocalCheckpoint, line: lines.CheckpointDiff) -> list[do.Instruction]:
        return self._adopt(checkpoint.with_diff(line), tuple(line.removed_buckets))

    def _adopt(self, checkpoint: LocalCheckpoint, gone: tuple[str, ...]) -> list[do.Instruction]:
        """Work towards `checkpoint` from now on; what was validated before it must not be applied any more."""
        self._checkpoint, self._pending = checkpoint, None
        self._known = (self._known | checkpoint.buckets.keys()) - set(gone)
        self._progress.forget(gone)
        todo: list[do.Instruction] = [do.DeleteBuckets(gone)] if gone else []
        if self._progress.begin(checkpoint.buckets.values()):
            todo.append(do.ResetProgress())
        self._streams.set_buckets(checkpoint.buckets.values())
        self._progress.assign(self._streams.owners)
        self._streams.show_progress(self._progress)
        publish = self._publish(progress=self._progress.progress(), blocked_by=None, streams=self._streams.statuses())
        return [*todo, publish]

    def _token(self, seconds: int) -> list[do.Instruction]:
        """A keepalive (protocol reference, 2.7): also the moment to look at subscriptions and at the upload queue."""
        if seconds <= 0:
            self._expiries += 1
            # A connector that hands out the same token again would make a hot loop: services accept it for a minute more.
            reconnect_now = self._expiries == 1
            return self._close(error=None, reconnect_now=reconnect_now, first=[do.FetchCredentials(expired=True)])
        self._expiries = 0
        todo: list[do.Instruction] = [do.RefreshSubscriptions(), do.TriggerUpload()]
        if self._token_is_new:
            # One that lives shorter than that would be replaced at once, and so on: a hot loop.
            self._token_is_new = False
            self._prefetch_s = min(TOKEN_PREFETCH_S, seconds // 2)
        if seconds <= self._prefetch_s and not self._prefetching:
            self._prefetching = True
            todo.append(do.FetchCredentials(expired=False))
        return todo

    # -- results

    def _applied(self, event: ev.CheckpointApplied) -> list[do.Instruction]:
        full = event.priority is None
        match event.result:
            case Mismatch(buckets):
                self._mismatches += 1
                return self._close(error=ChecksumMismatch(buckets))
            case Blocked(reason):
                if not full:
                    return []  # the full checkpoint takes care of it
                self._pending = self._checkpoint
                self._downloaded()
                return [self._publish(blocked_by=reason, download_error=None, retries=0), do.TriggerUpload()]
            case Applied():
                done = self._streams.synced(event.priority)
                todo: list[do.Instruction] = [do.MarkStreamsSynced(done)] if done else []
                return [*todo, self._visible()] if full else todo

    def _downloaded(self) -> None:
        """A complete checkpoint is on the device, and its checksums are right: whatever failed before is over."""
        self._failures = self._mismatches = 0
        if self._checkpoint is not None and self._checkpoint.write_checkpoint is not None:
            self._seen = max(self._seen or 0, self._checkpoint.write_checkpoint)

    def _visible(self) -> do.PublishStatus:
        """The full checkpoint is in the app's tables."""
        self._pending = None
        self._downloaded()
        self._progress.applied()
        return self._publish(
            progress=None,
            blocked_by=None,
            download_error=None,
            retries=0,
            caught_up=True,
            applied_write_checkpoint=self._seen,
            streams=self._without_progress(),
        )

    def _upload_finished(self, event: ev.UploadFinished) -> list[do.Instruction]:
        """Apply what was only waiting for our own writes to come back."""
        pending = self._pending
        # A later checkpoint may name no write checkpoint (protocol reference, 2.4): one that was seen before still counts.
        seen = max(event.last_seen or 0, (pending.write_checkpoint if pending else None) or 0)
        if seen < (event.target or 0):
            return [self._publish(blocked_by=BlockedBy.WRITE_CHECKPOINT)]
        if pending is None:
            return []
        self._pending = None
        return [do.ApplyCheckpoint(pending, None)]

    def _subscriptions_changed(self, rows: tuple[LocalSubscription, ...]) -> list[do.Instruction]:
        self._streams.set_rows(rows)
        self._progress.assign(self._streams.owners)
        if self._status.progress is not None:
            self._streams.show_progress(self._progress)
        publish = self._publish(streams=self._streams.statuses())
        changed = streams_request(rows, include_defaults=self._include_defaults) != self._requested
        if not (changed and self._running):
            return [publish]
        return [publish, *self._reopen()]

    def _client_id_changed(self, client_id: str) -> list[do.Instruction]:
        self._client_id = client_id
        return self._reopen() if self._running else []

    def _reopen(self) -> list[do.Instruction]:
        """Ask again at once, with another request; nothing that the app should notice."""
        self._running = False
        return [do.CloseStream(hide_disconnect=True, reconnect_now=True)]

    # -- status

    def _publish(self, **changes: object) -> do.PublishStatus:
        self._status = replace(self._status, **changes)
        return do.PublishStatus(self._status)


def _priorities(sync_state: tuple[tuple[int, int], ...]) -> dict[str, object]:
    from_file = tuple(PriorityStatus(priority, time_of(at_us)) for priority, at_us in sorted(sync_state))
    return {
        "priorities": from_file,
        "has_synced": any(entry.priority == FULL_SYNC_PRIORITY for entry in from_file),
    }
