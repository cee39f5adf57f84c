"""What the recorded streams say of formats, encodings, limits, keepalives and a changed sync config, played against ours."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from backports import zstd

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.conformance.golden import (
    Segment,
    bson_as_lines,
    check_conversation,
    recorded_head,
    recorded_lines,
    segments,
)
from tests.conformance.test_golden_wire import GOLDEN, request, source, steps_of_07, subscriptions
from tests.unit.api.world import running_world
from tests.unit.api.world import token as world_token

__all__ = ["source"]  # a fixture

OFFICIAL_ACCEPT = "application/vnd.powersync.bson-stream;q=0.9,application/x-ndjson;q=0.8"
TIMEOUT_S = 20.0
TODO = "22222222-0000-4000-8000-00000000000"
COMPLETE = b"checkpoint_complete"
Decode = Callable[[bytes], bytes]
DECODERS: dict[str | None, Callable[[], Decode]] = {
    None: lambda: bytes,
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16).decompress,
    "zstd": lambda: zstd.ZstdDecompressor().decompress,
}


class Answer:
    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        standing = {"date", "server", "connection", "transfer-encoding"}
        self.headers = {name.lower(): value for name, value in response.headers.items() if name.lower() not in standing}
        self.body = body


async def stream(service: ServiceProcess, body: dict[str, Any], **headers: str) -> Answer:
    """The first checkpoint of a stream as it was sent, nothing decompressed; or the whole answer where it is none."""
    sent = {"authorization": f"Token {token('user1')}", "content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        asyncio.timeout(TIMEOUT_S),
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["accept-encoding", "accept"]) as session,
        session.post(f"{service.base_url}/sync/stream", json=body, headers=sent) as response,
    ):
        decode = DECODERS[response.headers.get("content-encoding")]()
        received, text = b"", b""
        async for part in response.content.iter_any():
            received += part
            text += decode(part)
            if COMPLETE in text[text.rfind(b"partial_checkpoint_complete") + 30 :]:
                break
        return Answer(response, received)


def same(ours: list[str], theirs: list[str]) -> None:
    """Compare two conversations. Rows that one transaction removed come in an order of the service's own."""
    check_conversation(ours)
    _, dirty_theirs = segments(theirs)
    our_segments, dirty_ours = segments(ours, dirty_too=dirty_theirs)
    their_segments, _ = segments(theirs, dirty_too=dirty_ours)
    assert [_ordered(segment) for segment in our_segments] == [_ordered(segment) for segment in their_segments]


def _ordered(segment: Segment) -> Segment:
    if segment[0] != "ops":
        return segment
    return ("ops", {bucket: sorted(map(repr, ops)) for bucket, ops in segment[1].items()})


def bring_to_the_state_of_12(source: ScratchDatabase, service: ServiceProcess) -> None:
    """What was done to the source before 12 and 13 were recorded."""
    for _, step in steps_of_07(source, service):
        step()
    source.execute("TRUNCATE categories")
    source.execute("INSERT INTO categories (id, name) VALUES (4, 'again')")


async def wait_for_the_state_of_12(service: ServiceProcess) -> None:
    async def is_there() -> bool:
        [opening, *_] = (await stream(service, request())).body.splitlines()
        checkpoint = json.loads(opening)["checkpoint"]
        counts = {bucket["bucket"].partition("#")[2]: bucket["count"] for bucket in checkpoint["buckets"]}
        return counts["global_cat|0[]"] == 7 and "write_checkpoint" in checkpoint

    await eventually(is_there, timeout_s=TIMEOUT_S)


@pytest.fixture
def service(source: ScratchDatabase, tmp_path: Path) -> ServiceProcess:
    config = (GOLDEN / "golden-streams.yaml").read_text()
    return ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=config)


@pytest.mark.requirement(187)
async def test_bson_and_compression_are_those_of_the_reference(
    service: ServiceProcess, source: ScratchDatabase
) -> None:
    with service:
        await asyncio.to_thread(bring_to_the_state_of_12, source, service)
        await wait_for_the_state_of_12(service)

        all_types = subscriptions(("all_types", None, None), defaults=True)
        document_stream = await stream(service, request(streams=all_types), accept=OFFICIAL_ACCEPT)
        expected_head = recorded_head((GOLDEN / "12-initial-sync.bson.bin.head.txt").read_text())
        assert (document_stream.status, document_stream.headers) == expected_head
        theirs = bson_as_lines((GOLDEN / "12-initial-sync.bson.bin").read_bytes())
        same(bson_as_lines(document_stream.body), theirs)

        for name in ("gzip", "zstd", "br", "gzip+zstd"):
            answer = await stream(service, request(), accept_encoding=name.replace("+", ", "))
            head = recorded_head((GOLDEN / f"13-encoding-{name}.head.txt").read_text())
            assert (answer.status, answer.headers) == head, name
            coding = head[1].get("content-encoding")
            recorded = DECODERS[coding]()((GOLDEN / f"13-encoding-{name}.bin").read_bytes())
            same(
                DECODERS[coding]()(answer.body).decode().splitlines(),
                recorded.decode().splitlines(),
            )


