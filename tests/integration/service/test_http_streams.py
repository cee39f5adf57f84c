"""Sync streams over real sockets: what arrives when, and clients that read slowly, not at all, or go away."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from syncline.api import stream as stream_module
from syncline.api.limits import SEND_PART_BYTES
from syncline.service.listening import SEND_BUFFER_BYTES
from syncline.sync.limits import READ_OPS_MAX, StreamLimits
from syncline.testing.waiting import eventually
from tests.conformance.golden import bson_as_lines
from tests.integration.service.http_service import RawClient, ServedWorld, served_world

BSON = "application/vnd.powersync.bson-stream"
COMPLETE = b'{"checkpoint_complete"'
ROW_BYTES = 2000
LARGE_ROWS = 8 * READ_OPS_MAX  # 16 MB: far more than all buffers between two ends hold
IDLE_STREAM_BYTES_MAX = 18_000  # bytes that Python counts of an idle stream and its client: 15,000 with Python 3.11
Decode = Callable[[bytes], bytes]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[ServedWorld]:
    async with served_world(tmp_path) as made:
        yield made


def fill(served: ServedWorld, rows: int, *, user_id: str) -> None:
    """Give a user so many rows of ROW_BYTES."""
    data = json.dumps({"id": "x", "text": "x" * ROW_BYTES})
    for start in range(0, rows, READ_OPS_MAX):
        ids = [f"row-{number}" for number in range(start, min(start + READ_OPS_MAX, rows))]
        served.world.commit(*ids, user_id=user_id, data=data)


def count_reads(served: ServedWorld, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bucket of each reading of operations from now on."""
    buckets: list[str] = []
    chunks = served.world.reader.chunks

    async def counted(version: int, positions: list[tuple[str, int]], **options: Any) -> Any:
        buckets.append(positions[0][0])
        return await chunks(version, positions, **options)

    monkeypatch.setattr(served.world.reader, "chunks", counted)
    return buckets


async def read_until(client: RawClient, text: bytes, *, decode: Decode = bytes, at_once: int = 65536) -> bytes:
    """What came, decoded, up to the part that has `text`."""
    found = b""
    while text not in found:
        part = await client.read_part(at_once=at_once)
        assert part, "the stream ended"
        found += decode(part)
    return found


def gzip_decode() -> Decode:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress


def zstd_decode() -> Decode:
    return zstd.ZstdDecompressor().decompress


@pytest.mark.requirement(187)
@pytest.mark.parametrize(
    ("coding", "decoder"),
    [("", lambda: bytes), ("gzip", gzip_decode), ("zstd", zstd_decode)],
    ids=["plain", "gzip", "zstd"],
)
async def test_a_line_arrives_before_the_next_exists(
    served: ServedWorld, coding: str, decoder: Callable[[], Decode]
) -> None:
    decode = decoder()
    async with served.client(accept_encoding=coding) as client:
        await read_until(client, COMPLETE, decode=decode)
        assert ("content-encoding: " + coding in client.head) if coding else ("content-encoding" not in client.head)
        for number in range(3):
            served.world.commit(f"row-{number}")
            lines = (await read_until(client, COMPLETE, decode=decode)).splitlines()
            kinds = [next(iter(json.loads(line))) for line in lines]
            assert kinds == ["checkpoint_diff", "data", "checkpoint_complete"]
            assert f"row-{number}".encode() in lines[1]


async def test_a_bson_stream_is_documents_back_to_back(served: ServedWorld) -> None:
    served.world.commit("a", data='{"id":"a"}')
    async with served.client(accept=BSON, accept_encoding="zstd") as client:
        decode, body = zstd_decode(), b""
        while b"checkpoint_complete" not in body:
            body += decode(await client.read_part())
        assert f"content-type: {BSON}\r\n" in client.head + "\r\n"
        lines = [json.loads(line) for line in bson_as_lines(body)]
        assert [next(iter(line)) for line in lines] == ["checkpoint", "data", "checkpoint_complete"]
        assert lines[1]["data"]["data"][0]["data"] == '{"id":"a"}'


@pytest.mark.parametrize(("coding", "decoder"), [("gzip", gzip_decode), ("zstd", zstd_decode)])
async def test_a_stream_that_ends_by_itself_ends_its_body_whole(
    served: ServedWorld, coding: str, decoder: Callable[[], Decode]
) -> None:
    decode, text = decoder(), b""
    async with served.client(accept_encoding=coding, lifetime_s=0.5) as client:
        while part := await client.read_part():
            text += decode(part)
    assert text.endswith(b'{"token_expires_in":0}\n')
    assert getattr(decode, "__self__").eof, "nothing of the body is missing"  # noqa: B009 - a bound method's object


