"""Who reads when, how much, and how often, over a reader whose answers the test holds back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from syncline.errors import StorageUnavailable
from syncline.storage.base import StorageReader
from syncline.storage.model import OpChunk
from syncline.sync import chunk_source as module
from syncline.sync.chunk_source import ChunkSource
from syncline.sync.encoding import EncodedChunk, OpsForm, encode_chunk
from syncline.sync.limits import BATCH_SPANS_MAX, BULK_READS_MAX, READ_OPS_MAX
from syncline.sync.session import ReadChunks, Span
from syncline.testing.waiting import eventually
from tests.unit.sync.ops import chunk

Positions = list[tuple[str, int]]
LARGE = 5_000


class HeldReader:
    """Every bucket has the operations 1 to `upto`. A read waits in `waiting` until it is released, while `holding`."""

    def __init__(self, upto: int = 8) -> None:
        self.upto = upto
        self.reads: list[Positions] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.holding = False
        self.fails: Exception | None = None
        self.empty: set[str] = set()

    async def chunks(
        self, version: int, positions: Sequence[tuple[str, int]], *, checkpoint_op: int, ops_max: int, **_: object
    ) -> list[OpChunk]:
        self.reads.append(list(positions))
        if self.holding:
            self.waiting.append(asyncio.get_running_loop().create_future())
            await self.waiting[-1]
        if self.fails is not None:
            raise self.fails
        found: list[OpChunk] = []
        for bucket, after in positions:
            upto = min(self.upto, checkpoint_op, after + ops_max)
            if upto > after and bucket not in self.empty:
                found.append(chunk(bucket, after, upto, has_more=upto < min(self.upto, checkpoint_op)))
        return found

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self.waiting.pop(0).set_result(None)


def source(
    reader: HeldReader, *, reads_max: int = 10, shared: bool = False, cache_bytes: int = 1_000_000
) -> ChunkSource:
    return ChunkSource(
        cast("StorageReader", cast("Any", reader)),
        reads_max=reads_max,
        cache_bytes_max=cache_bytes,
        is_shared=lambda _bucket: shared,
    )


def wish(*buckets: str, after: int = 0, upto: int = 8, ops: int = 1, checkpoint_op: int = 100) -> ReadChunks:
    return ReadChunks(tuple(Span(bucket, after, upto, ops) for bucket in buckets), checkpoint_op)


async def read(chunks: ChunkSource, wanted: ReadChunks, form: OpsForm = OpsForm.RAW_JSON) -> list[EncodedChunk]:
    """What a session would send."""
    found = await chunks.read(10, wanted, form)
    return [encode_chunk(each, form) if isinstance(each, OpChunk) else each for each in found]


def start(
    chunks: ChunkSource, wanted: ReadChunks, form: OpsForm = OpsForm.RAW_JSON
) -> asyncio.Task[list[EncodedChunk]]:
    return asyncio.create_task(read(chunks, wanted, form))


async def until_reads(reader: HeldReader, count: int) -> None:
    await eventually(lambda: len(reader.reads) >= count)


async def test_what_many_sessions_want_at_once_is_a_few_reads() -> None:
    reader = HeldReader()
    chunks = source(reader)
    tasks = [start(chunks, wish(f"bucket {number}")) for number in range(500)]
    found = await asyncio.gather(*tasks)
    assert [each[0].bucket for each in found] == [f"bucket {number}" for number in range(500)]
    assert [len(positions) for positions in reader.reads] == [BATCH_SPANS_MAX] * 3 + [500 - 3 * BATCH_SPANS_MAX]


async def test_the_same_wish_of_many_sessions_is_read_and_encoded_once_per_form() -> None:
    reader = HeldReader()
    chunks = source(reader)
    found = await asyncio.gather(
        *(start(chunks, wish("a")) for _ in range(300)), *(start(chunks, wish("a"), OpsForm.BSON) for _ in range(300))
    )
    assert reader.reads == [[("a", 0)]]
    assert len({id(each[0].ops) for each in found}) == 2


async def test_wishes_at_different_checkpoints_are_never_read_together() -> None:
    reader = HeldReader()
    chunks = source(reader)
    old, new = await asyncio.gather(
        start(chunks, wish("a", upto=5, checkpoint_op=5)), start(chunks, wish("a", upto=8, checkpoint_op=8))
    )
    assert (old[0].next_after, new[0].next_after) == (5, 8)
    assert len(reader.reads) == 2


async def test_a_batch_holds_what_one_read_may_bring() -> None:
    reader = HeldReader()
    chunks = source(reader)
    await asyncio.gather(*(start(chunks, wish(f"bucket {number}", ops=100)) for number in range(25)))
    assert [len(positions) for positions in reader.reads] == [READ_OPS_MAX // 100] * 2 + [5]


async def test_a_wish_that_a_shared_read_did_not_answer_is_read_by_itself() -> None:
    reader = HeldReader()
    reader.empty = {"gone"}
    chunks = source(reader)
    found, nothing = await asyncio.gather(start(chunks, wish("a")), start(chunks, wish("gone")))
    assert [each.bucket for each in found] == ["a"]
    assert nothing == [], "the session decides what it means"
    assert reader.reads == [[("a", 0), ("gone", 0)], [("gone", 0)]]


async def test_large_reads_never_take_every_place() -> None:
    """A download of a million rows does not hold up another's one row: there is a place for that whatever the others do."""
    reader = HeldReader(upto=LARGE)
    reader.holding = True
    chunks = source(reader)
    large = [start(chunks, wish(f"large {number}", upto=LARGE, ops=LARGE, checkpoint_op=LARGE)) for number in range(20)]
    await until_reads(reader, BULK_READS_MAX)
    small = start(chunks, wish("small", upto=1, checkpoint_op=1))
    await until_reads(reader, BULK_READS_MAX + 1)
    assert reader.reads[-1] == [("small", 0)]
    assert len(reader.reads) == BULK_READS_MAX + 1
    reader.waiting.pop().set_result(None)
    assert (await small)[0].bucket == "small"
    assert not any(task.done() for task in large)
    reader.holding = False
    reader.release(BULK_READS_MAX)
    await asyncio.gather(*large)


