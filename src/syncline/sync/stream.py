"""The runner of one sync stream: performs a session's instructions with storage and the watcher. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from syncline.protocol.lines import encode_line
from syncline.protocol.requests import StreamRequest
from syncline.storage.base import StorageReader, WriteCheckpoints
from syncline.sync.checkpoint_watcher import CheckpointWatcher, Inbox, ServedVersion
from syncline.sync.encoding import encode_chunk
from syncline.sync.limits import CHUNK_BYTES_MAX, CHUNK_OPS_MAX, READ_OPS_MAX, StreamLimits
from syncline.sync.session import (
    Changed,
    ChunksRead,
    End,
    Instruction,
    ReadChunks,
    ReadView,
    SendChunk,
    SendLine,
    SessionEvent,
    SyncSession,
    Tick,
    VersionEnded,
    ViewRead,
)
from syncline.sync_config.plan import ConnectionData

__all__ = ["StreamContext", "SyncStream", "user_key_of"]

log = logging.getLogger(__name__)


def user_key_of(user_id: str, client_id: str | None) -> str:
    """Whose write checkpoints these are (protocol reference, 5): the same for creating and for streaming."""
    return f"{user_id}/{client_id}" if client_id else user_id


@dataclass(frozen=True, slots=True)
class StreamContext:
    """What all streams of a process share."""

    reader: StorageReader
    write_checkpoints: WriteCheckpoints
    watcher: CheckpointWatcher
    limits: StreamLimits
    fetches: asyncio.Semaphore


class SyncStream:
    """One client's stream as an iterator of encoded lines.

    `expires_at_s` is the token's end in seconds since 1970. Errors that the client should see as an answer (no active config, too
    many buckets) are raised before the first line.
    """

    def __init__(
        self, context: StreamContext, *, connection: ConnectionData, request: StreamRequest, expires_at_s: float
    ) -> None:
        self._context = context
        self._connection = connection
        self._request = request
        self._served: ServedVersion = context.watcher.served()
        self._user_key = user_key_of(connection.user_id, request.client_id)
        self._session = SyncSession(
            positions={position.name: int(position.after) for position in request.buckets},
            expires_at_s=expires_at_s,
            now_s=time.time(),
            keepalives=True,
            jitter=_jitter(),
        )
        self.operations_sent = 0
        self.end_reason = ""

    async def lines(self) -> AsyncGenerator[bytes]:
        """Encoded lines, until the stream ends or the caller closes the generator."""
        inbox = self._context.watcher.register(self._user_key)
        try:
            instructions = self._session.receive(await self._read_view(inbox))
            while True:
                event: SessionEvent | None = None
                for instruction in instructions:
                    match instruction:
                        case SendLine() | SendChunk():
                            yield self._encode(instruction)
                        case End():
                            self.end_reason = instruction.reason
                            return
                        case ReadChunks() | ReadView():
                            for line in self._tick_if_due():
                                if isinstance(line, End):
                                    self.end_reason = line.reason
                                    return
                                if isinstance(line, SendLine):
                                    yield encode_line(line.line)
                            event = await self._read(instruction, inbox)
                instructions = self._session.receive(event or await self._next_event(inbox))
        finally:
            self._context.watcher.unregister(inbox)

    def _encode(self, instruction: SendLine | SendChunk) -> bytes:
        if isinstance(instruction, SendLine):
            return encode_line(instruction.line)
        self.operations_sent += len(instruction.chunk.ops)
        return encode_chunk(instruction.chunk, raw_data=self._request.raw_data)

    def _tick_if_due(self) -> list[Instruction]:
        """A long download must not outlive its token, nor starve its keepalives."""
        now_s = time.time()
        return self._session.receive(Tick(now_s, _jitter())) if now_s >= self._session.next_tick_s else []

    async def _read(self, instruction: ReadChunks | ReadView, inbox: Inbox) -> SessionEvent:
        if inbox.ended:
            return VersionEnded()
        self._tell(inbox)
        if isinstance(instruction, ReadView):
            return await self._read_view(inbox)
        async with self._context.fetches:
            chunks = await self._context.reader.chunks(
                self._served.version.number,
                instruction.positions,
                checkpoint_op=instruction.checkpoint_op,
                ops_max=READ_OPS_MAX,
                chunk_ops_max=CHUNK_OPS_MAX,
                chunk_bytes_max=CHUNK_BYTES_MAX,
            )
        return ChunksRead(chunks)

    async def _read_view(self, inbox: Inbox) -> SessionEvent:
        """Read at the newest checkpoint, and tell the watcher what this session listens to from now on."""
        version, limits = self._served.version, self._context.limits
        self._context.watcher.unsettle(inbox)
        query = self._served.plan.query_buckets(
            self._connection,
            self._request.streams,
            version.bucket_prefix,
            buckets_max=limits.buckets_max,
            parameter_results_max=limits.parameter_results_max,
        )
        view = await self._context.reader.view(version.number, query)
        if view is None:
            return VersionEnded()
        if view.resolved.unknown_streams:
            log.warning(
                "A client asks for streams that the sync config does not have: %s",
                ", ".join(sorted(set(view.resolved.unknown_streams))[:10]),
                extra={"event": "sync.unknown_stream", "user_id": self._connection.user_id},
            )
        buckets = frozenset(bucket.name for bucket in view.resolved.buckets)
        self._context.watcher.settle(inbox, buckets=buckets, lookups=view.resolved.lookups)
        reached = await self._context.write_checkpoints.reached(self._user_key, view.checkpoint.position)
        return ViewRead(view.checkpoint.op_id, view.resolved, view.totals, reached)

    async def _next_event(self, inbox: Inbox) -> SessionEvent:
        """Sleep until something concerns this session."""
        while True:
            if inbox.ended:
                return VersionEnded()
            change = _take(inbox)
            if change is not None:
                return change
            now_s = time.time()
            if now_s >= self._session.next_tick_s:
                return Tick(now_s, _jitter())
            try:
                async with asyncio.timeout(self._session.next_tick_s - now_s):
                    await inbox.arrived.wait()
            except TimeoutError:
                pass

    def _tell(self, inbox: Inbox) -> None:
        """Let the session know of newer checkpoints while it is sending; it decides whether to go over to them."""
        change = _take(inbox)
        if change is not None:
            instructions: list[Instruction] = self._session.receive(change)
            assert not instructions, "a session that reads acts on changes after the read"


def _take(inbox: Inbox) -> Changed | None:
    """Empty an inbox."""
    inbox.arrived.clear()
    if inbox.op_id is None:
        return None
    change = Changed(inbox.op_id, inbox.totals, inbox.lookups_changed, inbox.write_checkpoint)
    inbox.op_id, inbox.totals, inbox.lookups_changed, inbox.write_checkpoint = None, {}, False, None
    return change


def _jitter() -> float:
    return random.uniform(-1.0, 1.0)  # noqa: S311 - spreads timers, protects nothing
