"""Reading COPY … TO STDOUT through libpq: all lines that are at hand at once, instead of one turn of the event loop for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import psycopg
from psycopg import pq

from syncline.errors import SourceNotReady, SourceUnavailable
from syncline.replication.postgres.connection import Row, server_error

__all__ = ["copy_out"]


async def copy_out(
    connection: psycopg.AsyncConnection[Row], query: bytes, *, lines_max: int, bytes_max: int
) -> AsyncGenerator[list[bytes]]:
    """The lines of a COPY, in lists of up to `lines_max` lines or about `bytes_max` bytes. Nobody else uses the connection meanwhile.

    Raises SourceUnavailable or SourceNotReady. A reader that stops early leaves a connection that can only be closed.
    """
    pgconn = connection.pgconn
    pgconn.send_query(query)
    while pgconn.flush():
        await _ready(pgconn, write=True)
    await _wait_result(pgconn)
    result = pgconn.get_result()
    if result is None or result.status != pq.ExecStatus.COPY_OUT:
        raise _error(pgconn, result)
    lines: list[bytes] = []
    size = 0
    get = pgconn.get_copy_data
    while True:
        count, line = get(1)
        if count > 0:
            lines.append(bytes(line))
            size += count
            if len(lines) >= lines_max or size >= bytes_max:
                yield lines
                lines, size = [], 0
        elif count == 0:
            await _ready(pgconn)
            pgconn.consume_input()
        else:
            break
    await _wait_result(pgconn)
    result = pgconn.get_result()
    if result is None or result.status != pq.ExecStatus.COMMAND_OK:
        raise _error(pgconn, result)
    while pgconn.get_result() is not None:
        pass
    if lines:
        yield lines


async def _wait_result(pgconn: pq.abc.PGconn) -> None:
    while pgconn.is_busy():
        await _ready(pgconn)
        pgconn.consume_input()


async def _ready(pgconn: pq.abc.PGconn, *, write: bool = False) -> None:
    """Wait until the socket can be read (or written)."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    descriptor = pgconn.socket
    loop.add_reader(descriptor, lambda: ready.done() or ready.set_result(None))
    if write:
        loop.add_writer(descriptor, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
        if write:
            loop.remove_writer(descriptor)


def _error(pgconn: pq.abc.PGconn, result: pq.abc.PGresult | None) -> SourceUnavailable | SourceNotReady:
    """The source's refusal; reads what is left, so that the connection can be used to roll back."""
    while result is not None and pgconn.get_result() is not None:
        pass
    if result is None:
        return SourceUnavailable("The source closed the connection during a copy.")
    text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"no answer").decode(errors="replace")
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    return server_error(text, state)