async def test_large_reads_take_turns_in_the_order_in_which_they_came() -> None:
    reader = HeldReader(upto=LARGE)
    reader.holding = True
    chunks = source(reader, reads_max=2)
    order: list[str] = []

    async def download(name: str) -> None:
        after = 0
        while after < 2 * READ_OPS_MAX:
            wanted = wish(name, after=after, upto=LARGE, ops=LARGE, checkpoint_op=LARGE)
            after = (await chunks.read(10, wanted, OpsForm.RAW_JSON))[-1].next_after
            order.append(name)

    tasks = [asyncio.create_task(download(name)) for name in ("first", "second", "third")]
    for count in range(1, 7):
        await until_reads(reader, count)
        reader.release()
    await asyncio.gather(*tasks)
    assert order == ["first", "second", "third", "first", "second", "third"]


@pytest.mark.requirement(187)
async def test_sessions_that_share_a_bucket_share_its_encoded_chunks() -> None:
    reader = HeldReader(upto=LARGE)
    chunks = source(reader, shared=True, cache_bytes=10_000_000)

    async def download() -> list[bytes]:
        after, parts = 0, list[bytes]()
        while after < LARGE:
            wanted = wish("a", after=after, upto=LARGE, ops=LARGE - after, checkpoint_op=LARGE)
            for each in await read(chunks, wanted):
                assert each.after == after
                after = each.next_after
                parts.append(each.ops)
        return parts

    downloads = await asyncio.gather(*(download() for _ in range(20)))
    assert all(other == downloads[0] for other in downloads)
    assert len(reader.reads) == LARGE // READ_OPS_MAX, "each operation was read once"


async def test_chunks_of_a_bucket_that_one_session_holds_are_not_kept() -> None:
    chunks = source(HeldReader(upto=LARGE))
    await chunks.read(10, wish("a", upto=LARGE, ops=LARGE, checkpoint_op=LARGE), OpsForm.RAW_JSON)
    await chunks.read(10, wish("b"), OpsForm.RAW_JSON)
    assert len(chunks.cache) == 0


async def test_a_failed_read_fails_those_who_waited_for_it_and_nobody_else() -> None:
    reader = HeldReader(upto=LARGE)
    reader.fails = StorageUnavailable("gone")
    chunks = source(reader, shared=True)
    asked = [wish("a"), wish("b"), wish("c", upto=LARGE, ops=LARGE), wish("c", upto=LARGE, ops=LARGE)]
    found = await asyncio.gather(*(start(chunks, each) for each in asked), return_exceptions=True)
    assert all(isinstance(each, StorageUnavailable) for each in found)
    reader.fails = None
    assert await chunks.read(10, wish("a"), OpsForm.RAW_JSON)


async def test_a_session_that_left_does_not_disturb_those_it_waited_with() -> None:
    reader = HeldReader()
    reader.holding = True
    chunks = source(reader)
    left, stays = start(chunks, wish("a")), start(chunks, wish("b"))
    await until_reads(reader, 1)
    left.cancel()
    await asyncio.wait([left])
    reader.release()
    assert (await stays)[0].bucket == "b"


async def test_a_session_that_gets_no_turn_in_time_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_WAIT_S", 0.02)
    reader = HeldReader()
    reader.holding = True
    chunks = source(reader, reads_max=1)
    first = start(chunks, wish("a"))
    await until_reads(reader, 1)
    with pytest.raises(StorageUnavailable, match="too many downloads"):
        await chunks.read(10, wish("b"), OpsForm.RAW_JSON)
    reader.release()
    assert await first
