"""The time that an open transaction does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from syncline.client import transaction_clock
from syncline.client.transaction_clock import TransactionClock


class Timer:
    """A loop whose time stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[float, Callable[[], None], Timer.Handle]] = []

    class Handle:
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer.Handle:
        handle = Timer.Handle()
        self.calls.append((self.now + delay_s, callback, handle))
        return handle

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [call for call in self.calls if call[0] <= end and not call[2].cancelled]:
            call = min(due, key=lambda entry: entry[0])
            self.calls.remove(call)
            self.now = call[0]
            call[1]()
        self.now = end


@pytest.fixture
def rung() -> list[str]:
    return []


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    timer = Timer()
    monkeypatch.setattr(transaction_clock.asyncio, "get_running_loop", lambda: timer)
    return timer


@pytest.fixture
def clock(timer: Timer, rung: list[str]) -> TransactionClock:
    return TransactionClock(warn=lambda: rung.append("warn"), expire=lambda: rung.append("expire"))


def test_an_idle_transaction_is_warned_of_and_then_ended(
    clock: TransactionClock, timer: Timer, rung: list[str]
) -> None:
    timer.move(transaction_clock.WARN_AFTER_S - 0.1)
    assert rung == []
    timer.move(0.1)
    assert rung == ["warn"]
    timer.move(transaction_clock.EXPIRE_AFTER_S - transaction_clock.WARN_AFTER_S)
    assert rung == ["warn", "expire"]
    timer.move(1000)
    clock.stop()
    assert rung == ["warn", "expire"]


def test_the_time_inside_of_statements_does_not_count(clock: TransactionClock, timer: Timer, rung: list[str]) -> None:
    for _ in range(10):
        clock.statement_begins()
        timer.move(100)
        clock.statement_begins()  # two at once
        clock.statement_ends()
        timer.move(100)
        clock.statement_ends()
        timer.move(0.4)
    assert rung == []
    timer.move(1.1)
    assert rung == ["warn"]


def test_short_waits_add_up(clock: TransactionClock, timer: Timer, rung: list[str]) -> None:
    for _ in range(299):
        timer.move(0.1)
        clock.statement_begins()
        clock.statement_ends()
    assert rung == ["warn"]
    timer.move(0.2)
    assert rung == ["warn", "expire"]
    clock.statement_begins()
    clock.statement_ends()


def test_nothing_rings_after_the_end(clock: TransactionClock, timer: Timer, rung: list[str]) -> None:
    timer.move(4)
    clock.stop()
    clock.stop()
    timer.move(1000)
    assert rung == []


async def test_it_works_on_a_real_loop() -> None:
    rung = asyncio.Event()
    clock = TransactionClock(warn=lambda: None, expire=rung.set, warn_after_s=0.001, expire_after_s=0.002)
    async with asyncio.timeout(5):
        await rung.wait()
    clock.stop()
