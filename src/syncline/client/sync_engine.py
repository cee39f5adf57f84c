"""Feeds the sync machine in the writer thread and performs its storage instructions there; the rest goes back to the event loop."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable

import apsw

from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.checkpoint import Applied
from syncline.client.core.machine import SyncMachine
from syncline.client.core.progress import BucketCounters
from syncline.client.local.buckets import BucketStore
from syncline.client.local.connection import write_transaction
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.schema import Schema
from syncline.client.schema_drift import DriftWatch
from syncline.client.subscription_store import SubscriptionStore
from syncline.errors import RemoteProtocolError
from syncline.protocol.lines import decode_line

__all__ = ["SyncEngine"]


def _nothing() -> list[bytes] | None:
    """No lines have come meanwhile."""


def _closes(edge: list[do.EdgeInstruction]) -> bool:
    return any(isinstance(instruction, do.CloseStream) for instruction in edge)


class SyncEngine:
    """One machine and its stores. Every method runs in the writer thread, outside of a transaction.

    A failed storage instruction (database busy, disk full) raises apsw.Error with nothing committed; the runner then begins a new
    iteration from what is on disk.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        machine: SyncMachine,
        *,
        client_id: Callable[[], str],
        now_us: Callable[[], int],
        active_streams: Callable[[], Iterable[tuple[str, str]]],
        schema: Schema | None = None,
    ) -> None:
        """With a `schema`, what is received and has no place in it is warned of."""
        self._connection = connection
        self._machine = machine
        self._client_id = client_id
        self._followed_client_id = client_id()
        self._now_us = now_us
        self._active_streams = active_streams
        self._buckets = BucketStore(connection)
        self._queue = CrudQueue(connection)
        self._subscriptions = SubscriptionStore(connection)
        self._has_applied = False
        self._drift = DriftWatch(connection, schema) if schema is not None else None

    def start(self) -> list[do.EdgeInstruction]:
        """Begin an iteration from what is on disk."""
        self.follow_client_id()
        self._buckets = BucketStore(self._connection)
        with write_transaction(self._connection, local_writes=False):
            self._subscriptions.refresh(self._active_streams(), now_us=self._now_us())
            counts = self._buckets.counts()
            started = ev.Started(
                positions=tuple(self._buckets.positions()),
                counters={name: BucketCounters(count.at_last, count.since_last) for name, count in counts.items()},
                subscriptions=self._subscriptions.rows(),
                sync_state=tuple(self._buckets.sync_state()),
            )
        return self.receive(started)

    def lines(
        self, texts: list[bytes], following: Callable[[], list[bytes] | None] = _nothing
    ) -> list[do.EdgeInstruction]:
        """Take lines as they came, up to the one that ends the iteration; several are stored in one transaction.

        `following` gives lines that have come meanwhile, for the same transaction. None ends it, and so does a checkpoint that was
        applied: somebody waits for its rows. The lists are used up. Raises RemoteProtocolError for an unreadable line, after what came
        before it was stored.
        """
        # Lines of a stream with an older id must not count: their write checkpoints are numbers of that id.
        edge = self.follow_client_id()
        self._has_applied = False
        if len(texts) == 1:
            texts += following() or ()
        if len(texts) == 1:
            return edge + self._line(texts.pop())
        portion: list[bytes] | None = texts
        failure: RemoteProtocolError | None = None
        with self._transaction():
            while portion is not None and failure is None:
                failure = self._take(portion, edge)
                portion = None if self._has_applied or _closes(edge) else following()
        if failure is not None:
            raise failure
        return edge

    def _take(self, portion: list[bytes], edge: list[do.EdgeInstruction]) -> RemoteProtocolError | None:
        """Take lines and add what they lead to; returns what is wrong with the first unreadable one."""
        portion.reverse()
        while portion and not _closes(edge):
            text = portion.pop()  # and out of memory with it: a first download brings megabytes at a time
            try:
                edge += self._line(text)
            except RemoteProtocolError as exc:
                return exc
        return None

    def _line(self, text: bytes) -> list[do.EdgeInstruction]:
        return self.receive(ev.LineReceived(decode_line(text), len(text)))

    def follow_client_id(self) -> list[do.EdgeInstruction]:
        """Where the device has taken a new client id: end the stream that was opened with the old one."""
        current = self._client_id()
        if current == self._followed_client_id:
            return []
        self._followed_client_id = current
        return self.receive(ev.ClientIdChanged(current))

    def upload_finished(self) -> list[do.EdgeInstruction]:
        """The upload queue was found empty."""
        return self.receive(ev.UploadFinished(self._queue.target(), self._queue.last_seen()))

    def subscriptions_changed(self) -> list[do.EdgeInstruction]:
        """Subscriptions were written; in use ones are renewed."""
        return self._perform([do.RefreshSubscriptions()])

    def receive(self, event: ev.Event) -> list[do.EdgeInstruction]:
        """Let the machine decide about one event, and store what it wants stored, in one transaction."""
        return self._perform(self._machine.receive(event))

    def _perform(self, instructions: list[do.Instruction]) -> list[do.EdgeInstruction]:
        edge: list[do.EdgeInstruction] = []
        waiting = deque(instructions)
        stores = any(isinstance(instruction, do.StoreInstruction) for instruction in instructions)
        begins = stores and not self._connection.in_transaction  # `lines` has begun one for several lines
        with self._transaction() if begins else contextlib.nullcontext():
            while waiting:
                instruction = waiting.popleft()
                if isinstance(instruction, do.StoreInstruction):
                    for event in self._store(instruction):
                        waiting.extend(self._machine.receive(event))
                        edge.extend(self._noticed(event))
                else:
                    edge.append(instruction)
        return edge

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        with write_transaction(self._connection, local_writes=False), self._buckets.gathering():
            yield

    def _noticed(self, event: ev.Event) -> list[do.LogWarning]:
        """What a complete checkpoint has written beside the schema."""
        if self._drift is None or not isinstance(event, ev.CheckpointApplied) or event.priority is not None:
            return []
        return self._drift.look() if isinstance(event.result, Applied) else []

    def _store(self, instruction: do.StoreInstruction) -> list[ev.Event]:
        match instruction:
            case do.StoreOps(batch, line_bytes):
                self._buckets.store(batch, line_bytes)
                return []
            case do.DeleteBuckets(names):
                self._buckets.delete_buckets(names)
                return []
            case do.ResetProgress():
                self._buckets.reset_counts()
                return []
            case do.ApplyCheckpoint(checkpoint, priority):
                self._has_applied = True
                result = self._buckets.apply(checkpoint, priority=priority, now_us=self._now_us())
                state = ev.SyncStateChanged(tuple(self._buckets.sync_state()))
                return [state, ev.CheckpointApplied(result, priority)]
            case do.RecordStreams(streams):
                self._subscriptions.record_streams(streams)
            case do.MarkStreamsSynced(row_ids):
                self._subscriptions.mark_synced(row_ids, now_us=self._now_us())
            case do.RefreshSubscriptions():
                self._subscriptions.refresh(self._active_streams(), now_us=self._now_us())
        return [ev.SubscriptionsChanged(self._subscriptions.rows())]
