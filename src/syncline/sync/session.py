"""PURE: one client's stream as a machine. Events in, instructions out; it knows no socket, clock or storage.

The order of lines is the protocol's (2.3 to 2.8): a checkpoint, then the data of its buckets by priority, a partial complete line
after each fetched priority that is not the last of the checkpoint, at the end the complete line. A newer checkpoint waits for that,
but takes over at a chunk's end once `INTERRUPT_AFTER_OPS` operations were sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from syncline.protocol.lines import CheckpointComplete, Line, PartialCheckpointComplete, TokenExpiresIn
from syncline.storage.model import BucketTotals
from syncline.sync.checkpoint_state import KnownState
from syncline.sync.limits import EXPIRY_WARNING_S, INTERRUPT_AFTER_OPS, KEEPALIVE_INTERVAL_S, KEEPALIVE_JITTER
from syncline.sync_config.plan import ResolvedBuckets

__all__ = [
    "Changed",
    "Chunk",
    "ChunksRead",
    "End",
    "Instruction",
    "ReadChunks",
    "ReadView",
    "SendChunk",
    "SendLine",
    "SessionEvent",
    "Span",
    "SyncSession",
    "Tick",
    "VersionEnded",
    "ViewRead",
]


class Chunk(Protocol):
    """What a session knows of consecutive operations of one bucket: not the operations themselves, nor how they are encoded."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        ...

    @property
    def next_after(self) -> int:
        """The last op id."""
        ...

    @property
    def op_count(self) -> int:
        """How many operations."""
        ...

    @property
    def newest_target(self) -> int:
        """The newest op that one of these gave way to (compaction); 0 where none did."""
        ...


class Span(NamedTuple):
    """Operations that a session lacks: those of a bucket with op ids in (`after`, `upto`].

    `upto` is the bucket's last op at the checkpoint, `op_count` about how many there are: never much less.
    """

    bucket: str
    after: int
    upto: int
    op_count: int


@dataclass(frozen=True, slots=True)
class ViewRead:
    """A reading of the newest checkpoint: the connection's buckets and their totals, in one transaction."""

    op_id: int
    resolved: ResolvedBuckets
    totals: Mapping[str, BucketTotals]
    write_checkpoint: int | None


@dataclass(frozen=True, slots=True)
class Changed:
    """The newest checkpoint is `op_id`. `lookups_changed`: the connection's buckets may be others now."""

    op_id: int
    totals: Mapping[str, BucketTotals] = field(default_factory=dict[str, BucketTotals])
    lookups_changed: bool = False
    write_checkpoint: int | None = None


@dataclass(frozen=True, slots=True)
class ChunksRead:
    """Answer to ReadChunks. Fewer operations than allowed and no `has_more` mean that the buckets are sent whole."""

    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class Tick:
    """It is `now_s` (seconds since 1970). `jitter` is drawn from -1 to 1."""

    now_s: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class VersionEnded:
    """The version that this stream serves is no longer active: the client finds the new one by connecting again."""


SessionEvent = ViewRead | Changed | ChunksRead | Tick | VersionEnded


