"""PURE: what a client does with what it hears (client SQLite reference, section 9).

Knows no socket, clock or database: events in, instructions out. The runner (`client/sync_loop.py`) performs them and decides nothing.
"""

from __future__ import annotations

from dataclasses import replace

from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.checkpoint import Applied, Blocked, LocalCheckpoint, Mismatch
from syncline.client.core.progress import ProgressTracker
from syncline.client.core.status import FULL_SYNC_PRIORITY, PriorityStatus, StreamStatus, SyncStatus, time_of
from syncline.client.core.subscriptions import (
    LocalSubscription,
    decode_params,
    stream_priorities,
    streams_request,
    synced_ids,
    unknown_streams,
)
from syncline.client.errors import AuthFailed, ChecksumMismatch
from syncline.errors import RemoteProtocolError
from syncline.protocol import lines
from syncline.protocol.requests import StreamRequest

__all__ = ["TOKEN_PREFETCH_S", "SyncMachine"]

TOKEN_PREFETCH_S = 30  # seconds of life left at which a new token is fetched ahead


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
    ) -> None:
        self._client_id = client_id
        self._parameters = parameters or {}
        self._app_metadata = app_metadata or {}
        self._include_defaults = include_defaults
        self._status = SyncStatus()
        self._auth_failures = 0  # refused tokens in a row, over iterations
        self._begin(ev.Started())
        self._running = False

    def receive(self, event: ev.Event) -> list[do.Instruction]:
        """Take one event; returns what to do about it, in this order."""
        if isinstance(event, ev.Started):
            return self._started(event)
        if isinstance(event, ev.Stopped):
            self._running = False
            return [do.CloseStream(), self._publish(connected=False, connecting=False, progress=None, blocked_by=None)]
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
                return self._reopen()
            case ev.CheckpointApplied():
                return self._applied(event)

    # -- iterations

    def _begin(self, event: ev.Started) -> None:
        self._running = True
        self._checkpoint: LocalCheckpoint | None = None
        self._pending: LocalCheckpoint | None = None  # validated, but not applied
        self._known = {position.name for position in event.positions}
        self._rows = event.subscriptions
        self._requested_rows = event.subscriptions
        self._requested = streams_request(event.subscriptions, include_defaults=self._include_defaults)
        self._streams: list[lines.StreamDescription] = []
        self._unknown: list[str] = []
        self._progress = ProgressTracker(event.counters)
        self._first_line = True
        self._prefetching = False

    def _started(self, event: ev.Started) -> list[do.Instruction]:
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
            connecting=not self._status.connected,
            progress=None,
            blocked_by=None,
            streams=self._stream_statuses(),
            **_priorities(event.sync_state),
        )
        return [publish, do.OpenStream(request)]

    def _close(
        self, *, error: Exception | None, reconnect_now: bool = False, first: list[do.Instruction] | None = None
    ) -> list[do.Instruction]:
        """End the iteration visibly."""
        self._running = False
        publish = self._publish(
            connected=False,
            connecting=False,
            progress=None,
            blocked_by=None,
            download_error=error or self._status.download_error,
        )
        return [*(first or []), do.CloseStream(error=error, reconnect_now=reconnect_now), publish]

    def _failed(self, error: Exception) -> list[do.Instruction]:
        if not isinstance(error, AuthFailed):
            return self._close(error=error)
        # A refused token is replaced at once; a second refusal in a row waits, or a wrong key would make a hot loop.
        self._auth_failures += 1
        return self._close(
            error=error, reconnect_now=self._auth_failures == 1, first=[do.FetchCredentials(expired=True)]
        )

    # -- lines

    def _line(self, event: ev.LineReceived) -> list[do.Instruction]:
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
                self._progress.received(batch.bucket, len(batch.data))
                self._known.add(batch.bucket)
                store: list[do.Instruction] = [do.StoreOps(batch, event.size_bytes)]
                if self._checkpoint is not None:
                    store.append(self._publish(progress=self._progress.progress()))
                return opening + store
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

    def _new_checkpoint(self, line: lines.Checkpoint) -> list[do.Instruction]:
        self._streams = line.streams
        self._unknown = unknown_streams(self._requested_rows, line.streams)
        warnings: list[do.Instruction] = [
            do.LogWarning("stream_unknown", f"The service has no sync stream named {name!r} for this user.")
            for name in self._unknown
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
        return [*todo, self._publish(progress=self._progress.progress(), blocked_by=None)]

    def _token(self, seconds: int) -> list[do.Instruction]:
        """A keepalive (protocol reference, 2.7): also the moment to look at subscriptions and at the upload queue."""
        if seconds <= 0:
            return self._close(error=None, reconnect_now=True, first=[do.FetchCredentials(expired=True)])
        todo: list[do.Instruction] = [do.RefreshSubscriptions(), do.TriggerUpload()]
        if seconds <= TOKEN_PREFETCH_S and not self._prefetching:
            self._prefetching = True
            todo.append(do.FetchCredentials(expired=False))
        return todo

    # -- results

    def _applied(self, event: ev.CheckpointApplied) -> list[do.Instruction]:
        full = event.priority is None
        match event.result:
            case Mismatch(buckets):
                return self._close(error=ChecksumMismatch(buckets))
            case Blocked(reason):
                if not full:
                    return []  # the full checkpoint takes care of it
                self._pending = self._checkpoint
                return [self._publish(blocked_by=reason), do.TriggerUpload()]
            case Applied():
                buckets = list(self._checkpoint.buckets.values()) if self._checkpoint else []
                priorities = stream_priorities(self._requested_rows, self._rows, self._streams, buckets)
                todo: list[do.Instruction] = []
                if done := synced_ids(self._rows, priorities, priority=event.priority):
                    todo.append(do.MarkStreamsSynced(done))
                if not full:
                    return todo
                self._pending = None
                self._progress.applied()
                return [*todo, self._publish(progress=None, blocked_by=None, download_error=None)]

    def _upload_finished(self, event: ev.UploadFinished) -> list[do.Instruction]:
        """Apply what was only waiting for our own writes to come back."""
        pending = self._pending
        # A later checkpoint may name no write checkpoint (protocol reference, 2.4): one that was seen before still counts.
        seen = max(event.last_seen or 0, (pending.write_checkpoint if pending else None) or 0)
        if seen < (event.target or 0):
            return [self._publish(blocked_by="write_checkpoint")]
        if pending is None:
            return []
        self._pending = None
        return [do.ApplyCheckpoint(pending, None)]

    def _subscriptions_changed(self, rows: tuple[LocalSubscription, ...]) -> list[do.Instruction]:
        self._rows = rows
        publish = self._publish(streams=self._stream_statuses())
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

    def _stream_statuses(self) -> tuple[StreamStatus, ...]:
        errors = {stream.name: tuple(error.message for error in stream.errors) for stream in self._streams}
        return tuple(
            StreamStatus(
                name=row.stream,
                parameters=decode_params(row.params_text),
                active=row.active,
                is_default=row.is_default,
                explicit=row.explicit,
                unknown=row.stream in self._unknown,
                errors=errors.get(row.stream, ()),
                expires_at=None if row.expires_at_us is None else time_of(row.expires_at_us),
                last_synced_at=None if row.last_synced_at_us is None else time_of(row.last_synced_at_us),
            )
            for row in self._rows
        )


def _priorities(sync_state: tuple[tuple[int, int], ...]) -> dict[str, object]:
    from_file = tuple(PriorityStatus(priority, time_of(at_us)) for priority, at_us in sorted(sync_state))
    return {
        "priorities": from_file,
        "has_synced": any(entry.priority == FULL_SYNC_PRIORITY for entry in from_file),
    }
