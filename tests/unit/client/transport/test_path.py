"""The way to a peer. Times are short, and every wait is for an event."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from syncline.client.errors import ConnectionFailed
from syncline.client.transport import path as path_module
from syncline.client.transport.path import Path
from syncline.testing.waiting import eventually

SOON_S = 0.01


class Peer:
    """Answers probes, or not."""

    def __init__(self) -> None:
        self.answers = True
        self.probes = 0
        self.dropped = 0
        self.recoveries = 0

    async def probe(self) -> None:
        self.probes += 1
        if not self.answers:
            await asyncio.Event().wait()

    def _drop(self) -> None:
        self.dropped += 1

    def _recover(self) -> None:
        self.recoveries += 1

    def path(self) -> Path:
        made = Path(self.probe, peer="peer", probe_timeout_s=SOON_S, probe_pause_s=SOON_S, on_closed=self._drop)
        made.on_recovered(self._recover)
        return made


async def forever(path: Path, *, overdue_s: float | None) -> None:
    async with path.watch(overdue_s):
        await asyncio.Event().wait()


async def test_what_is_overdue_is_examined_and_goes_on_while_the_peer_answers() -> None:
    peer = Peer()
    waiting = asyncio.create_task(forever(peer.path(), overdue_s=SOON_S))
    await eventually(lambda: peer.probes >= 3)
    assert not waiting.done()
    waiting.cancel()


async def test_whatever_arrives_puts_the_examination_off() -> None:
    peer = Peer()
    async with peer.path().watch(overdue_s=0.2) as heard:
        for _ in range(10):
            await asyncio.sleep(0)
            heard()
    assert peer.probes == 0


async def test_a_silent_peer_ends_all_that_waits_for_it() -> None:
    peer = Peer()
    path = peer.path()
    peer.answers = False
    waits = [forever(path, overdue_s=SOON_S), forever(path, overdue_s=60), forever(path, overdue_s=None)]
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionFailed] * 3
    assert "nothing comes through" in str(results[0])
    assert isinstance(results[0], ConnectionFailed)
    assert results[0].retry_after_s == SOON_S
    assert (path.is_open, peer.dropped) == (False, 1)


async def test_a_closed_way_is_probed_until_it_is_open_again() -> None:
    peer = Peer()
    path = peer.path()
    peer.answers = False
    assert not await path.check()
    ready = [asyncio.create_task(path.ready()) for _ in range(3)]
    await eventually(lambda: peer.probes >= 4)
    assert not any(task.done() for task in ready)
    peer.answers = True
    await asyncio.wait_for(asyncio.gather(*ready), 5)
    assert path.is_open
    assert peer.recoveries == 1
    await path.ready()  # at once


async def test_waiting_for_a_closed_way_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_module, "WAIT_S_MAX", 5 * SOON_S)
    peer = Peer()
    peer.answers = False
    path = peer.path()
    assert not await path.check()
    with pytest.raises(ConnectionFailed):
        await path.ready()


@pytest.mark.parametrize("error", [OSError("refused"), ConnectionFailed("refused")])
async def test_a_peer_that_cannot_be_reached_does_not_answer(error: Exception) -> None:
    async def probe() -> None:
        raise error

    path = Path(probe, peer="peer", probe_timeout_s=1, probe_pause_s=1)
    assert not await path.check()


async def test_the_errors_of_what_runs_are_its_own() -> None:
    path = Peer().path()
    with pytest.raises(TimeoutError):
        async with path.watch(60):
            raise TimeoutError
    with contextlib.suppress(ZeroDivisionError):
        async with path.watch(60):
            _ = 1 / 0
    task = asyncio.create_task(forever(path, overdue_s=60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert path.is_open


async def test_a_way_that_closed_once_can_close_again() -> None:
    peer = Peer()
    path = peer.path()
    for _ in range(2):
        peer.answers = False
        with pytest.raises(ConnectionFailed):
            await forever(path, overdue_s=SOON_S)
        peer.answers = True
        await path.ready()
    assert (peer.dropped, peer.recoveries) == (2, 2)


async def test_nothing_is_examined_while_nothing_is_read() -> None:
    peer = Peer()
    async with peer.path().watch(overdue_s=SOON_S) as heard:
        with heard.busy():
            await asyncio.sleep(5 * SOON_S)
            assert peer.probes == 0
        await eventually(lambda: peer.probes)


async def test_a_peer_that_is_busy_with_us_gets_more_time_each_time() -> None:
    peer = Peer()
    path = peer.path()
    waited: list[float] = []

    async def closed_after() -> float:
        peer.answers = False
        started = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionFailed):
            await forever(path, overdue_s=5 * SOON_S)
        peer.answers = True
        await path.ready()
        return asyncio.get_running_loop().time() - started

    waited = [await closed_after() for _ in range(4)]
    assert waited[1] >= 10 * SOON_S
    assert waited[3] >= 40 * SOON_S
    async with path.watch(overdue_s=5 * SOON_S) as heard:
        heard()
    assert await closed_after() < waited[3]
