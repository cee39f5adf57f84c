"""Larger bodies share a room: they are read before it is known who sends them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from syncline.api.limits import BODIES_BYTES_MAX, BODY_BYTES_MAX, SMALL_BODY_BYTES_MAX
from syncline.api.requests import ClientGone, read_body
from syncline.errors import TooManyConnections


class Sender:
    """Sends parts of a body, and then its end, or goes away."""

    def __init__(self, *sizes: int, then: str = "more") -> None:
        self._parts = [{"type": "http.request", "body": bytes(size), "more_body": True} for size in sizes]
        self._then = then

    async def receive(self) -> MutableMapping[str, Any]:
        if self._parts:
            return self._parts.pop(0)
        if self._then == "gone":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}


def unfinished(size: int) -> Any:
    """A reading that has taken `size` bytes and waits; close it to let go."""

    class Waiting:
        def __await__(self) -> Any:
            yield

    parts = [bytes(1024 * 1024)] * (size // (1024 * 1024))

    async def receive() -> MutableMapping[str, Any]:
        if not parts:
            await Waiting()
        return {"type": "http.request", "body": parts.pop(), "more_body": True}

    reading = read_body(receive)
    reading.send(None)
    return reading


async def test_the_room_is_bounded_and_given_back() -> None:
    readings = [unfinished(BODY_BYTES_MAX) for _ in range(BODIES_BYTES_MAX // BODY_BYTES_MAX)]
    with pytest.raises(TooManyConnections):
        await read_body(Sender(SMALL_BODY_BYTES_MAX, 1).receive)
    assert len(await read_body(Sender(SMALL_BODY_BYTES_MAX).receive)) == SMALL_BODY_BYTES_MAX, "small ones need none"
    readings.pop().close()
    assert len(await read_body(Sender(BODY_BYTES_MAX).receive)) == BODY_BYTES_MAX
    for reading in readings:
        reading.close()


async def test_a_client_that_goes_leaves_nothing_behind() -> None:
    for _ in range(2 * BODIES_BYTES_MAX // BODY_BYTES_MAX):
        with pytest.raises(ClientGone):
            await read_body(Sender(BODY_BYTES_MAX, then="gone").receive)
    assert len(await read_body(Sender(BODY_BYTES_MAX).receive)) == BODY_BYTES_MAX
