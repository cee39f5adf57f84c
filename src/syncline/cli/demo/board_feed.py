"""What keeps the board new: everything is read again when a device, Postgres or the web SDK says that something has changed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
import psycopg

from syncline.cli.demo.board import Board
from syncline.cli.demo.devices import Device
from syncline.cli.demo.readings import WATCH_CHANNEL, WATCH_SQL, read_device, read_postgres
from syncline.cli.demo.stack import Stack
from syncline.cli.demo.state import DemoState
from syncline.cli.demo.web_sdk import WebSdkFiles

__all__ = ["running_board"]

THROTTLE_S = 0.03  # seconds between two documents: a burst of changes is one

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running_board(stack: Stack, devices: list[Device], web_sdk: WebSdkFiles) -> AsyncGenerator[Board]:
    """A board that follows `devices` and Postgres for as long as the block runs."""
    board = Board()
    web_sdk.when_changed = board.changed
    running = asyncio.create_task(_feed(board, stack, devices, web_sdk))
    running.add_done_callback(lambda task: _ended(board, task))
    try:
        yield board
    finally:
        running.cancel()
        await asyncio.wait([running])


async def _feed(board: Board, stack: Stack, devices: list[Device], web_sdk: WebSdkFiles) -> None:
    disposals = [device.db.register_listener(lambda _status: board.changed()) for device in devices]
    try:
        async with (
            await psycopg.AsyncConnection.connect(stack.postgres_dsn, autocommit=True) as listening,
            await psycopg.AsyncConnection.connect(stack.postgres_dsn, autocommit=True) as reading,
        ):
            await listening.execute(WATCH_SQL.encode())
            await listening.execute(f"LISTEN {WATCH_CHANNEL}".encode())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_follow(board, listening.notifies()))
                for device in devices:
                    tasks.create_task(_follow(board, device.db.on_change()))
                await _read_on(board, reading, stack, devices, web_sdk)
    finally:
        for dispose in disposals:
            dispose()


async def _follow(board: Board, changes: AsyncIterator[object]) -> None:
    async for _ in changes:
        board.changed()


async def _read_on(
    board: Board,
    connection: psycopg.AsyncConnection[Any],
    stack: Stack,
    devices: list[Device],
    web_sdk: WebSdkFiles,
) -> None:
    board.changed()
    for number in itertools.count(1):
        await board.until_changed()
        shown = [await read_device(device) for device in devices]
        state = DemoState(number, shown, await read_postgres(connection, stack), web_sdk.state)
        board.publish(msgspec.json.encode(state))
        await asyncio.sleep(THROTTLE_S)


def _ended(board: Board, task: asyncio.Task[None]) -> None:
    """A page that stands still would lie: when nothing is read any more, its stream ends, and it says so."""
    board.close()
    if not task.cancelled() and (exc := task.exception()) is not None:
        log.error("The page's state cannot be read any more.", exc_info=exc, extra={"event": "demo.board_failed"})
