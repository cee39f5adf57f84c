"""`syncline start` over WebSockets, with a real source, read by the RSocket client of another project."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from syncline.protocol.rsocket.frames import ErrorCode, Keepalive, Payload, RequestN, Setup, encode_frame
from syncline.protocol.rsocket.limits import RSocketLimits
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.support.rsocket_clients import RawPeer, raw_peer, rsocket_peer
from tests.support.sync_config import LISTS_OF_OWNER

SOURCE_SQL = """
CREATE TABLE lists (id text PRIMARY KEY, name text NOT NULL, owner_id text NOT NULL);
CREATE PUBLICATION powersync FOR ALL TABLES;
INSERT INTO lists SELECT 'many-' || i, 'name ' || i, 'many' FROM generate_series(1, 2300) i;
INSERT INTO lists SELECT 'big-' || i, repeat(md5(i::text), 32), 'big' FROM generate_series(1, 8000) i;
"""
SYNC_CONFIG = LISTS_OF_OWNER


USERS = itertools.count()


@pytest.fixture(scope="module")
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(SOURCE_SQL)
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def service(source: ScratchDatabase, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    """One for all tests that do not end it."""
    with ServiceProcess(tmp_path_factory.mktemp("service"), dsn=source.dsn, sync_config=SYNC_CONFIG) as process:
        yield process


@pytest.fixture
def user(source: ScratchDatabase) -> str:
    """A user of the test's own, with one row."""
    name = f"user-{next(USERS)}"
    insert(source, "first", owner=name)
    return name


def closed_streams(service: ServiceProcess, user: str) -> list[str]:
    """The log's lines about streams of a user that have ended."""
    return [line for line in service.log.splitlines() if "Stream closed" in line and f"user_id={user} " in line]


def insert(source: ScratchDatabase, name: str, *, owner: str) -> None:
    source.execute(f"INSERT INTO lists VALUES (gen_random_uuid()::text, '{name}', '{owner}')")


def names(lines: list[dict[str, Any]]) -> list[str]:
    """The names of the rows that came, in order."""
    entries = [entry for line in lines if "data" in line for entry in line["data"]["data"]]
    return [json.loads(entry["data"])["name"] for entry in entries]


async def lines_over_http(service: ServiceProcess, user: str) -> list[dict[str, Any]]:
    """A first sync by HTTP, up to its complete line."""
    lines: list[dict[str, Any]] = []
    headers = {"authorization": f"Token {token(user)}"}
    async with (
        aiohttp.ClientSession(read_bufsize=1 << 20) as session,
        session.post(f"{service.base_url}/sync/stream", json={"raw_data": True}, headers=headers) as response,
    ):
        async for raw in response.content:
            lines.append(json.loads(raw))
            if "checkpoint_complete" in lines[-1]:
                return lines
    raise AssertionError("the service ended the stream")


