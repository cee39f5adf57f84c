"""One per process: where sessions get their operations, so that no session's wish is worth more than another's.

- Small wishes that come together are one read of storage: a transaction that touches the buckets of 500 users asks once or a few
  times, not 500 times. Equal ones of them are read and encoded once.
- Large ones wait in a line of their own, one read at a time each, and never take all of the reads that run at once: a download of a
  million rows does not hold up another user's one row.
- Chunks of buckets that several sessions hold are kept, encoded, within bounds (`ChunkCache`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from syncline.errors import StorageUnavailable
from syncline.storage.base import StorageReader
from syncline.storage.model import OpChunk
from syncline.sync.chunk_cache import ChunkCache
from syncline.sync.encoding import EncodedChunk, OpsForm, encode_chunk
from syncline.sync.limits import (
    BATCH_SPANS_MAX,
    BULK_READS_MAX,
    CHUNK_BYTES_MAX,
    CHUNK_OPS_MAX,
    FETCH_WAIT_S,
    READ_OPS_MAX,
    SMALL_READ_OPS_MAX,
)
from syncline.sync.session import ReadChunks, Span

__all__ = ["ChunkSource", "is_small"]


def is_small(wanted: ReadChunks) -> bool:
    """Whether these operations are few: then they are read together with other sessions'."""
    return sum(span.op_count for span in wanted.spans) <= SMALL_READ_OPS_MAX


@dataclass(slots=True)
class _Wish:
    """What one session waits for."""

    spans: tuple[Span, ...]
    form: OpsForm
    answer: asyncio.Future[list[EncodedChunk]]


@dataclass(slots=True)
class _Batch:
    """Small wishes at one checkpoint. `spans` holds each of them once, by bucket and position."""

    version: int
    checkpoint_op: int
    wishes: list[_Wish] = field(default_factory=list[_Wish])
    spans: dict[tuple[str, int], Span] = field(default_factory=dict[tuple[str, int], Span])
    op_count: int = 0

    def takes(self, spans: Sequence[Span]) -> bool:
        """Whether there is room. An empty batch takes anything."""
        more = sum(span.op_count for span in spans if (span.bucket, span.after) not in self.spans)
        return not self.spans or (
            self.op_count + more <= READ_OPS_MAX and len(self.spans) + len(spans) <= BATCH_SPANS_MAX
        )

    def add(self, wish: _Wish) -> None:
        """Take a wish in."""
        for span in wish.spans:
            if self.spans.setdefault((span.bucket, span.after), span) is span:
                self.op_count += span.op_count
        self.wishes.append(wish)