@dataclass(frozen=True, slots=True)
class SendLine:
    """Send a line."""

    line: Line


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send operations as a data line."""

    chunk: Chunk


@dataclass(frozen=True, slots=True)
class ReadChunks:
    """Read the next operations of these spans, in their order, up to the checkpoint; answer with ChunksRead."""

    spans: tuple[Span, ...]
    checkpoint_op: int

    @property
    def positions(self) -> list[tuple[str, int]]:
        """Bucket and position of each span."""
        return [(span.bucket, span.after) for span in self.spans]


@dataclass(frozen=True, slots=True)
class ReadView:
    """Read buckets and totals at the newest checkpoint; answer with ViewRead."""


@dataclass(frozen=True, slots=True)
class End:
    """Close the stream; `reason` is for the log."""

    reason: str


Instruction = SendLine | SendChunk | ReadChunks | ReadView | End


class SyncSession:
    """What a service does with one connected client.

    `positions` are the request's (bucket name -> op id). `expires_at_s` is the token's end in seconds since 1970; `keepalives` is
    true on HTTP (RSocket has its own). After each `receive`, perform the instructions in order; a read instruction is always the
    last of its list.
    """

    __slots__ = (
        "_expires_at_s",
        "_found_nothing_at",
        "_groups",
        "_keepalive_at_s",
        "_keepalives",
        "_pending",
        "_positions",
        "_reading",
        "_sent_ops",
        "_state",
        "_unsent",
        "_warned",
        "_withhold_complete",
        "_write_checkpoint",
    )

    def __init__(
        self, *, positions: Mapping[str, int], expires_at_s: float, now_s: float, keepalives: bool, jitter: float = 0.0
    ) -> None:
        self._positions = dict(positions)
        self._expires_at_s = expires_at_s
        self._keepalives = keepalives
        self._warned = False
        self._keepalive_at_s = _next_keepalive(now_s, jitter)
        self._state: KnownState | None = None
        self._write_checkpoint: int | None = None
        self._unsent: dict[str, int] = {}  # buckets that the client does not have whole -> about how many ops it lacks
        self._groups: list[tuple[int, list[str]]] = []  # still to fetch for this checkpoint, by priority
        self._sent_ops = 0  # for this checkpoint
        self._reading = False
        self._withhold_complete = False  # an op gave way to one beyond the checkpoint: this one cannot be completed
        self._found_nothing_at = -1  # checkpoint at which a bucket had lost the operations that its total promised
        self._pending: Changed | None = None

    @property
    def next_tick_s(self) -> float:
        """When the next Tick has something to do."""
        warning_s = self._expires_at_s if self._warned else self._expires_at_s - EXPIRY_WARNING_S
        return min(warning_s, self._keepalive_at_s) if self._keepalives else warning_s

    @property
    def bucket_names(self) -> frozenset[str]:
        """Buckets whose changes concern this session."""
        return frozenset(self._state.buckets) if self._state else frozenset()

    @property
    def parameter_results(self) -> int:
        """How many rows of lookups the buckets rest on."""
        return self._state.resolved.parameter_results if self._state else 0

    @property
    def lookups(self) -> frozenset[str]:
        """Lookups whose changes concern this session."""
        return self._state.resolved.lookups if self._state else frozenset()

    def receive(self, event: SessionEvent) -> list[Instruction]:
        """Take an event, return what to do about it."""
        match event:
            case ViewRead():
                self._reading = False
                return self._adopt(event)
            case Changed():
                return self._note(event)
            case ChunksRead():
                self._reading = False
                return self._send(event.chunks)
            case Tick():
                return self._tick(event)
            case VersionEnded():
                return [End("another version is active")]

    def _adopt(self, view: ViewRead) -> list[Instruction]:
        before = self._state
        self._write_checkpoint = _newer(self._write_checkpoint, view.write_checkpoint)
        if self._pending is not None and self._pending.op_id <= view.op_id:
            self._write_checkpoint = _newer(self._write_checkpoint, self._pending.write_checkpoint)
            self._pending = None
        state = KnownState.at(view.op_id, view.resolved, view.totals, self._write_checkpoint)
        return self._begin(before, state)

    def _note(self, change: Changed) -> list[Instruction]:
        """Remember a newer checkpoint; act on it at once where nothing is under way."""
        if self._pending is not None:
            change = Changed(
                op_id=max(change.op_id, self._pending.op_id),
                totals={**self._pending.totals, **change.totals},
                lookups_changed=change.lookups_changed or self._pending.lookups_changed,
                write_checkpoint=_newer(self._pending.write_checkpoint, change.write_checkpoint),
            )
        self._pending = change
        if self._state is None or self._reading or self._groups:
            return []
        return self._advance()

    def _advance(self) -> list[Instruction]:
        """Go on to the newest checkpoint that was heard of."""
        change, state = self._pending, self._state
        assert state is not None
        if change is None:
            return []
        stale = change.op_id <= state.op_id  # a reading that was newer has adopted its totals and lookups already
        if (change.lookups_changed and not stale) or self._withhold_complete:
            self._reading = True
            self._withhold_complete = False
            return [ReadView()]
        self._pending = None
        self._write_checkpoint = _newer(self._write_checkpoint, change.write_checkpoint)
        if stale:
            return self._begin(state, state.advanced(state.op_id, {}, self._write_checkpoint))
        return self._begin(state, state.advanced(change.op_id, change.totals, self._write_checkpoint))

    def _begin(self, before: KnownState | None, state: KnownState) -> list[Instruction]:
        """Announce a checkpoint and start fetching what the client lacks."""
        changed = list(state.buckets) if before is None else state.changed_since(before)
        line: Line | None = state.full_line() if before is None else state.diff_line(before, changed)
        if line is None and before is not None:
            # Nothing of it concerns this client: it goes on at the checkpoint that it was told of.
            state = replace(state, op_id=before.op_id)
        self._state = state
        if before is None:
            self._positions = {name: self._start(name, state) for name in state.buckets}
        elif state.buckets is not before.buckets:
            # A bucket that left and comes back starts from 0: the client dropped it when it left.
            kept = {name: op for name, op in self._positions.items() if name in before.buckets}
            self._positions = {name: kept.get(name, 0) for name in state.buckets}
        unsent = {name: ops for name, ops in self._unsent.items() if name in state.buckets} if self._unsent else {}
        for name in changed:
            unsent[name] = self._lacking(name, before, state, unsent.get(name, 0))
        self._unsent = unsent
        self._groups = state.by_priority(unsent)
        self._sent_ops = 0
        if line is None and not unsent:
            return []
        head: list[Instruction] = [SendLine(line)] if line is not None else []
        return head + self._go_on()

    def _start(self, name: str, state: KnownState) -> int:
        """The position that a client's request comes to.

        It names the checkpoint that the client had, of which the bucket's own last op is as good: sessions at the same op share
        what is read for them.
        """
        position, last_op = self._positions.get(name, 0), state.total(name).op_id
        return last_op if last_op <= position <= state.op_id else position

    def _lacking(self, name: str, before: KnownState | None, state: KnownState, unsent: int) -> int:
        """About how many operations of a changed bucket the client lacks; `unsent` of them it lacked before."""
        total = state.total(name)
        most = min(total.op_count, max(0, total.op_id - self._positions.get(name, 0)))
        if before is None or name not in before.buckets:
            return most
        newer = total.op_count - before.total(name).op_count + unsent
        return min(most, newer) if newer > 0 else most

    def _send(self, chunks: Sequence[Chunk]) -> list[Instruction]:
        state = self._state
        assert state is not None
        if not chunks:
            return self._read_anew(state.op_id)
        out: list[Instruction] = []
        for chunk in chunks:
            assert chunk.next_after <= state.op_id, "no op above the checkpoint is ever sent"
            out.append(SendChunk(chunk))
            self._positions[chunk.bucket] = chunk.next_after
            self._sent_ops += chunk.op_count
            self._unsent[chunk.bucket] -= chunk.op_count
            if chunk.newest_target > state.op_id:
                self._withhold_complete = True
        if self._pending is not None and self._sent_ops >= INTERRUPT_AFTER_OPS:
            self._groups = []
            return out + self._advance()
        return out + self._go_on()

    def _read_anew(self, checkpoint_op: int) -> list[Instruction]:
        """What was to come is gone: compaction has put a CLEAR beyond the checkpoint in its place. The newest one has it."""
        if self._found_nothing_at == checkpoint_op:
            return [End("the version's data is gone")]
        self._found_nothing_at = checkpoint_op
        self._withhold_complete = False
        self._groups = []
        self._reading = True
        return [ReadView()]

    def _go_on(self) -> list[Instruction]:
        """Fetch the next operations of the most urgent group, or finish groups that are sent whole."""
        state = self._state
        assert state is not None
        out: list[Instruction] = []
        while self._groups:
            priority, names = self._groups[0]
            wanted = [
                Span(name, self._positions.get(name, 0), state.total(name).op_id, max(1, self._unsent[name]))
                for name in names
                if state.total(name).op_id > self._positions.get(name, 0)
            ]
            if wanted:
                self._reading = True
                return [*out, ReadChunks(tuple(wanted), state.op_id)]
            self._groups.pop(0)
            for name in names:
                self._unsent.pop(name, None)
            if state.has_priority_after(priority) and not self._withhold_complete:
                out.append(SendLine(PartialCheckpointComplete(str(state.op_id), priority)))
        if self._withhold_complete:
            self._pending = self._pending or Changed(state.op_id)
            return out + self._advance()
        assert not self._unsent, "every bucket was sent whole"
        self._unsent = {}  # a dictionary that had entries takes as much as if it had them still
        out.append(SendLine(CheckpointComplete(str(state.op_id))))
        return out + (self._advance() if self._pending is not None else [])

    def _tick(self, tick: Tick) -> list[Instruction]:
        left = int(self._expires_at_s - tick.now_s)
        if tick.now_s >= self._expires_at_s:
            return [SendLine(TokenExpiresIn(0)), End("the token has expired")]
        if not self._warned and tick.now_s >= self._expires_at_s - EXPIRY_WARNING_S:
            self._warned = True
            self._keepalive_at_s = _next_keepalive(tick.now_s, tick.jitter)
            return [SendLine(TokenExpiresIn(left))]
        if self._keepalives and tick.now_s >= self._keepalive_at_s:
            if left < 1:  # 0 means that the token has expired: it is told once, when it is true
                self._keepalive_at_s = self._expires_at_s
                return []
            self._keepalive_at_s = _next_keepalive(tick.now_s, tick.jitter)
            return [SendLine(TokenExpiresIn(left))]
        return []


def _next_keepalive(now_s: float, jitter: float) -> float:
    return now_s + KEEPALIVE_INTERVAL_S * (1 + KEEPALIVE_JITTER * jitter)


def _newer(known: int | None, other: int | None) -> int | None:
    return other if known is None else known if other is None else max(known, other)
