from __future__ import annotations

import asyncio

import pytest

from syncline.sync.light_event import LightEvent


async def test_one_that_is_set_does_not_wait_until_it_is_cleared() -> None:
    event = LightEvent()
    event.set()
    assert event.is_set()
    assert event.wait().done()
    assert event.wait().done(), "waiting does not clear it"
    event.clear()
    assert not event.is_set()
    assert not event.wait().done()


async def test_a_task_that_waits_is_woken_once() -> None:
    event = LightEvent()
    waiting = event.wait()
    event.set()
    event.clear()  # the task has been woken for all that
    async with asyncio.timeout(5):
        await waiting
    assert not event.is_set()
    event.set()
    event.set()  # nobody waits


async def test_a_task_that_is_cancelled_makes_room_for_another() -> None:
    event = LightEvent()
    began = asyncio.Event()

    async def wait() -> None:
        began.set()
        await event.wait()

    cancelled = asyncio.create_task(wait())
    await began.wait()
    with pytest.raises(AssertionError, match="one task"):
        event.wait()
    cancelled.cancel()
    await asyncio.wait({cancelled})
    assert cancelled.cancelled()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(wait())
        await asyncio.sleep(0)
        event.set()


async def test_setting_it_after_a_cancellation_wakes_nobody_and_fails_nothing() -> None:
    event = LightEvent()
    waiting = event.wait()
    waiting.cancel()
    event.set()
    assert event.is_set()
