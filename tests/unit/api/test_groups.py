from __future__ import annotations

import asyncio

import pytest

from syncline.api.groups import GroupFull, RequestGroup


async def test_above_running_and_waiting_requests_the_next_is_refused_at_once() -> None:
    group = RequestGroup(running_max=2, queued_max=1)
    leave = asyncio.Event()
    inside: list[int] = []

    async def stay(number: int) -> None:
        async with group.place():
            inside.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(stay(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert inside == [0, 1]
    with pytest.raises(GroupFull):
        async with group.place():
            raise AssertionError
    tasks[2].cancel()  # one that waits goes away: its place is free
    await asyncio.wait({tasks[2]})
    fourth = asyncio.create_task(stay(3))
    leave.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks[:2], fourth)
    assert inside == [0, 1, 3]
