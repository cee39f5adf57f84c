"""The runner of one sync stream: performs a session's instructions with storage and the watcher. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from syncline.metrics import ServiceMetrics
from syncline.protocol.line_formats import LineFormat
from syncline.protocol.requests import StreamRequest
from syncline.storage.base import StorageReader, WriteCheckpoints
from syncline.storage.model import OpChunk
from syncline.sync.checkpoint_report import CheckpointObserver, CheckpointTeller, StreamTotals
from syncline.sync.checkpoint_watcher import CheckpointWatcher, Inbox, ServedVersion
from syncline.sync.chunk_source import ChunkSource, is_small
from syncline.sync.encoding import EncodedChunk, encode_chunk, encode_data_line, encode_stream_line, ops_form
from syncline.sync.limits import CACHE_BYTES_MAX, SMALL_READ_OPS_MAX, StreamLimits
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
from syncline.sync.view_source import ViewSource
from syncline.sync_config.plan import BucketQuery, ConnectionData

__all__ = ["Burst", "StreamContext", "SyncStream", "user_key_of"]

log = logging.getLogger(__name__)


def user_key_of(user_id: str, client_id: str | None) -> str:
    """Whose write checkpoints these are (protocol reference, 5): the same for creating and for streaming."""
    return f"{user_id}/{client_id}" if client_id else user_id


@dataclass(frozen=True, slots=True)
class StreamContext:
    """What all streams of a process share."""

    reader: StorageReader
    watcher: CheckpointWatcher
    limits: StreamLimits
    chunks: ChunkSource
    views: ViewSource
    now_s: Callable[[], float] = time.time  # seconds since 1970
    metrics: ServiceMetrics = field(default_factory=ServiceMetrics)

    @classmethod
    def of(
        cls,
        *,
        reader: StorageReader,
        write_checkpoints: WriteCheckpoints,
        watcher: CheckpointWatcher,
        limits: StreamLimits,
        now_s: Callable[[], float] = time.time,
        metrics: ServiceMetrics | None = None,
    ) -> StreamContext:
        """A context with sources of its own. Call within the event loop of the streams."""
        chunks = ChunkSource(
            reader,
            reads_max=limits.fetches_max,
            cache_bytes_max=CACHE_BYTES_MAX,
            is_shared=lambda bucket: watcher.listeners(bucket) > 1,
        )
        views = ViewSource(reader, write_checkpoints, watcher)
        return cls(reader, watcher, limits, chunks, views, now_s, metrics or ServiceMetrics())


class Burst(NamedTuple):
    """Lines to be sent together. `rests`: the stream then waits for a change or for its next keepalive."""

    lines: list[bytes]
    rests: bool


class SyncStream:
    """One client's stream as an iterator of encoded lines.

    `expires_at_s` is the token's end in seconds since 1970; `keepalives` is false where the transport has its own. Errors that the
    client should see as an answer (no active config, too many buckets) are raised before the first line. An `observer`, set before the
    first burst is taken in, hears of the first checkpoint, or of each where `tells_each_checkpoint` says so.
    """

    __slots__ = (
        "_buckets_expected",
        "_connection",
        "_context",
        "_form",
        "_line_format",
        "_served",
        "_session",
        "_subscriptions",
        "_teller",
        "_user_key",
        "end_reason",
        "observer",
        "totals",
    )

    def __init__(
        self,
        context: StreamContext,
        *,
        connection: ConnectionData,
        request: StreamRequest,
        expires_at_s: float,
        line_format: LineFormat = LineFormat.NDJSON,
        keepalives: bool = True,
        tells_each_checkpoint: bool = False,
    ) -> None:
        self._context = context
        self._connection = connection
        self._subscriptions = request.streams  # not the request: its positions would be kept as long as the stream
        self._line_format = line_format
        self._form = ops_form(line_format, raw_data=request.raw_data)
        self._served: ServedVersion = context.watcher.served()
        self._buckets_expected = len(request.buckets)  # a client that comes back names those that it has; 0: not known
        self._user_key = user_key_of(connection.user_id, request.client_id)
        self._session = SyncSession(
            positions={position.name: int(position.after) for position in request.buckets},
            expires_at_s=expires_at_s,
            now_s=context.now_s(),
            keepalives=keepalives,
            jitter=_jitter(),
        )
        self._teller: CheckpointTeller | None = CheckpointTeller(each=tells_each_checkpoint, now_s=time.monotonic())
        self.observer: CheckpointObserver | None = None
        self.totals = StreamTotals()
        self.end_reason = ""

    @property
    def operations_sent(self) -> int:
        """Operations in all data lines so far."""
        return self.totals.operation_count

    async def lines(self) -> AsyncGenerator[bytes]:
        """Encoded lines one at a time, until the stream ends or the caller closes the generator."""
        async with aclosing(self.bursts()) as bursts:
            async for burst in bursts:
                lines = iter(burst.lines)
                del burst  # a stream that rests holds nothing of what it sent
                for line in lines:
                    yield line
                    del line

    async def bursts(self) -> AsyncGenerator[Burst]:
        """Encoded lines as they come together: what can be sent before the stream has to wait for something.

        A burst has at most the operations of one read (`READ_OPS_MAX`, `READ_BYTES_MAX`). While a consumer sends one, the next is
        read.
        """
        inbox = self._context.watcher.register(self._user_key)
        precedence = self._context.watcher.precedence
        hurries = False  # a change of few operations is on its way
        reading: asyncio.Task[SessionEvent] | None = None
        lines: list[bytes] = []
        try:
            instructions = self._session.receive(await self._noted(self._read_view(inbox), for_view=True))
            while True:
                wanted = _last_of(instructions := self._with_tick(instructions))
                large = wanted if isinstance(wanted, ReadChunks) and not is_small(wanted) else None
                if hurries and (large is not None or not isinstance(wanted, ReadChunks | ReadView)):
                    hurries = False
                    precedence.end()  # others go on when this one has sent: what follows waits for nothing
                if large is not None:
                    await precedence.give_way()
                    reading = asyncio.create_task(self._read(large, inbox))
                for piece in _pieces(instructions):
                    if _is_work(piece[-1]):
                        await precedence.give_way()  # the reading is under way meanwhile
                    self._encode(piece, lines)
                    del piece
                instructions = []  # a stream that rests holds nothing of what it sent
                # What a small reading brings goes out together with the lines before it.
                if lines and (reading is not None or not isinstance(wanted, ReadChunks | ReadView)):
                    yielded_s = time.monotonic() if self._teller is not None else 0.0
                    yield Burst(lines, rests=wanted is None)
                    lines = []
                    if self._teller is not None:
                        self._tell_observer(self._teller, yielded_s)
                if isinstance(wanted, End):
                    self.end_reason = wanted.reason
                    return
                if wanted is None:
                    event = await self._next_event(inbox)
                    if hurries := isinstance(event, Changed):
                        precedence.begin()
                    instructions = self._session.receive(event)
                    del event
                else:
                    # In one expression: what was read must not be kept by a name while the stream rests.
                    instructions = self._session.receive(
                        await self._noted(reading or self._read(wanted, inbox), for_view=isinstance(wanted, ReadView))
                    )
                    reading = None
        finally:
            if hurries:
                precedence.end()
            self._context.watcher.unregister(inbox)
            if reading is not None:
                reading.cancel()
                reading.add_done_callback(_forget)

    def _encode(self, instructions: list[Instruction], lines: list[bytes]) -> None:
        """Add the lines of all that is to be sent, and count them."""
        totals = self.totals
        operations_before, bytes_before = totals.operation_count, totals.line_bytes
        self._add_lines(instructions, lines)
        self._context.metrics.operations_synced(
            totals.operation_count - operations_before, totals.line_bytes - bytes_before
        )

    def _add_lines(self, instructions: list[Instruction], lines: list[bytes]) -> None:
        totals = self.totals
        for instruction in instructions:
            match instruction:
                case SendLine():
                    lines.append(encode_stream_line(instruction.line, self._line_format))
                    totals.line_bytes += len(lines[-1])
                    if self._teller is not None:
                        session = self._session
                        self._teller.made(
                            instruction.line,
                            totals,
                            buckets=session.bucket_names,
                            parameter_results=session.parameter_results,
                        )
                case SendChunk():
                    chunk = instruction.chunk
                    if isinstance(chunk, OpChunk):
                        chunk = encode_chunk(chunk, self._form)
                    assert isinstance(chunk, EncodedChunk)
                    lines.append(encode_data_line(chunk, self._form))
                    totals.line_bytes += len(lines[-1])
                    totals.add_chunk(chunk)
                case ReadChunks() | ReadView() | End():
                    return

    def _noted(self, event: Awaitable[SessionEvent], *, for_view: bool) -> Awaitable[SessionEvent]:
        """A reading, whose time is noted where there is somebody to tell; an idle stream has no frame more for it."""
        return event if self._teller is None else self._timed(event, self._teller, for_view=for_view)

    @staticmethod
    async def _timed(event: Awaitable[SessionEvent], teller: CheckpointTeller, *, for_view: bool) -> SessionEvent:
        began_s = time.monotonic()
        found = await event
        teller.waited(time.monotonic() - began_s, for_view=for_view)
        return found

    def _tell_observer(self, teller: CheckpointTeller, yielded_s: float) -> None:
        """All lines since `yielded_s` were taken and sent."""
        now_s = time.monotonic()
        teller.sent(now_s - yielded_s, self.observer, now_s=now_s)
        if teller.is_done:
            self._teller = None  # an idle stream keeps nothing for it

    def _with_tick(self, instructions: list[Instruction]) -> list[Instruction]:
        """A long download must not outlive its token, nor starve its keepalives: before a reading, look at the clock."""
        now_s = self._context.now_s()
        if now_s < self._session.next_tick_s or not isinstance(_last_of(instructions), ReadChunks | ReadView):
            return instructions
        ticked = self._session.receive(Tick(now_s, _jitter()))
        ends = isinstance(_last_of(ticked), End)
        return [*instructions[:-1], *ticked] if ends else [*instructions[:-1], *ticked, instructions[-1]]

    async def _read(self, wanted: ReadChunks | ReadView, inbox: Inbox) -> SessionEvent:
        if inbox.ended:
            return VersionEnded()
        if isinstance(wanted, ReadView):
            event: SessionEvent = await self._read_view(inbox)
        else:
            event = ChunksRead(await self._context.chunks.read(self._served.version.number, wanted, self._form))
        if inbox.ended:
            return VersionEnded()
        self._tell(inbox)
        return event

    async def _read_view(self, inbox: Inbox) -> SessionEvent:
        """Read at the newest checkpoint, and tell the watcher what this session listens to from now on."""
        version = self._served.version
        is_custom = self._served.plan.has_custom_write_checkpoints
        # Read first: it must not be ahead of the rows; the watcher tells of later ones.
        custom = (
            await self._context.reader.custom_write_checkpoint(version.number, self._user_key) if is_custom else None
        )
        self._context.watcher.unsettle(inbox)
        view, reached = await self._context.views.read(
            inbox,
            version.number,
            self._query_buckets,
            buckets_expected=min(self._buckets_expected, self._context.limits.buckets_max),
            with_write_checkpoint=not is_custom,
        )
        if view is None:
            return VersionEnded()
        if view.resolved.unknown_streams:
            log.warning(
                "A client asks for streams that the sync config does not have: %s",
                ", ".join(sorted(set(view.resolved.unknown_streams))[:10]),
                extra={"event": "sync.unknown_stream", "user_id": self._connection.user_id},
            )
        self._buckets_expected = len(view.resolved.buckets)
        return ViewRead(view.checkpoint.op_id, view.resolved, view.totals, custom if is_custom else reached)

    def _query_buckets(self) -> BucketQuery:
        limits = self._context.limits
        return self._served.plan.query_buckets(
            self._connection,
            self._subscriptions,
            self._served.version.bucket_prefix,
            buckets_max=limits.buckets_max,
            parameter_results_max=limits.parameter_results_max,
        )

    async def _next_event(self, inbox: Inbox) -> SessionEvent:
        """Sleep until something concerns this session."""
        while True:
            if inbox.ended:
                return VersionEnded()
            change = _take(inbox)
            if change is not None:
                return change
            now_s = self._context.now_s()
            if now_s >= self._session.next_tick_s:
                return Tick(now_s, _jitter())
            # Cheaper than a timeout: it only wakes, and the loop looks at the clock.
            timer = asyncio.get_running_loop().call_later(self._session.next_tick_s - now_s, inbox.arrived.set)
            try:
                await inbox.arrived.wait()
            finally:
                timer.cancel()

    def _tell(self, inbox: Inbox) -> None:
        """Let the session know of newer checkpoints while it is sending; it decides whether to go over to them."""
        change = _take(inbox)
        if change is not None:
            instructions: list[Instruction] = self._session.receive(change)
            assert not instructions, "a session that reads acts on changes after the read"


def _pieces(instructions: list[Instruction]) -> Iterator[list[Instruction]]:
    """The instructions, cut after each one that is work."""
    begin = 0
    for index, instruction in enumerate(instructions, 1):
        if _is_work(instruction):
            yield instructions[begin:index]
            begin = index
    if begin < len(instructions):
        yield instructions[begin:]


def _is_work(instruction: Instruction) -> bool:
    """Whether performing it takes so long that other streams would notice."""
    return isinstance(instruction, SendChunk) and instruction.chunk.op_count > SMALL_READ_OPS_MAX


def _take(inbox: Inbox) -> Changed | None:
    """Empty an inbox."""
    inbox.arrived.clear()
    if inbox.op_id is None:
        return None
    change = Changed(inbox.op_id, inbox.totals, inbox.lookups_changed, inbox.write_checkpoint)
    inbox.op_id, inbox.totals, inbox.lookups_changed, inbox.write_checkpoint = None, {}, False, None
    return change


def _last_of(instructions: Sequence[Instruction]) -> ReadChunks | ReadView | End | None:
    """What is to be done after everything was sent."""
    last = instructions[-1] if instructions else None
    return last if isinstance(last, ReadChunks | ReadView | End) else None


def _forget(task: asyncio.Task[SessionEvent]) -> None:
    """Take the outcome of a reading that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _jitter() -> float:
    return random.uniform(-1.0, 1.0)  # noqa: S311 - spreads timers, protects nothing
