"""The newest state of the demo, for every open page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

__all__ = ["PAGES_MAX", "Board", "TooManyPages"]

PAGES_MAX = 16  # open pages at a time; each costs one connection


class TooManyPages(Exception):
    """PAGES_MAX pages follow the demo already."""

    def __init__(self) -> None:
        super().__init__(f"{PAGES_MAX} pages are open already: close one.")


class Board:
    """One document for all pages. A page that reads slowly is given the newest, never a queue of old ones."""

    def __init__(self) -> None:
        self._document = b""
        self._dirty = asyncio.Event()
        self._pages: set[asyncio.Event] = set()
        self._closed = False

    def changed(self) -> None:
        """Something may have changed: read all of it again, soon."""
        self._dirty.set()

    async def until_changed(self) -> None:
        """Wait for the next `changed`, or take note of one that was not waited for."""
        await self._dirty.wait()
        self._dirty.clear()

    def publish(self, document: bytes) -> None:
        """Show a new document."""
        self._document = document
        self._wake()

    def close(self) -> None:
        """End the streams of all pages."""
        self._closed = True
        self._wake()

    async def follow(self, *, idle_s: float) -> AsyncGenerator[bytes]:
        """The document now and whenever it changes; an empty one after each `idle_s` seconds without a change. Raises TooManyPages."""
        if len(self._pages) >= PAGES_MAX:
            raise TooManyPages
        wake = asyncio.Event()
        self._pages.add(wake)
        shown = b""
        try:
            while not self._closed:
                wake.clear()
                if self._document != shown:
                    shown = self._document
                    yield shown
                    continue
                try:
                    async with asyncio.timeout(idle_s):
                        await wake.wait()
                except TimeoutError:
                    yield b""
        finally:
            self._pages.discard(wake)

    def _wake(self) -> None:
        for wake in self._pages:
            wake.set()
