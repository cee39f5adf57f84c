"""Portions of a stream between the event loop and the writer thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from syncline.client.portions import TRANSACTION_MAX_S, Portions, lines_for_one_transaction

Step = Callable[[], None]


def news() -> None:
    """Something else than lines."""


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_portions_come_out_in_their_order_and_news_of_the_stream_only_to_the_loop() -> None:
    portions = Portions[Step](3)
    await portions.put([b"1"])
    await portions.put(news)
    await portions.put([b"2"])
    assert portions.lines_that_wait() == [b"1"]
    assert portions.lines_that_wait() is None, "news come first"
    assert await portions.get() is news
    assert await portions.get() == [b"2"]
    assert portions.lines_that_wait() is None


async def test_who_gets_waits_for_who_puts() -> None:
    portions = Portions[Step](1)
    getting = asyncio.create_task(portions.get())
    await settle()
    assert not getting.done()
    await portions.put([b"1"])
    assert await getting == [b"1"]


async def test_who_puts_waits_for_room_that_the_loop_or_another_thread_makes() -> None:
    portions = Portions[Step](2)
    await portions.put([b"1"])
    await portions.put([b"2"])
    putting = asyncio.create_task(portions.put([b"3"]))
    await settle()
    assert not putting.done()
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(portions.lines_that_wait).result(10) == [b"1"]
    async with asyncio.timeout(10):
        await putting
    putting = asyncio.create_task(portions.put([b"4"]))
    await settle()
    assert not putting.done()
    assert await portions.get() == [b"2"]
    async with asyncio.timeout(10):
        await putting
    assert [await portions.get(), await portions.get()] == [[b"3"], [b"4"]]


async def test_nothing_is_lost_between_a_loop_that_puts_and_a_thread_that_takes() -> None:
    """In both hands' own time: the thread takes whenever it can, the loop waits for room."""
    portions = Portions[Step](4)
    total = 2000
    taken: list[bytes] = []

    def take() -> None:
        while len(taken) < total:
            taken.extend(portions.lines_that_wait() or ())

    with ThreadPoolExecutor(1) as thread:
        taking = thread.submit(take)
        async with asyncio.timeout(60):
            for number in range(total):
                await portions.put([b"%d" % number])
            await asyncio.wrap_future(taking)
    assert taken == [b"%d" % number for number in range(total)]


@dataclass
class Wanted:
    is_wanted: bool = False


async def test_a_transaction_ends_when_somebody_else_wants_to_write_and_in_time() -> None:
    portions = Portions[Step](10)
    for number in range(4):
        await portions.put([b"%d" % number])
    now_s, writer = [100.0], Wanted()
    following = lines_for_one_transaction(portions, writer, now_s=lambda: now_s[0])
    assert following() == [b"0"]
    writer.is_wanted = True
    assert following() is None
    writer.is_wanted = False
    now_s[0] += TRANSACTION_MAX_S * 0.9
    assert following() == [b"1"]
    now_s[0] += TRANSACTION_MAX_S * 0.2
    assert following() is None
    assert lines_for_one_transaction(portions, writer, now_s=lambda: now_s[0])() == [b"2"]
