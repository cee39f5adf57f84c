"""The thread that writes, and those who wait for it."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from syncline.client.local.connection import open_writer
from syncline.client.threads import Writer


async def test_who_holds_the_writer_sees_that_others_want_it() -> None:
    writer = Writer(lambda: open_writer(":memory:"), after_call=lambda: None)
    elsewhere = copy_context()  # of a task that does not hold the writer
    async with writer.lease():
        assert not writer.is_wanted
        asking = writer.call(lambda connection: connection.in_transaction)
        waiting = elsewhere.run(asyncio.create_task, asking)
        impatient = elsewhere.run(asyncio.create_task, _hold(writer, timeout_s=0.0))
        with pytest.raises(TimeoutError):
            await impatient
        assert writer.is_wanted
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not writer.is_wanted
    assert await writer.call(lambda connection: connection.in_transaction) is False
    assert not writer.is_wanted
    await writer.close()


async def _hold(writer: Writer, *, timeout_s: float) -> None:
    async with writer.lease(timeout_s=timeout_s):
        pass