async def test_too_many_buckets_and_too_many_connections_are_told_as_the_reference_tells_them(
    source: ScratchDatabase, tmp_path: Path
) -> None:
    config = (GOLDEN / "golden-streams.yaml").read_text()
    limits = {"parameters": {"max_buckets_per_connection": 3, "max_concurrent_connections": 1}}
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=config, api=limits) as service:
        recorded = (GOLDEN / "56-too-many-buckets.ndjson").read_text()
        refused = await stream(service, request())
        status, headers = recorded_head(recorded)
        assert (refused.status, refused.headers["content-type"]) == (status, headers["content-type"])
        [theirs] = recorded_lines(recorded)
        error, their_error = json.loads(refused.body)["error"], json.loads(theirs)["error"]
        assert (error["code"], error["status"], error["name"]) == (their_error["code"], 500, their_error["name"])
        assert "3" in error["description"], "how many are allowed"
        assert "my_todos" in error["details"], "and which stream has how many; ours stops to count at the limit"

        status, headers = recorded_head((GOLDEN / "57-too-many-connections.ndjson").read_text())
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            nothing = subscriptions(defaults=False)
            sent = {"authorization": f"Token {token('user9')}"}
            url = f"{service.base_url}/sync/stream"
            opened = await stack.enter_async_context(session.post(url, json=request(streams=nothing), headers=sent))
            assert opened.status == 200
            full = await stream(service, request(streams=nothing))
        assert (full.status, full.body) == (status, b"")
        assert full.headers.items() >= headers.items()


async def test_after_a_changed_config_a_client_with_old_buckets_gets_the_new_ones(
    source: ScratchDatabase, tmp_path: Path
) -> None:
    folder = tmp_path / "service"
    rules, streams = ((GOLDEN / f"golden-{name}.yaml").read_text() for name in ("rules", "streams"))
    with ServiceProcess(folder, dsn=source.dsn, sync_config=rules) as service:
        opening = json.loads((await stream(service, request())).body.splitlines()[0])["checkpoint"]
    old = [{"name": bucket["bucket"], "after": opening["last_op_id"]} for bucket in opening["buckets"]]
    (folder / "sync-config.yaml").write_text(streams)
    source.execute(
        f"UPDATE todos SET description = 'x', completed = true WHERE id = '{TODO}1'"
    )  # as when it was recorded
    source.execute(f"DELETE FROM todos WHERE id = '{TODO}2'")
    service.start()
    try:

        async def serves_the_new_config() -> bytes:
            body = (await stream(service, request(buckets=old))).body
            return body if b"my_lists" in body else b""

        body = await eventually(serves_the_new_config, timeout_s=TIMEOUT_S)
    finally:
        service.stop()
    same(body.decode().splitlines(), recorded_lines((GOLDEN / "53-after-config-change.ndjson").read_text()))


async def test_a_token_of_45_seconds_gets_the_lines_of_the_reference(tmp_path: Path) -> None:
    """With a clock that the test sets, where the recording took 45 seconds."""
    clock = [time.time()]
    recorded = (GOLDEN / "30-keepalive-token-45s.ndjson").read_text().splitlines()
    theirs = [json.loads(line)["token_expires_in"] for line in recorded if "token_expires_in" in line]
    async with running_world(tmp_path, now_s=lambda: clock[0]) as world:
        exchange, task = world.open_stream(bearer=world_token(lifetime_s=45))
        await exchange.until("checkpoint_complete")
        for _ in range(47):
            clock[0] += 1
            for inbox in world.watcher.inboxes():
                inbox.arrived.set()  # it looks at the clock whenever it wakes
            await world.ask("GET", "/probes/liveness")  # everything that is ready has run
        async with asyncio.timeout(5):
            await task
    ours = [line["token_expires_in"] for line in exchange.lines if "token_expires_in" in line]
    keepalive, warning, *between, end = ours
    assert 22 <= keepalive <= 27, "the first comes after 18 to 22 seconds"
    assert warning in (19, 20), "20 seconds before the end"
    assert len(between) <= 1, "another keepalive may come 18 to 22 seconds after that"
    assert end == 0
    assert [theirs[0] > 20, *theirs[1:]] == [True, 20, 0]
    assert exchange.messages[-1] == {"type": "http.response.body", "body": b""}
