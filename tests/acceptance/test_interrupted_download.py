"""A service that is killed in the middle of a download: the client goes on from where it was."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from backports import zstd

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.transport.http import HttpTransport
from syncline.testing import proxy as proxy_module
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy, ProxiedConnection
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import SYNC_CONFIG, TokenOnly

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])
ROWS = 60_000
KILL_AFTER_BYTES = 400_000  # compressed: far less than all rows, far more than the first read
ROWS_SQL = f"""
INSERT INTO lists SELECT 'row-' || n, repeat(md5(n::text), 5), 'u1' FROM generate_series(1, {ROWS}) n
"""


@pytest.fixture
def service(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    source.execute(ROWS_SQL)
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG) as process:
        yield process


def positions_asked_for(connection: ProxiedConnection) -> dict[str, int]:
    """Bucket positions in the last recorded request; a connection may have served others before."""
    bodies = [part for part in bytes(connection.sent).split(b"\r\n\r\n")[1:] if part.startswith(b"{")]
    body, _ = json.JSONDecoder().raw_decode(bodies[-1].decode())
    return {bucket["name"]: int(bucket["after"]) for bucket in body.get("buckets", [])}


def ops_received(connection: ProxiedConnection) -> list[int]:
    """Every op id that passed to the client, also those of a line that was cut."""
    return [int(text) for text in re.findall(rb'"op_id":"(\d+)"', stream_received(connection))]


def stream_received(connection: ProxiedConnection) -> bytes:
    """What passed to the client of the connection's last stream, decompressed as far as it came."""
    head_start = bytes(connection.received).rindex(b"content-type: application/x-ndjson")
    head, _, body = bytes(connection.received)[head_start:].partition(b"\r\n\r\n")
    assert b"content-encoding: zstd" in head, "it was asked for"
    decompressor = zstd.ZstdDecompressor()
    text = b""
    while (size := re.match(rb"([0-9a-f]+)\r\n", body)) is not None:  # chunks of HTTP; the last may be cut
        end = size.end() + int(size[1], 16)
        text += decompressor.decompress(body[size.end() : end])
        body = body[end + 2 :]
    return text


@pytest.mark.requirement(186)
async def test_the_download_goes_on_from_its_position_after_kill_9(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "RECORDED_BYTES_MAX", 1 << 30)
    async with (
        FaultyProxy("127.0.0.1", service.port) as proxy,
        SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db,
    ):
        compressed = HttpTransport(compression=True)  # as it is asked for where the service is on another machine
        await db.connect(TokenOnly(proxy.url, token("u1")), retry_delay_s=0.2, transport=compressed)
        await eventually(lambda: sum(c.bytes_received for c in proxy.connections) > KILL_AFTER_BYTES)
        service.kill()
        assert not db.current_status.has_synced
        await asyncio.to_thread(service.start)
        await db.wait_for_first_sync(timeout=60)
        rows = await db.get_all("SELECT id, name, owner_id FROM lists ORDER BY id")

    first, second = proxy.connections[0], proxy.connections[-1]
    asked = positions_asked_for(second)
    assert list(asked) == [name for name in asked if name.endswith('lists|0["u1"]')]
    assert all(after > 0 for after in asked.values())
    times = Counter(ops_received(first)) + Counter(ops_received(second))
    twice = [op for op, count in times.items() if count > 1]
    print(f"{len(times)} ops, {len(ops_received(first))} before the kill, {len(twice)} twice, asked for {asked}")
    assert len(times) == ROWS
    assert 0 < len(ops_received(first)) < ROWS
    assert len(twice) <= 1000
    expected = source.execute('SELECT id, name, owner_id FROM lists ORDER BY id COLLATE "C"')
    assert [(row["id"], row["name"], row["owner_id"]) for row in rows] == expected
