"""The newest document for every page: nobody is given an old one, and there is a limit to pages."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from syncline.cli.demo.board import PAGES_MAX, Board, TooManyPages

IDLE_S = 10.0


async def test_a_slow_page_is_given_the_newest_document_only() -> None:
    board = Board()
    board.publish(b"1")
    async with contextlib.aclosing(board.follow(idle_s=IDLE_S)) as page:
        assert await anext(page) == b"1"
        for document in (b"2", b"3", b"4"):
            board.publish(document)
        assert await anext(page) == b"4"


async def test_a_silent_stream_says_that_it_is_alive() -> None:
    board = Board()
    async with contextlib.aclosing(board.follow(idle_s=0.001)) as page:
        assert await anext(page) == b""
        board.publish(b"1")
        assert await anext(page) == b"1"


async def test_changes_before_a_look_are_one() -> None:
    board = Board()
    board.changed()
    board.changed()
    await board.until_changed()
    waiting = asyncio.create_task(board.until_changed())
    await asyncio.sleep(0)
    assert not waiting.done()
    board.changed()
    await waiting


async def test_streams_end_with_the_board() -> None:
    board = Board()
    board.publish(b"1")
    pages = [board.follow(idle_s=IDLE_S) for _ in range(2)]
    for page in pages:
        await anext(page)
    waiting = asyncio.create_task(anext(pages[0], b"ended"))
    await asyncio.sleep(0)
    board.close()
    assert await waiting == b"ended"
    assert await anext(pages[1], b"ended") == b"ended"


async def test_there_is_a_limit_to_pages_and_a_closed_one_makes_room() -> None:
    board = Board()
    board.publish(b"1")
    pages = [board.follow(idle_s=IDLE_S) for _ in range(PAGES_MAX)]
    for page in pages:
        await anext(page)
    with pytest.raises(TooManyPages, match=str(PAGES_MAX)):
        await anext(board.follow(idle_s=IDLE_S))
    await pages.pop().aclose()
    async with contextlib.aclosing(board.follow(idle_s=IDLE_S)) as page:
        assert await anext(page) == b"1"
    for page in pages:
        await page.aclose()
