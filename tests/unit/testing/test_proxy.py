from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator

import pytest

from syncline.testing.proxy import RECORDED_BYTES_MAX, Direction, FaultyProxy
from syncline.testing.waiting import eventually


class EchoServer:
    """Answers with what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.heard += data
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def echo() -> AsyncGenerator[EchoServer]:
    server = EchoServer()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


@pytest.fixture
async def proxy(echo: EchoServer) -> AsyncGenerator[FaultyProxy]:
    async with FaultyProxy("127.0.0.1", echo.port) as proxy:
        yield proxy


async def connect(proxy: FaultyProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """What arrives until the connection ends, in whichever way."""
    heard = bytearray()
    with contextlib.suppress(OSError):
        while data := await asyncio.wait_for(reader.read(65536), 5):
            heard += data
    return bytes(heard)


async def test_bytes_pass_both_ways_and_are_recorded(proxy: FaultyProxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.write_eof()
    assert await reader.read() == b""
    connection = proxy.connections[0]
    await asyncio.wait_for(connection.closed.wait(), 5)
    assert (bytes(connection.sent), bytes(connection.received)) == (b"hello", b"hello")
    assert proxy.open_connections == 0
    writer.close()


async def test_cutting_ends_open_connections_and_welcomes_new_ones(proxy: FaultyProxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"a")
    await reader.readexactly(1)
    assert proxy.cut() == 1
    assert await read_all(reader) == b""
    writer.close()
    reader, writer = await connect(proxy)
    writer.write(b"b")
    assert await reader.readexactly(1) == b"b"
    writer.close()


async def test_a_server_s_reset_reaches_the_client() -> None:
    """As it happens when a process is killed with bytes that it has not read."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with (
        await asyncio.start_server(reset, "127.0.0.1", 0) as server,
        FaultyProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy,
    ):
        reader, writer = await connect(proxy)
        writer.write(b"x")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        await eventually(lambda: proxy.open_connections == 0)
        writer.close()


async def test_a_marker_cuts_the_connection_after_it_has_passed(proxy: FaultyProxy, echo: EchoServer) -> None:
    cut = proxy.cut_after(Direction.TO_SERVER, marker=b"END")
    reader, writer = await connect(proxy)
    writer.write(b"begin E")
    await reader.readexactly(7)
    writer.write(b"ND never")
    await asyncio.wait_for(cut.wait(), 5)
    await read_all(reader)
    await eventually(lambda: bytes(echo.heard) == b"begin END")
    writer.close()


async def test_a_marker_cuts_the_connection_before_it_passes(proxy: FaultyProxy, echo: EchoServer) -> None:
    cut = proxy.cut_after(Direction.TO_CLIENT, marker=b"secret", forward=False)
    reader, writer = await connect(proxy)
    writer.write(b"the secret is out")
    assert await read_all(reader) == b"the "
    assert cut.is_set()
    assert bytes(echo.heard) == b"the secret is out"
    writer.close()


async def test_a_count_of_bytes_cuts_the_connection_once(proxy: FaultyProxy) -> None:
    proxy.cut_after(Direction.TO_CLIENT, bytes_count=3)
    reader, writer = await connect(proxy)
    writer.write(b"12345")
    assert await read_all(reader) == b"123"
    writer.close()
    reader, writer = await connect(proxy)
    writer.write(b"12345")
    assert await reader.readexactly(5) == b"12345"
    writer.close()


async def test_a_refusing_proxy_resets_new_connections(proxy: FaultyProxy, echo: EchoServer) -> None:
    proxy.refuse = True
    with contextlib.suppress(OSError):
        reader, writer = await connect(proxy)
        assert await read_all(reader) == b""
        writer.close()
    assert proxy.connections == []
    proxy.refuse = False
    reader, writer = await connect(proxy)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    writer.close()


async def test_a_stalled_direction_holds_bytes_back_until_resumed(proxy: FaultyProxy, echo: EchoServer) -> None:
    reader, writer = await connect(proxy)
    proxy.stall(Direction.TO_CLIENT)
    writer.write(b"late")
    await eventually(lambda: bytes(echo.heard) == b"late")
    assert proxy.connections[0].received == b""
    proxy.resume(Direction.TO_CLIENT)
    assert await reader.readexactly(4) == b"late"
    writer.close()


async def test_only_the_first_bytes_are_recorded_but_all_are_counted(proxy: FaultyProxy) -> None:
    reader, writer = await connect(proxy)
    size = RECORDED_BYTES_MAX + 10_000
    writer.write(b"x" * size)
    assert len(await reader.readexactly(size)) == size
    connection = proxy.connections[0]
    assert len(connection.received) == RECORDED_BYTES_MAX
    assert connection.bytes_received == size
    writer.close()


async def test_a_target_that_is_gone_looks_like_a_reset() -> None:
    async with FaultyProxy("127.0.0.1", 1) as proxy:
        reader, writer = await connect(proxy)
        assert await read_all(reader) == b""
        writer.close()


async def test_a_cut_needs_exactly_one_condition(proxy: FaultyProxy) -> None:
    with pytest.raises(ValueError, match="either"):
        proxy.cut_after(Direction.TO_CLIENT)
    with pytest.raises(ValueError, match="empty"):
        proxy.cut_after(Direction.TO_CLIENT, marker=b"")


async def test_dropped_bytes_are_lost_and_nobody_is_told(proxy: FaultyProxy, echo: EchoServer) -> None:
    reader, writer = await connect(proxy)
    await eventually(lambda: proxy.connections)
    proxy.drop(Direction.TO_SERVER)
    writer.write(b"lost")
    await eventually(lambda: proxy.connections[0].bytes_lost == 4)
    proxy.heal()
    writer.write(b"behind the gap")
    await eventually(lambda: proxy.connections[0].bytes_lost == 18)
    assert not echo.heard
    assert not reader.at_eof()
    fresh_reader, fresh_writer = await connect(proxy)
    fresh_writer.write(b"new")
    assert await fresh_reader.readexactly(3) == b"new"
    for one in (writer, fresh_writer):
        one.close()


async def test_an_end_is_dropped_too(proxy: FaultyProxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"a")
    await reader.readexactly(1)
    proxy.drop()
    writer.write_eof()
    with pytest.raises(TimeoutError):  # the server would end its side, if it knew
        await asyncio.wait_for(reader.read(), 0.1)
    writer.close()


async def test_a_bridged_gap_is_not_noticed_by_the_connection(proxy: FaultyProxy, echo: EchoServer) -> None:
    reader, writer = await connect(proxy)
    await eventually(lambda: proxy.connections)
    proxy.drop(Direction.TO_CLIENT, gaps_are_bridged=True)
    writer.write(b"lost")
    await eventually(lambda: proxy.connections[0].bytes_lost == 4)
    proxy.heal()
    writer.write(b"kept")
    assert await reader.readexactly(4) == b"kept"
    assert bytes(echo.heard) == b"lostkept"
    writer.close()
