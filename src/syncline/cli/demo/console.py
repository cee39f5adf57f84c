"""The terminal of the demo: lines that somebody types, and Ctrl-C, without a thread that waits for either."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Generator

__all__ = ["Console"]

READ_BYTES_MAX = 4096  # of one look at the input; a terminal gives a line at a time


class Console:
    """Use `listening()` around `line()`. After it, nothing of the program waits for input any more, so it can end at once."""

    def __init__(self) -> None:
        self._ending = asyncio.Event()
        self._arrived = asyncio.Event()
        self._buffer = bytearray()
        self._ended = False
        self._followed = False

    @contextlib.contextmanager
    def listening(self) -> Generator[Console]:
        """Take input, and let Ctrl-C and SIGTERM end the demo in good order."""
        loop = asyncio.get_running_loop()
        signals = [number for number in (signal.SIGINT, signal.SIGTERM) if self._handle(loop, number)]
        descriptor = self._descriptor()
        if descriptor is not None:
            # Where the system cannot follow it (a file, Windows), `line` reads it directly.
            with contextlib.suppress(OSError, NotImplementedError):
                loop.add_reader(descriptor, self._read, descriptor)
                self._followed = True
        try:
            yield self
        finally:
            if self._followed and descriptor is not None:
                loop.remove_reader(descriptor)
            for number in signals:
                loop.remove_signal_handler(number)

    async def line(self) -> str | None:
        """The next line, without its end; None when the input has ended, or somebody wants the demo to."""
        while b"\n" not in self._buffer and not self._ended and not self._ending.is_set():
            if not self._followed:
                await self._read_directly()
                continue
            self._arrived.clear()
            await self._arrived.wait()
        if self._ending.is_set() or not self._buffer:
            return None
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line.decode(errors="replace")

    async def until_told_to_end(self) -> None:
        """Wait for Ctrl-C or SIGTERM."""
        await self._ending.wait()

    @property
    def told_to_end(self) -> bool:
        """Whether Ctrl-C or SIGTERM has come."""
        return self._ending.is_set()

    def _handle(self, loop: asyncio.AbstractEventLoop, number: int) -> bool:
        try:
            loop.add_signal_handler(number, self._end)
        except NotImplementedError:  # Windows: Ctrl-C raises there instead
            return False
        return True

    def _end(self) -> None:
        self._ending.set()
        self._arrived.set()

    def _descriptor(self) -> int | None:
        try:
            return sys.stdin.fileno()
        except (AttributeError, OSError, ValueError):  # there is no standard input
            self._ended = True
            return None

    def _read(self, descriptor: int) -> None:
        """Called when there is something to read, so that it never waits."""
        self._take(os.read(descriptor, READ_BYTES_MAX))
        if self._ended:
            asyncio.get_running_loop().remove_reader(descriptor)

    async def _read_directly(self) -> None:
        self._take(await asyncio.to_thread(sys.stdin.buffer.readline))

    def _take(self, data: bytes) -> None:
        self._buffer += data
        self._ended = self._ended or not data
        self._arrived.set()
