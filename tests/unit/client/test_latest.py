"""Only the newest call counts."""

from __future__ import annotations

import asyncio

import pytest

from syncline.client.latest import Superseded, latest


class Lookup:
    """Calls that end when the test says so; a stubborn one cannot be cancelled."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.cancelled: list[str] = []
        self.stubborn = stubborn

    async def __call__(self, name: str) -> str:
        gate = self.gates.setdefault(name, asyncio.Event())
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            if not self.stubborn:
                raise
        if name == "broken":
            raise ValueError(name)
        return f"result of {name}"


async def started(lookup: Lookup, name: str) -> None:
    while name not in lookup.gates:  # noqa: ASYNC110 - one or two turns of the loop
        await asyncio.sleep(0)


@pytest.mark.requirement(101)
@pytest.mark.parametrize("stubborn", [False, True])
async def test_an_older_call_is_cancelled_and_its_result_is_dropped(stubborn: bool) -> None:
    lookup = Lookup(stubborn=stubborn)
    search = latest(lookup.__call__)
    old = asyncio.create_task(search("a"))
    await started(lookup, "a")
    new = asyncio.create_task(search("b"))
    await started(lookup, "b")
    lookup.gates["b"].set()
    assert await new == "result of b"
    with pytest.raises(Superseded):
        await old
    assert lookup.cancelled == ["a"]


@pytest.mark.requirement(101)
async def test_a_late_error_of_an_older_call_is_nobodys() -> None:
    lookup = Lookup(stubborn=True)
    search = latest(lookup.__call__)
    old = asyncio.create_task(search("broken"))
    await started(lookup, "broken")
    new = asyncio.create_task(search("b"))
    await started(lookup, "b")
    lookup.gates["b"].set()
    await new
    with pytest.raises(Superseded):
        await old


async def test_calls_one_after_the_other_all_count_and_errors_come_through() -> None:
    lookup = Lookup()
    search = latest(lookup.__call__)
    for name in ("a", "b", "broken"):
        lookup.gates[name] = asyncio.Event()
        lookup.gates[name].set()
    assert [await search("a"), await search("b")] == ["result of a", "result of b"]
    with pytest.raises(ValueError, match="broken"):
        await search("broken")


async def test_a_cancelled_caller_cancels_the_call() -> None:
    lookup = Lookup()
    search = latest(lookup.__call__)
    caller = asyncio.create_task(search("a"))
    await started(lookup, "a")
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(0)
    assert lookup.cancelled == ["a"]
