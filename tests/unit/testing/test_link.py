from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from syncline.client.errors import AuthFailed, ConnectionFailed, ServiceError
from syncline.testing.link import Link, RequestKind, corrupted
from syncline.testing.memory_transport import LINES_BUFFERED_MAX, LinePipe
from syncline.testing.simulated_loop import SimulatedLoop, simulate

DATA = b'{"data":{"bucket":"b","data":[{"op_id":"1","checksum":7},{"op_id":"2","checksum":8}]}}\n'


async def test_planned_refusals_hit_the_next_requests_of_their_kind() -> None:
    link = Link()
    link.refuse(RequestKind.UPLOAD, 502, times=2)
    link.refuse(RequestKind.STREAM, 401)
    await link.before(RequestKind.TOKEN)
    with pytest.raises(AuthFailed):
        await link.before(RequestKind.STREAM)
    for _ in range(2):
        with pytest.raises(ServiceError, match="502"):
            await link.before(RequestKind.UPLOAD)
    await link.before(RequestKind.UPLOAD)
    assert link.happened == {"upload: HTTP 502": 2, "stream: HTTP 401": 1}


async def test_lost_answers_and_repeats() -> None:
    link = Link()
    link.lose_answers(RequestKind.UPLOAD)
    link.repeat(RequestKind.UPLOAD)
    assert [link.deliveries(RequestKind.UPLOAD) for _ in range(2)] == [2, 1]
    with pytest.raises(ConnectionFailed):
        await link.after(RequestKind.UPLOAD)
    await link.after(RequestKind.UPLOAD)


async def test_offline_breaks_what_is_open_and_refuses_what_comes() -> None:
    link = Link()
    broken: list[Exception] = []
    unregister = link.register(broken.append)
    link.offline = True
    assert len(broken) == 1
    with pytest.raises(ConnectionFailed):
        await link.before(RequestKind.TOKEN)
    link.offline = False
    await link.before(RequestKind.TOKEN)
    unregister()
    assert link.cut() == 0


def test_a_stall_holds_everything_back_and_a_slow_link_takes_its_time() -> None:
    async def main(loop: SimulatedLoop) -> list[float]:
        link, times = Link(), list[float]()
        link.stall()
        loop.call_later(10, link.resume)
        await link.line(DATA, loop.time())
        times.append(loop.time())
        link.delay_s = 2
        await link.line(DATA, loop.time() - 1.5)  # on its way for a while already
        times.append(loop.time())
        await link.before(RequestKind.TOKEN)
        return [*times, loop.time()]

    assert simulate(main, seed=1) == [10, 10.5, 12.5]


async def test_faults_of_lines_concern_data_lines_only() -> None:
    link = Link()
    link.corrupt_checksums()
    link.duplicate_lines()
    other = b'{"checkpoint_complete":{"last_op_id":"2"}}\n'
    assert await link.line(other, 0) == [other]
    assert await link.line(DATA, 0) == [corrupted(DATA)] != [DATA]
    assert await link.line(DATA, 0) == [DATA, DATA]
    assert await link.line(DATA, 0) == [DATA]
    assert corrupted(DATA).count(b'"checksum":8') == 1  # one operation has another checksum


def test_a_pipe_is_bounded_and_loses_what_is_in_it_when_it_breaks() -> None:
    async def main(loop: SimulatedLoop) -> None:
        pipe = LinePipe()

        async def send() -> None:
            for number in range(LINES_BUFFERED_MAX + 1):
                await pipe.put(b"%d" % number)
            pipe.end()

        sending = loop.create_task(send())
        await asyncio.sleep(1)
        assert not sending.done()
        assert await pipe.get() == (b"0", 0.0)
        await sending
        assert [found async for found in _all(pipe)] == [b"%d" % n for n in range(1, LINES_BUFFERED_MAX + 1)]

        broken = LinePipe()
        await broken.put(b"lost")
        broken.end(ConnectionFailed("cut"))
        with pytest.raises(ConnectionFailed):
            await broken.get()

    async def _all(pipe: LinePipe) -> AsyncGenerator[bytes]:
        while (found := await pipe.get()) is not None:
            yield found[0]

    simulate(main, seed=1)
