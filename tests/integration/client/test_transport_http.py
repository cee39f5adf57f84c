"""The HTTP transport by itself: what it asks for, how it decodes, and what it makes of answers that are no stream."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import subprocess
import sys
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from backports import zstd

from syncline.client.connector import Credentials
from syncline.client.errors import AuthFailed, ConnectionFailed, ServiceError
from syncline.client.transport.base import Transport, TransportLimits
from syncline.client.transport.choice import make_transport
from syncline.client.transport.http import HttpTransport
from syncline.errors import RemoteProtocolError
from syncline.protocol.requests import StreamRequest
from syncline.testing.waiting import eventually
from tests.support.tls_server import CertificateAuthority

DEADLINE_S = 10.0
REQUEST = StreamRequest(client_id="c-1", raw_data=True)
LINES = [b'{"checkpoint_complete":{"last_op_id":"%d"}}' % n for n in range(5)]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers every path with `answer`, and keeps the requests."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.Request] = []
        self.answer: Answer = self.nothing
        self.go_on = asyncio.Event()

    async def nothing(self, _: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answer(request)

    def streams(self, *parts: bytes, encoding: str = "", content_type: str = "application/x-ndjson") -> None:
        """Answer with these parts; before the last one wait for `go_on` where there are several."""

        async def answer(request: web.Request) -> web.StreamResponse:
            headers = {"content-type": content_type} | ({"content-encoding": encoding} if encoding else {})
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            *first, last = parts
            for part in first:
                await response.write(part)
            if first:
                await self.go_on.wait()
            await response.write(last)
            return response

        self.answer = answer

    def says(self, status: int, body: str = "", **headers: str) -> None:
        """Answer with this."""

        async def answer(_: web.Request) -> web.StreamResponse:
            content_type = headers.pop("content_type", "text/html")
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, text=body, content_type=content_type, headers=named)

        self.answer = answer


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncGenerator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host = "localhost" if tls else "127.0.0.1"
    server.url = f"http{'s' if tls else ''}://{host}:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    async with serving() as running:
        yield running


@contextlib.asynccontextmanager
async def closing(transport: Transport) -> AsyncGenerator[Transport]:
    try:
        yield transport
    finally:
        await transport.close()


async def all_lines(server: Server, **options: Any) -> list[bytes]:
    """Every line of a new stream."""
    async with (
        asyncio.timeout(DEADLINE_S),
        closing(HttpTransport(**options)) as transport,
        transport.stream(REQUEST, Credentials(server.url, "jwt")) as arriving,
    ):
        return [line async for lines in arriving for line in lines]


@pytest.mark.requirement(9, 19)
async def test_a_stream_is_asked_for_as_the_protocol_has_it(server: Server) -> None:
    server.streams(b"\n".join(LINES) + b"\n")
    assert await all_lines(server, headers={"x-gateway": "key"}) == LINES
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/sync/stream")
    assert request.headers["authorization"] == "Token jwt"
    assert request.headers["accept"] == "application/x-ndjson"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-user-agent"].startswith("syncline-python/")
    assert request.headers["x-gateway"] == "key"
    assert request.headers["accept-encoding"] == "identity"  # this machine: it would cost more than it saves


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_compressed_stream_is_read_as_it_arrives(server: Server, encoding: str) -> None:
    texts = [line + b"\n" for line in LINES]
    if encoding == "gzip":
        compressor = zlib.compressobj(wbits=31)
        parts = [compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH) for text in texts]
    else:
        encoder: Any = zstd.ZstdCompressor()
        parts = [encoder.compress(text, mode=zstd.ZstdCompressor.FLUSH_BLOCK) for text in texts]
    server.streams(*parts, encoding=encoding)
    found: list[bytes] = []
    async with (
        asyncio.timeout(DEADLINE_S),
        closing(HttpTransport(compression=True)) as transport,
        transport.stream(REQUEST, Credentials(server.url, "jwt")) as arriving,
    ):
        async for lines in arriving:
            found += lines
            if len(found) == len(LINES) - 1:  # all that was sent can be read, although the body goes on
                server.go_on.set()
    assert found == LINES
    assert server.requests[0].headers["accept-encoding"] == "zstd, gzip"


async def test_a_line_that_ends_with_the_body_counts(server: Server) -> None:
    server.streams(LINES[0] + b"\n" + LINES[1])
    assert await all_lines(server) == LINES[:2]


@pytest.mark.parametrize("compress", [None, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
async def test_a_line_too_long_ends_the_stream(server: Server, compress: Any) -> None:
    body = b"x" * (8 << 20)
    encoding = "" if compress is None else compress.__module__.rpartition(".")[2]
    server.streams(compress(body) if compress else body, encoding=encoding)
    with pytest.raises(RemoteProtocolError, match="longer than 1048576"):
        await all_lines(server, limits=TransportLimits(line_bytes_max=1 << 20), compression=True)


async def test_an_encoding_that_was_not_asked_for_is_refused(server: Server) -> None:
    server.streams(b"?", encoding="compress")
    with pytest.raises(RemoteProtocolError, match="'compress'"):
        await all_lines(server)


async def test_the_code_of_a_compressed_error_is_read(server: Server) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        body = gzip.compress(b'{"error":{"code":"PSYNC_S2302","description":"Not ready"}}')
        return web.Response(status=500, body=body, headers={"content-encoding": "gzip"})

    server.answer = answer
    with pytest.raises(ServiceError, match="Not ready") as caught:
        await all_lines(server, compression=True)
    assert caught.value.error_code == "PSYNC_S2302"


@pytest.mark.requirement(8)
async def test_the_address_of_the_backend_is_named_as_the_mistake(server: Server) -> None:
    server.says(404, '{"detail": "Not Found"}', content_type="application/json")
    with pytest.raises(ServiceError, match="HTTP 404") as caught:
        await all_lines(server)
    assert "the address of the sync service, not of your backend" in caught.value.hint


@pytest.mark.requirement(47)
async def test_the_page_of_a_gateway_is_an_error_to_try_again(server: Server) -> None:
    server.says(502, "<html>Bad Gateway " + "x" * 1_000_000, retry_after="7")
    with pytest.raises(ServiceError, match=r"HTTP 502\.") as caught:
        await all_lines(server)
    assert caught.value.retry_after_s == 7
    assert "proxy or gateway" in caught.value.hint


async def test_a_login_page_is_no_stream(server: Server) -> None:
    server.says(200, "<html>Welcome to our hotel")
    with pytest.raises(ServiceError, match="text/html") as caught:
        await all_lines(server)
    assert "login page" in caught.value.hint


async def test_redirects_are_told_and_not_followed(server: Server) -> None:
    server.says(308, location="/elsewhere")
    with pytest.raises(ServiceError, match="308") as caught:
        await all_lines(server)
    assert "redirects" in caught.value.hint
    assert len(server.requests) == 1  # a token goes nowhere that the app has not named


async def test_a_refused_token_is_an_error_of_its_own(server: Server) -> None:
    server.says(
        401, '{"error":{"code":"PSYNC_S2103","description":"JWT has expired"}}', content_type="application/json"
    )
    with pytest.raises(AuthFailed, match="JWT has expired") as caught:
        await all_lines(server)
    assert caught.value.error_code == "PSYNC_S2103"


async def test_a_stream_that_is_never_answered_is_given_up(server: Server) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = answer
    with pytest.raises(ConnectionFailed, match="in time"):
        await all_lines(server, limits=TransportLimits(response_timeout_s=0.1))


async def test_a_silent_stream_is_given_up(server: Server) -> None:
    server.streams(LINES[0] + b"\n", b"")
    with pytest.raises(ConnectionFailed, match="in time"):
        await all_lines(server, limits=TransportLimits(read_idle_timeout_s=0.1))


async def test_nobody_at_the_endpoint_is_a_failed_connection() -> None:
    server = Server()
    server.url = "http://127.0.0.1:9"
    with pytest.raises(ConnectionFailed, match="9 failed"):
        await all_lines(server)


async def test_a_name_that_nobody_has_is_told() -> None:
    server = Server()
    server.url = "http://no-such-host.invalid"
    with pytest.raises(ConnectionFailed):
        await all_lines(server)


async def test_certificates_are_checked_and_an_authority_can_be_given(tmp_path: Path) -> None:
    authority = CertificateAuthority.new()
    certificate, key = authority.issue("localhost")
    (tmp_path / "chain.pem").write_bytes(certificate + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "chain.pem")
    async with serving(tls) as server:
        server.streams(LINES[0] + b"\n")
        with pytest.raises(ConnectionFailed, match="not trusted") as caught:
            await all_lines(server)
        assert "ssl_context" in caught.value.hint
        assert await all_lines(server, ssl_context=ssl.create_default_context(cadata=authority.pem)) == LINES[:1]


@pytest.mark.parametrize("name", ["http", "websocket"])
async def test_checkpoints_are_asked_for_over_plain_http(server: Server, name: Any) -> None:
    async with closing(make_transport(name)) as transport:
        server.says(200, '{"data":{"write_checkpoint":"12"}}', content_type="application/json")
        assert await transport.write_checkpoint("c 1", Credentials(server.url, "jwt")) == 12
        server.says(200, '{"data":{"checkpoint_request_id":"34"}}', content_type="application/json")
        assert await transport.request_checkpoint("c 1", 33, Credentials(server.url, "jwt")) == 34
    first, second = server.requests
    assert (first.method, first.path_qs) == ("GET", "/write-checkpoint2.json?client_id=c+1")
    assert first.headers["authorization"] == "Token jwt"
    assert (second.method, second.path) == ("POST", "/sync/checkpoint-request")
    assert second.headers["content-type"] == "application/json"


async def test_answers_to_requests_have_limits(server: Server) -> None:
    credentials = Credentials(server.url, "jwt")
    async with closing(HttpTransport(TransportLimits(request_timeout_s=0.2))) as transport:
        server.says(200, "x" * 1_000_000)
        with pytest.raises(ConnectionFailed, match="longer than"):
            await transport.write_checkpoint("c", credentials)

        async def never(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        server.answer = never
        with pytest.raises(ConnectionFailed, match="in time"):
            await transport.write_checkpoint("c", credentials)


async def test_a_silent_service_ends_streams_and_requests_and_is_waited_for(server: Server) -> None:
    limits = TransportLimits(overdue_s=0.05, request_overdue_s=0.05, probe_timeout_s=0.1, probe_pause_s=0.02)
    recovered: list[bool] = []
    server.streams(LINES[0] + b"\n", b"")
    stream_answer = server.answer
    silent = False

    async def answer(request: web.Request) -> web.StreamResponse:
        if silent:
            await asyncio.Event().wait()
        if request.path == "/sync/stream":
            return await stream_answer(request)
        return web.json_response({"data": {"write_checkpoint": "5"}})

    server.answer = answer
    credentials = Credentials(server.url, "jwt")
    async with asyncio.timeout(DEADLINE_S), closing(HttpTransport(limits)) as transport:
        transport.on_recovered(lambda: recovered.append(True))

        async def read_until_silent() -> None:
            nonlocal silent
            async with transport.stream(REQUEST, credentials) as arriving:
                async for _ in arriving:
                    silent = True

        with pytest.raises(ConnectionFailed, match="nothing comes through") as caught:
            await read_until_silent()
        assert caught.value.retry_after_s == 0.02
        waiting = asyncio.create_task(transport.write_checkpoint("c", credentials))
        asked = len(server.requests)
        await eventually(lambda: len(server.requests) > asked + 2)
        assert not waiting.done()
        assert not recovered
        silent = False
        assert await waiting == 5
        assert recovered == [True]


@pytest.mark.requirement(68)
def test_libraries_for_http_are_loaded_by_connect_alone_and_beside_the_event_loop(tmp_path: Path) -> None:
    program = """
import asyncio, sys, threading
import syncline.client
from syncline.client.transport import choice

assert not {"aiohttp", "typer", "rich", "starlette", "psycopg"} & set(sys.modules)
importing = []
real = choice.importlib.import_module
choice.importlib.import_module = lambda name: (importing.append(threading.current_thread()), real(name))[1]
asyncio.run(choice.load_transport("http"))
assert "aiohttp" in sys.modules
assert importing[0] is not threading.main_thread()
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