async def test_a_client_that_never_reads_holds_a_few_reads_and_moves_nobody(
    served: ServedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(served, LARGE_ROWS, user_id="stuck")
    reads = count_reads(served, monkeypatch)
    async with served.client("stuck"), served.client("u1") as other:
        await read_until(other, COMPLETE)
        for number in range(20):
            served.world.commit(f"row-{number}")
            assert f"row-{number}".encode() in await read_until(other, COMPLETE)
        assert await eventually(lambda: served.world.watcher.session_count == 2)
        stuck = sum("stuck" in bucket for bucket in reads)
        held_bytes = SEND_BUFFER_BYTES * 2 + 2 * SEND_PART_BYTES  # the kernel doubles what it is asked for
        in_buffers = held_bytes // (READ_OPS_MAX * ROW_BYTES) + 1
        assert 1 <= stuck <= in_buffers + 2, "beside that, one read is being sent and one is ready"


async def test_a_client_that_never_reads_is_cut(served: ServedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "SEND_TIMEOUT_S", 0.3)
    fill(served, LARGE_ROWS, user_id="stuck")
    async with served.client("stuck") as client:
        await eventually(lambda: served.world.watcher.session_count == 1)
        await eventually(lambda: served.world.watcher.session_count == 0)
        assert await client.read_until_cut() < LARGE_ROWS * ROW_BYTES / 4, "only what was in buffers came"


async def test_a_client_that_reads_one_byte_at_a_time_gets_everything(served: ServedWorld) -> None:
    served.world.commit(*(f"row-{number}" for number in range(30)))
    decode = gzip_decode()
    async with served.client(accept_encoding="gzip") as slow, served.client() as other:
        slow_reading = asyncio.create_task(read_until(slow, COMPLETE, decode=decode, at_once=1))
        expected = await read_until(other, COMPLETE)
        assert await slow_reading == expected
        served.world.commit("one-more")
        assert b"one-more" in await read_until(other, COMPLETE)
        assert b"one-more" in await read_until(slow, COMPLETE, decode=decode, at_once=1)


async def test_a_slow_client_gets_the_newest_state_and_not_each_one_between(
    served: ServedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a client has not taken is merged: a slow one never makes a queue grow."""
    fill(served, 4 * READ_OPS_MAX, user_id="slow")
    reads = count_reads(served, monkeypatch)
    async with served.client("slow") as slow:
        await eventually(lambda: len(reads) >= 2)
        for number in range(50):
            served.world.commit(f"late-{number}", user_id="slow")
        text = b""
        while b"late-49" not in text or COMPLETE not in text[text.rindex(b"late-49") :]:
            text += await slow.read_part()
    checkpoints = text.count(b'{"checkpoint_diff"')
    assert 1 <= checkpoints < 25, f"{checkpoints} checkpoints for 50 commits"
    ids = [
        entry["object_id"]
        for line in text.splitlines()
        if line.startswith(b'{"data"')
        for entry in json.loads(line)["data"]["data"]
    ]
    assert len(ids) == len(set(ids)) == 4 * READ_OPS_MAX + 50, "and nothing is missing or sent twice"


async def test_a_newer_checkpoint_takes_over_a_long_download(served: ServedWorld) -> None:
    fill(served, 4 * READ_OPS_MAX, user_id="u1")
    async with served.client() as client:
        first = json.loads(await client.read_part())["checkpoint"]["last_op_id"]
        served.world.commit("late")
        text = await read_until(client, COMPLETE)
    complete = json.loads(text.splitlines()[-1])["checkpoint_complete"]["last_op_id"]
    assert int(complete) > int(first)
    assert text.count(COMPLETE) == 1, "the first checkpoint was never completed, nor had to be"
    assert text.count(b'{"checkpoint_diff"') == 1


async def test_a_stream_that_rests_takes_little_memory(served: ServedWorld) -> None:
    """What Python counts, of ends of clients too. The parser, the compressor and the socket's buffers are not in it."""

    async def traced_bytes() -> int:
        gc.collect()
        await asyncio.sleep(0)
        return tracemalloc.get_traced_memory()[0]

    async with AsyncExitStack() as stack:

        async def open_streams(first: int, count: int) -> None:
            for number in range(first, first + count):
                client = await stack.enter_async_context(served.client(f"user-{number}", accept_encoding="gzip"))
                await read_until(client, COMPLETE, decode=gzip_decode())

        await open_streams(0, 10)  # what is made once, or for many
        tracemalloc.start()
        try:
            before = await traced_bytes()
            await open_streams(10, 50)
            per_stream = (await traced_bytes() - before) / 50
        finally:
            tracemalloc.stop()
    assert per_stream < IDLE_STREAM_BYTES_MAX


async def test_streams_above_the_limit_are_refused_until_one_goes(tmp_path: Path) -> None:
    async with served_world(tmp_path, limits=StreamLimits(connections_max=2)) as served:
        async with served.client() as one, served.client() as two:
            for client in (one, two):
                await read_until(client, COMPLETE)
            async with served.client() as three:
                await three.read_head()
                assert three.status == 429
                assert "content-length: 0" in three.head
        await eventually(lambda: served.world.watcher.session_count == 0)
        async with served.client() as four:
            await read_until(four, COMPLETE)
            assert four.status == 200