class ChunkSource:
    """Reads through one reader. `is_shared` says whether several sessions hold a bucket; chunks of others are not worth keeping."""

    def __init__(
        self,
        reader: StorageReader,
        *,
        reads_max: int,
        cache_bytes_max: int,
        is_shared: Callable[[str], bool] = lambda _bucket: False,
    ) -> None:
        self._reader = reader
        self._is_shared = is_shared
        self.cache = ChunkCache(cache_bytes_max)
        self._reads = asyncio.Semaphore(reads_max)
        self._bulk_reads = asyncio.Semaphore(max(1, min(BULK_READS_MAX, reads_max - 1)))
        self._open_batches: dict[tuple[int, int], list[_Batch]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._shared_reads: dict[tuple[OpsForm, str, int], asyncio.Future[None]] = {}

    async def read(self, version: int, wanted: ReadChunks, form: OpsForm) -> Sequence[EncodedChunk] | Sequence[OpChunk]:
        """The next chunks of these spans in their order; fewer than all where they are many.

        Large ones that nobody shares are not encoded: their session does that while it reads on. Nothing where the operations are
        gone. Raises StorageUnavailable, also after FETCH_WAIT_S without a turn.
        """
        while True:
            cached = self._cached(wanted, form)
            if cached:
                return cached
            if is_small(wanted):
                return await self._read_small(version, wanted, form)
            first = wanted.spans[0]
            key = (form, first.bucket, first.after)
            if key not in self._shared_reads:
                return await self._read_large(version, wanted, form, key)
            # Another session reads just this: what it finds will be in the cache, or else this one reads too.
            await asyncio.wait([self._shared_reads[key]])

    def _cached(self, wanted: ReadChunks, form: OpsForm) -> list[EncodedChunk]:
        """What the cache has of the spans, from the first operation on without a gap."""
        found: list[EncodedChunk] = []
        op_count = 0
        for span in wanted.spans:
            after = span.after
            while after < span.upto:
                if op_count >= READ_OPS_MAX:
                    return found
                chunk = self.cache.get(form, span.bucket, after, upto=span.upto, checkpoint_op=wanted.checkpoint_op)
                if chunk is None:
                    return found
                found.append(chunk)
                op_count += chunk.op_count
                after = chunk.next_after
        return found

    async def _read_large(
        self, version: int, wanted: ReadChunks, form: OpsForm, key: tuple[OpsForm, str, int]
    ) -> Sequence[EncodedChunk] | Sequence[OpChunk]:
        if not self._is_shared(wanted.spans[0].bucket):
            return await self._read_in_turn(version, wanted)
        done = self._shared_reads[key] = asyncio.get_running_loop().create_future()
        try:
            chunks = await self._read_in_turn(version, wanted)
            encoded: list[EncodedChunk] = []
            for chunk in chunks:
                encoded.append(self._encode(chunk, form))
                await asyncio.sleep(0)  # others have their turn between two chunks
            return encoded
        finally:
            del self._shared_reads[key]
            done.set_result(None)

    async def _read_in_turn(self, version: int, wanted: ReadChunks) -> list[OpChunk]:
        async with _turn(self._bulk_reads), _turn(self._reads):
            return await self._read(version, wanted.positions, wanted.checkpoint_op)

    async def _read_small(self, version: int, wanted: ReadChunks, form: OpsForm) -> list[EncodedChunk]:
        loop = asyncio.get_running_loop()
        wish = _Wish(wanted.spans, form, loop.create_future())
        if not self._open_batches:
            loop.call_soon(self._start_batches)  # what is asked for until then comes along
        batches = self._open_batches.setdefault((version, wanted.checkpoint_op), [])
        if not batches or not batches[-1].takes(wish.spans):
            batches.append(_Batch(version, wanted.checkpoint_op))
        batches[-1].add(wish)
        found = await wish.answer
        if found:
            return found
        async with _turn(self._reads):  # it had no place any more in what one read may bring, or is gone
            chunks = await self._read(version, wanted.positions, wanted.checkpoint_op)
        return [self._encode(chunk, form) for chunk in chunks]

    def _start_batches(self) -> None:
        batches = [batch for same in self._open_batches.values() for batch in same]
        self._open_batches = {}
        for batch in batches:
            task = asyncio.create_task(self._run_batch(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run_batch(self, batch: _Batch) -> None:
        try:
            async with _turn(self._reads):
                chunks = await self._read(batch.version, list(batch.spans), batch.checkpoint_op)
            runs = dict(_runs(chunks))
            encoded: dict[tuple[OpsForm, str, int], list[EncodedChunk]] = {}
            for wish in batch.wishes:
                if not wish.answer.done():  # its session may have gone
                    wish.answer.set_result(self._answer(wish, runs, encoded))
        except Exception as exc:
            for wish in batch.wishes:
                if not wish.answer.done():
                    wish.answer.set_exception(exc)

    def _answer(
        self,
        wish: _Wish,
        runs: dict[tuple[str, int], list[OpChunk]],
        encoded: dict[tuple[OpsForm, str, int], list[EncodedChunk]],
    ) -> list[EncodedChunk]:
        found: list[EncodedChunk] = []
        for span in wish.spans:
            key = (wish.form, span.bucket, span.after)
            if key not in encoded:
                run = runs.get((span.bucket, span.after), [])
                encoded[key] = [self._encode(chunk, wish.form) for chunk in run]
            found += encoded[key]
        return found

    async def _read(self, version: int, positions: Sequence[tuple[str, int]], checkpoint_op: int) -> list[OpChunk]:
        return await self._reader.chunks(
            version,
            positions,
            checkpoint_op=checkpoint_op,
            ops_max=READ_OPS_MAX,
            chunk_ops_max=CHUNK_OPS_MAX,
            chunk_bytes_max=CHUNK_BYTES_MAX,
        )

    def _encode(self, chunk: OpChunk, form: OpsForm) -> EncodedChunk:
        encoded = encode_chunk(chunk, form)
        if self._is_shared(chunk.bucket):
            self.cache.put(form, encoded)
        return encoded


@contextlib.asynccontextmanager
async def _turn(places: asyncio.Semaphore) -> AsyncGenerator[None]:
    """Wait for one's turn, first come first served. Raises StorageUnavailable after FETCH_WAIT_S (protocol reference, 2.8)."""
    try:
        async with asyncio.timeout(FETCH_WAIT_S if places.locked() else None):
            await places.acquire()
    except TimeoutError as exc:
        raise StorageUnavailable(
            f"No operations could be read within {FETCH_WAIT_S:.0f} s: too many downloads at once.",
            hint="Add an API process, or raise api.parameters.max_data_fetch_concurrency.",
        ) from exc
    try:
        yield
    finally:
        places.release()


def _runs(chunks: Sequence[OpChunk]) -> Iterator[tuple[tuple[str, int], list[OpChunk]]]:
    """Chunks that follow one another in a bucket, by where the first begins."""
    run: list[OpChunk] = []
    for chunk in chunks:
        if run and (run[-1].bucket, run[-1].next_after) != (chunk.bucket, chunk.after):
            yield (run[0].bucket, run[0].after), run
            run = []
        run.append(chunk)
    if run:
        yield (run[0].bucket, run[0].after), run