def merged(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines with the operations of neighbouring data lines of a bucket put together: where they are cut may differ."""
    out: list[dict[str, Any]] = []
    for line in lines:
        before = out[-1].get("data") if out else None
        if "data" in line and before is not None and before["bucket"] == line["data"]["bucket"]:
            joined = {**line["data"], "after": before["after"], "data": before["data"] + line["data"]["data"]}
            out[-1] = {"data": joined}
        else:
            out.append(line)
    return out


@pytest.mark.requirement(187)
async def test_the_stream_is_that_of_http(service: ServiceProcess, source: ScratchDatabase, user: str) -> None:
    while names(await lines_over_http(service, user)) != ["first"]:
        pass  # no checkpoint comes between what is compared now
    for who in ("many", user):
        over_http = await lines_over_http(service, who)
        async with rsocket_peer(service.base_url, token(who)) as peer:
            reader = peer.request(2**31 - 1)
            await reader.until("checkpoint_complete")
            assert merged(reader.lines) == merged(over_http)
    async with rsocket_peer(service.base_url, token(user)) as peer:
        reader = peer.request(2**31 - 1)
        await reader.until("checkpoint_complete")
        insert(source, "later", owner=user)
        await reader.until("checkpoint_complete", 2)
        assert names(reader.lines) == ["first", "later"]
    opened = [line for line in service.log.splitlines() if "Stream opened" in line and f"user_id={user} " in line][-1]
    assert "transport=websocket" in opened
    assert "user_agent=rsocket-py" in opened


async def test_a_client_that_asks_for_one_line_at_a_time_gets_every_line(service: ServiceProcess) -> None:
    async with rsocket_peer(service.base_url, token("many")) as peer:
        reader = peer.request(1, one_by_one=True)  # which checks at each line that it was asked for
        await reader.until("checkpoint_complete")
    assert merged(reader.lines) == merged(await lines_over_http(service, "many"))


async def write_and_see(peer: RawPeer, source: ScratchDatabase, name: str, user: str) -> None:
    """Write a row, and wait until stream 3 of `peer` has got it."""
    insert(source, name, owner=user)
    await eventually(lambda: name in names(peer.lines(3)), what=name)


@pytest.mark.parametrize("initial_n", [0, 1])
async def test_a_client_that_asks_for_no_more_gets_no_more(
    service: ServiceProcess, source: ScratchDatabase, user: str, initial_n: int
) -> None:
    async with raw_peer(service.base_url) as peer:
        await peer.set_up(token(user))
        await peer.request(1, initial_n)
        await peer.request(3, 2**31 - 1)
        await peer.until(3, "checkpoint_complete")
        end_s = time.monotonic() + (60 if os.environ.get("SYNCLINE_SOAK") else 0)
        rows = 0
        while rows < 10 or time.monotonic() < end_s:
            rows += 1
            await write_and_see(peer, source, f"row {rows}", user)
        assert len(peer.lines(1)) == initial_n
        await peer.send(RequestN(1, 2))
        await eventually(lambda: len(peer.lines(1)) == initial_n + 2)
        await write_and_see(peer, source, "one more", user)
        assert len(peer.lines(1)) == initial_n + 2
        await peer.send(RequestN(1, 2**31 - 1))
        await eventually(lambda: "one more" in names(peer.lines(1)))
        assert names(peer.lines(1)) == ["first", *(f"row {row}" for row in range(1, rows + 1)), "one more"]


async def test_one_of_two_streams_is_cancelled_and_the_other_goes_on(
    service: ServiceProcess, source: ScratchDatabase, user: str
) -> None:
    async with rsocket_peer(service.base_url, token(user)) as peer:
        first, second = peer.request(2**31 - 1), peer.request(2**31 - 1)
        await first.until("checkpoint_complete")
        await second.until("checkpoint_complete")
        first.cancel()
        await eventually(lambda: closed_streams(service, user))
        insert(source, "after the cancel", owner=user)
        await second.until("checkpoint_complete", 2)
        assert first.count("checkpoint_complete") == 1
        assert "close_reason=client closing stream" in closed_streams(service, user)[0]


async def test_a_request_in_many_fragments_is_served(service: ServiceProcess) -> None:
    positions = [{"name": f"bucket {i}", "after": str(i)} for i in range(3000)]
    async with rsocket_peer(service.base_url, token("many"), fragment_bytes=64) as peer:
        reader = peer.request(2**31 - 1, buckets=positions)
        await reader.until("checkpoint_complete")
        assert len(reader.entries()) == 2300


@pytest.mark.requirement(110, 111)
async def test_a_refused_token_ends_the_connection_with_its_code(service: ServiceProcess) -> None:
    for bearer, code in ((token("many", lifetime_s=-100), "PSYNC_S2103"), ("junk", "PSYNC_S2101")):
        async with rsocket_peer(service.base_url, bearer) as peer:
            await eventually(lambda peer=peer: peer.errors)
            assert peer.errors[0].startswith(f"REJECTED_SETUP [{code}]")


@pytest.mark.parametrize("compress", [15, 9, 0])
async def test_messages_are_compressed_where_the_client_can_inflate_them(
    service: ServiceProcess, compress: int
) -> None:
    async with raw_peer(service.base_url, compress=compress) as peer:
        await peer.set_up(token("many"))
        await peer.request(1, 2**31 - 1)
        await peer.until(1, "checkpoint_complete")
        extensions = peer.response_headers.get("sec-websocket-extensions", "")
        assert ("permessage-deflate" in extensions) == bool(compress)
    assert sum(len(line["data"]["data"]) for line in peer.lines(1) if "data" in line) == 2300


async def test_compression_makes_the_transfer_smaller(service: ServiceProcess) -> None:
    sizes: dict[int, int] = {}
    for compress in (15, 0):
        async with raw_peer(service.base_url, compress=compress, reads=False) as peer:
            transport: Any = peer.socket.get_extra_info("transport") or peer.socket._response.connection.transport  # pyright: ignore  # there is no other way to it
            protocol = transport.get_protocol()
            received, forward = 0, protocol.data_received

            def counted(data: bytes, forward: Any = forward) -> None:
                nonlocal received
                received += len(data)
                forward(data)

            protocol.data_received = counted
            peer.read()
            await peer.set_up(token("many"))
            await peer.request(1, 2**31 - 1)
            await peer.until(1, "checkpoint_complete")
            sizes[compress] = received
    assert sizes[15] < sizes[0] / 2


async def test_wrong_frames_cost_their_stream_and_no_other(
    service: ServiceProcess, source: ScratchDatabase, user: str
) -> None:
    limits = RSocketLimits()
    async with raw_peer(service.base_url) as peer, raw_peer(service.base_url) as other:
        for each in (peer, other):
            await each.set_up(token(user))
            await each.request(1, 2**31 - 1)
            await each.until(1, "checkpoint_complete")
        await peer.request(3, 5)
        await peer.until(3, "checkpoint")
        await peer.send(encode_frame(Payload(3, data=b"x" * limits.frame_bytes_max)))
        assert (await peer.until_error(3)).code == ErrorCode.INVALID
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        noise = random.Random(seed)
        for _ in range(50):
            kind = noise.randrange(4, 64)
            await peer.send(
                bytes([0, 0, 0, noise.randrange(5, 256, 2)]) + (kind << 10).to_bytes(2, "big") + noise.randbytes(30)
            )
        insert(source, "in spite of it", owner=user)
        for each in (peer, other):
            await each.until(1, "checkpoint_complete", 2)
        await peer.send(b"x" * 5)
        assert (await peer.until_error(0)).code == ErrorCode.CONNECTION_ERROR
        assert await peer.until_closed() == 1002
        insert(source, "still", owner=user)
        await other.until(1, "checkpoint_complete", 3)


async def test_a_message_above_every_limit_closes_its_connection(service: ServiceProcess, user: str) -> None:
    async with raw_peer(service.base_url) as peer:
        await peer.set_up(token(user))
        await peer.send(bytes(64 * 1024 * 1024))  # which compresses to next to nothing
        assert await peer.until_closed() == 1009
    assert "Traceback" not in service.log


async def test_random_bytes_instead_of_setup_are_refused(service: ServiceProcess) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    noise = random.Random(seed)
    for _ in range(20):
        async with raw_peer(service.base_url) as peer:
            await peer.send(noise.randbytes(noise.randrange(200)))
            assert (await peer.until_error(0)).code < ErrorCode.APPLICATION_ERROR
            await peer.until_closed()
    assert "Traceback" not in service.log


async def test_clients_that_read_nothing_cost_little_memory(service: ServiceProcess) -> None:
    """Each has 9 MB to come; what the service holds for it is two reads of 1,000 rows and a write under way, not the download."""
    clients = 20
    async with raw_peer(service.base_url) as reader:
        await reader.set_up(token("big"))
        await reader.request(1, 2**31 - 1)
        await reader.until(1, "checkpoint_complete")
        before_kb = resident_kb(service.pid)
        stuck: list[RawPeer] = []
        async with aiohttp.ClientSession() as session:
            for _ in range(clients):
                socket = await session.ws_connect(f"{service.base_url}/sync/stream", compress=0, max_msg_size=0)
                peer = RawPeer(socket)
                await peer.set_up(token("big"))
                await peer.request(1, 2**31 - 1)
                stuck.append(peer)
            await eventually(lambda: opened_streams(service, "big") == clients + 1)
            sizes = [resident_kb(service.pid)]
            for _ in range(20):  # as long as it takes the service to answer somebody else
                await reader.send(Keepalive(respond=True, data=b"?"))
                seen = len(reader.frames)
                await eventually(lambda seen=seen: len(reader.frames) > seen)
                sizes.append(resident_kb(service.pid))
            for peer in stuck:
                await peer.socket.close()
    assert (max(sizes) - before_kb) / clients < 4 * 1024, f"{sizes} after {before_kb}"


def opened_streams(service: ServiceProcess, user_id: str) -> int:
    return sum("Stream opened" in line and f"user_id={user_id} " in line for line in service.log.splitlines())


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


async def test_a_client_that_falls_silent_is_given_up(service: ServiceProcess, user: str) -> None:
    async with raw_peer(service.base_url) as peer:
        await peer.set_up(token(user), lifetime_ms=300)
        await peer.request(1, 1)
        error = await peer.until_error(0)
        assert (error.code, error.message[:13]) == (ErrorCode.CONNECTION_ERROR, "[PSYNC_S2001]")
        await peer.until_closed()
    await eventually(lambda: closed_streams(service, user))


async def test_setups_that_are_not_ours_are_told_why(service: ServiceProcess) -> None:
    async with raw_peer(service.base_url) as peer:
        await peer.send(Setup(20_000, 90_000, "application/cbor", "application/cbor", b"x"))
        assert (await peer.until_error(0)).message.startswith("[PSYNC_S2004]")


async def test_a_stopping_service_completes_its_streams(source: ScratchDatabase, user: str, tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG)
    with service:
        await stop_while_streams_are_open(service, user)


async def stop_while_streams_are_open(service: ServiceProcess, user: str) -> None:
    async with raw_peer(service.base_url) as peer:
        await peer.set_up(token(user))
        await peer.request(1, 2**31 - 1)
        await peer.request(3, 0)
        await peer.until(1, "checkpoint_complete")
        os.kill(service.pid, signal.SIGTERM)
        error = await peer.until_error(0)
        assert error.message.startswith("[PSYNC_S2003]")
        assert peer.is_complete(1)
        assert peer.is_complete(3)
        await peer.until_closed()
    assert await asyncio.to_thread(service.wait) == 0
    assert "close_reason=process shutdown" in service.log
