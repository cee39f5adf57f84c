"""The server's HTTP protocol in memory: how long a request may arrive, and how large it may be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from syncline.service import http_protocol as module
from syncline.service.http_protocol import HEAD_BYTES_MAX, REQUEST_BYTES_MAX, StreamHttpProtocol
from syncline.testing.waiting import eventually
from tests.unit.service.test_websocket_protocol import MemoryTransport

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
SOON_S = 0.05


class Client:
    """A connection to an app that reads the whole body, answers 200, and keeps a stream open where the path is /stream."""

    def __init__(self) -> None:
        self.line_wanted = asyncio.Event()  # for an app whose path is /lines
        self.lines_sent = 0
        self.transport = MemoryTransport()
        self.state = ServerState()
        config = Config(self._app, interface="asgi3", proxy_headers=False, log_config=None, lifespan="off")
        config.load()
        self.protocol = StreamHttpProtocol(config, self.state, {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.transport)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/early":
            await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": b"line\n", "more_body": True})
            if (await receive())["type"] == "http.disconnect":
                return
        while scope["path"] == "/lines":
            await self.line_wanted.wait()
            self.line_wanted.clear()
            await send({"type": "http.response.body", "body": b"line\n", "more_body": True})
            self.lines_sent += 1
        await send({"type": "http.response.body", "body": b"done"})

    def says(self, data: bytes) -> None:
        self.protocol.data_received(data)

    @property
    def answers(self) -> list[bytes]:
        """The status lines that came."""
        return [line for line in bytes(self.transport.written).split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]

    async def until_closed(self) -> None:
        await eventually(lambda: self.transport.closing)
        self.protocol.connection_lost(None)
        await eventually(lambda: not self.state.tasks)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_TIMEOUT_S", SOON_S)
    monkeypatch.setattr(module, "BODY_TIMEOUT_S", SOON_S)
    monkeypatch.setattr(module, "LINGER_S", SOON_S)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("said", "answers"),
    [
        (b"", []),
        (b"POST / HT", [b"HTTP/1.1 408 Request Timeout"]),
        (HEAD, [b"HTTP/1.1 408 Request Timeout"]),
        (HEAD + b"content-length: 9\r\n\r\n12345678", [b"HTTP/1.1 408 Request Timeout"]),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n", [b"HTTP/1.1 408 Request Timeout"]),
    ],
)
async def test_a_request_that_does_not_come_to_its_end_is_closed(said: bytes, answers: list[bytes]) -> None:
    client = Client()
    if said:
        client.says(said)
    await client.until_closed()
    assert client.answers == answers


@pytest.mark.usefixtures("soon")
async def test_a_stream_is_not_closed_for_its_length() -> None:
    client = Client()
    client.says(b"POST /stream HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
    await eventually(lambda: client.answers == [b"HTTP/1.1 200 OK"])
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(4 * SOON_S, over.set)
    await over.wait()
    assert not client.transport.closing
    client.says(b"GET / HTTP/1.1\r\nx-late")  # the next request, which nobody sends to its end
    await client.until_closed()
    assert client.answers == [b"HTTP/1.1 200 OK"], "nothing is written into the stream"


@pytest.mark.usefixtures("soon")
async def test_a_head_above_the_limit_is_refused() -> None:
    client = Client()
    client.says(HEAD + b"x-long: " + b"x" * (HEAD_BYTES_MAX - len(HEAD) - len(b"x-long: ")))
    assert client.answers == []
    client.says(b"x")
    assert client.answers == [b"HTTP/1.1 431 Request Header Fields Too Large"]
    await client.until_closed()


@pytest.mark.usefixtures("soon")
async def test_a_request_above_the_limit_is_refused_whatever_it_is_made_of() -> None:
    client = Client()
    client.says(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n")
    trailer = b"x-more: " + b"x" * 8184 + b"\r\n"
    for _ in range(REQUEST_BYTES_MAX // len(trailer)):
        client.says(trailer)
    client.says(trailer)
    assert client.answers == [b"HTTP/1.1 413 Content Too Large"]
    client.says(trailer)
    assert client.transport.ended, "the client can see that there is no more"
    assert not client.transport.closing, "to close while it sends would take the answer from it"
    await client.until_closed()


@pytest.mark.usefixtures("soon")
async def test_a_body_that_was_refused_already_is_read_up_to_the_limit_only() -> None:
    client = Client()
    client.says(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n")
    await eventually(lambda: client.answers)
    part = bytes(1024 * 1024)
    for _ in range(REQUEST_BYTES_MAX // len(part)):
        client.says(part)
    assert client.transport.ended
    assert client.answers == [b"HTTP/1.1 413 Request Entity Too Large"], "one answer to one request"
    await client.until_closed()


async def test_each_request_of_a_connection_has_its_own_bounds() -> None:
    client = Client()
    for number in range(1, 5):
        client.says(HEAD + b"x-long: " + b"x" * (HEAD_BYTES_MAX // 2) + b"\r\ncontent-length: 2\r\n\r\n{}")
        await eventually(lambda number=number: client.answers == [b"HTTP/1.1 200 OK"] * number)
    assert not client.transport.closing
    client.transport.close()
    await client.until_closed()


async def test_requests_that_come_before_an_answer_are_answered_in_their_order() -> None:
    client = Client()
    paths = (b"/", b"/early", b"/", b"/early")
    for path in paths:
        client.says(b"POST " + path + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
    await eventually(lambda: len(client.answers) == len(paths))
    assert client.answers == [b"HTTP/1.1 200 OK", b"HTTP/1.1 413 Request Entity Too Large"] * 2
    client.transport.close()
    await client.until_closed()


async def test_an_app_waits_each_time_its_client_is_behind() -> None:
    client = Client()
    client.says(b"POST /lines HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
    await eventually(lambda: client.answers)
    for sent in range(2):
        client.protocol.pause_writing()
        client.protocol.pause_writing()
        client.line_wanted.set()
        for _ in range(10):  # turns of the event loop, in which it could send
            await asyncio.sleep(0)
        assert not client.line_wanted.is_set()
        assert client.lines_sent == sent
        client.protocol.resume_writing()
        await eventually(lambda sent=sent: client.lines_sent == sent + 1)
    client.transport.close()
    for task in client.state.tasks:
        task.cancel()
    await client.until_closed()
