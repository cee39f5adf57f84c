"""Small changes go before large downloads, and never keep them waiting for long."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from syncline.sync import precedence as precedence_module
from syncline.sync.precedence import Precedence


async def test_a_piece_of_a_download_waits_until_no_change_is_on_its_way() -> None:
    precedence = Precedence()
    precedence.begin()
    precedence.begin()
    piece = asyncio.create_task(precedence.give_way())
    await _turns(5)
    assert not piece.done()
    precedence.end()
    await _turns(5)
    assert not piece.done(), "one of two is still on its way"
    precedence.end()
    await _turns(5)
    assert piece.done()


async def test_a_change_that_begins_before_the_piece_is_woken_goes_first_too() -> None:
    precedence = Precedence()
    precedence.begin()
    piece = asyncio.create_task(precedence.give_way())
    await _turns(2)
    precedence.end()
    precedence.begin()  # the session that the watcher has told, in the same turn of the loop
    await _turns(5)
    assert not piece.done()
    precedence.end()
    await _turns(5)
    assert piece.done()


async def test_changes_without_end_hold_a_piece_up_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence_module, "GIVE_WAY_MAX_S", 0.01)
    precedence = Precedence()
    precedence.begin()
    async with asyncio.timeout(5):
        await precedence.give_way()
    precedence.end()
    async with asyncio.timeout(5):
        await precedence.give_way()


async def test_where_nothing_is_on_its_way_others_still_get_their_turn() -> None:
    precedence = Precedence()
    order: list[str] = []

    async def download() -> None:
        for _ in range(2):
            await precedence.give_way()
            order.append("piece")

    async def change() -> None:
        await asyncio.sleep(0)
        order.append("change")

    await asyncio.gather(download(), change())
    assert order == ["piece", "change", "piece"] or order == ["change", "piece", "piece"]


async def test_a_piece_waits_for_a_change_that_another_thread_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends it in its own time, and the piece goes on at once, not when its patience ends."""
    monkeypatch.setattr(precedence_module, "GIVE_WAY_MAX_S", 60.0)
    precedence = Precedence()
    loop = asyncio.get_running_loop()
    begun, may_end = threading.Event(), threading.Event()

    def bring() -> None:
        with precedence.begun_elsewhere(loop):
            begun.set()
            assert may_end.wait(10)

    with ThreadPoolExecutor(1) as thread:
        for _ in range(20):
            bringing = thread.submit(bring)
            assert begun.wait(10)
            piece = asyncio.create_task(precedence.give_way())
            await _turns(5)
            assert not piece.done()
            may_end.set()
            async with asyncio.timeout(10):
                await piece
            bringing.result(10)
            begun.clear()
            may_end.clear()


async def test_a_change_of_another_thread_goes_on_in_the_loop_without_a_piece_in_between() -> None:
    precedence = Precedence()
    with precedence.begun_elsewhere(asyncio.get_running_loop()):
        piece = asyncio.create_task(precedence.give_way())
        await _turns(5)
        precedence.begin()  # the look that the thread has asked for
    await _turns(5)
    assert not piece.done()
    precedence.end()
    await _turns(5)
    assert piece.done()


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
