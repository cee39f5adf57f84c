"""A client behind a real session on a real reader, one instruction at a time, so that a test can act between any two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from syncline.protocol.lines import Checkpoint, CheckpointComplete, CheckpointDiff, PartialCheckpointComplete
from syncline.storage.base import StorageReader
from syncline.storage.model import OpChunk, OpRow
from syncline.sync.session import (
    ChunksRead,
    End,
    Instruction,
    ReadChunks,
    ReadView,
    SendChunk,
    SendLine,
    SessionEvent,
    SyncSession,
    ViewRead,
)
from tests.support.bucket_model import BucketModel, reduced
from tests.support.sync_config import fixed_buckets

__all__ = ["SessionClient"]

INSTRUCTIONS_MAX = 10_000  # a session that goes in circles is a failure, not a hang


class SessionClient:
    """Downloads `buckets` of one version and checks every complete line against `history`: all operations, before any compaction."""

    def __init__(self, reader: StorageReader, version: int, buckets: Sequence[str], *, read_ops: int) -> None:
        self._reader = reader
        self._version = version
        self._names = buckets
        self._read_ops = read_ops
        self._checksums: dict[str, int] = {}
        self.buckets = {name: BucketModel() for name in buckets}
        self.seen: Counter[str] = Counter()

    async def download(self, history: Mapping[str, list[OpRow]], *, before_read: Callable[[int], None]) -> int:
        """Run one stream until it has nothing to do; how many reads it took. `before_read` gets the number of each."""
        positions = {name: bucket.position for name, bucket in self.buckets.items() if bucket.position}
        session = SyncSession(positions=positions, expires_at_s=1e12, now_s=0, keepalives=False)
        instructions: list[Instruction] = session.receive(await self._view())
        reads = 0
        for _ in range(INSTRUCTIONS_MAX):
            event: SessionEvent | None = None
            for instruction in instructions:
                match instruction:
                    case SendLine(line):
                        self._take_line(line, history)
                    case SendChunk(chunk):
                        assert isinstance(chunk, OpChunk)
                        self._take_ops(chunk.bucket, chunk.ops)
                    case ReadChunks() | ReadView():
                        before_read(reads)
                        reads += 1
                        event = await self._read(instruction)
                    case End():
                        raise AssertionError(f"the stream ended: {instruction.reason}")
            if event is None:
                return reads
            instructions = session.receive(event)
        raise AssertionError("the session goes in circles")

    async def _view(self) -> ViewRead:
        view = await self._reader.view(self._version, fixed_buckets(*self._names))
        assert view is not None
        return ViewRead(view.checkpoint.op_id, view.resolved, view.totals, None)

    async def _read(self, instruction: ReadChunks | ReadView) -> SessionEvent:
        if isinstance(instruction, ReadView):
            self.seen["read anew"] += 1
            return await self._view()
        chunks = await self._reader.chunks(
            self._version,
            instruction.positions,
            checkpoint_op=instruction.checkpoint_op,
            ops_max=self._read_ops,
            chunk_ops_max=self._read_ops,
            chunk_bytes_max=1_000_000,
        )
        self.seen["nothing found"] += not chunks
        self.seen["target beyond"] += any(
            (op.target_op or 0) > instruction.checkpoint_op for chunk in chunks for op in chunk.ops
        )
        return ChunksRead(chunks)

    def _take_ops(self, name: str, ops: Sequence[OpRow]) -> None:
        bucket = self.buckets[name]
        for op in ops:
            self.seen["CLEAR over objects"] += op.op.value == "CLEAR" and bool(bucket.objects)
            bucket.receive(op)

    def _take_line(self, line: object, history: Mapping[str, list[OpRow]]) -> None:
        match line:
            case Checkpoint():
                self._checksums = {entry.bucket: entry.checksum for entry in line.buckets}
            case CheckpointDiff():
                assert not line.removed_buckets
                self._checksums |= {entry.bucket: entry.checksum for entry in line.updated_buckets}
            case CheckpointComplete():
                self.seen["complete"] += 1
                for name, bucket in self.buckets.items():
                    expected = reduced(history[name], upto=int(line.last_op_id))
                    assert bucket.state == expected.state
                    assert bucket.checksum == self._checksums[name] % 2**32
            case PartialCheckpointComplete():
                raise AssertionError("all buckets of this client have one priority")
            case _:
                raise AssertionError(f"unexpected line {line}")
