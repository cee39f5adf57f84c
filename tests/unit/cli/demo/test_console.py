"""The demo's terminal: lines as they come, the end of input, and signals that end it in good order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import pytest

from syncline.cli.demo.console import Console


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Generator[BinaryIO]:
    """The other end of the standard input."""
    read_end, write_end = os.pipe()
    with open(read_end, encoding="utf-8") as stdin, open(write_end, "wb", buffering=0) as typing:  # noqa: PTH123 - descriptors
        monkeypatch.setattr(sys, "stdin", stdin)
        yield typing


async def test_lines_come_one_at_a_time_however_they_arrive(typed: BinaryIO) -> None:
    with Console().listening() as console:
        typed.write("add bröd".encode())
        waiting = asyncio.create_task(console.line())
        await asyncio.sleep(0)
        typed.write(b" and milk\nlists\nqu")
        assert await waiting == "add bröd and milk"
        assert await console.line() == "lists"
        typed.close()
        assert await console.line() == "qu"  # a last line needs no end
        assert await console.line() is None
        assert not console.told_to_end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_wait_for_input_and_leaves_nothing_behind(
    typed: BinaryIO, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    with Console().listening() as console:
        waiting = asyncio.create_task(console.line())
        await asyncio.sleep(0)
        signal.raise_signal(number)
        assert await waiting is None
        assert console.told_to_end
        await console.until_told_to_end()
    assert not typed.closed
    # What the loop leaves is the system's own handling (of SIGINT: Python's).
    assert signal.getsignal(number) in (before, signal.default_int_handler, signal.SIG_DFL)


async def test_a_file_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "commands").write_text("lists\nquit")
    with (tmp_path / "commands").open(encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with Console().listening() as console:
            assert [await console.line() for _ in range(3)] == ["lists", "quit", None]


async def test_without_standard_input_there_are_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with Console().listening() as console:
        assert await console.line() is None
