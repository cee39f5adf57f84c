from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import web

from syncline.client import SyncDatabase
from syncline.client.attachments import AttachmentState, AttachmentStats
from tests.integration.client.attachments.photo_device import DEADLINE_S, SCHEMA, PhotoDevice
from tests.integration.client.attachments.photo_process import content_of
from tests.support.attachment_remote import RememberingRemote
from tests.support.web_server import serving

ROOT = Path(__file__).parents[4]
SOAK = os.environ.get("SYNCLINE_SOAK") == "1"
RUNS = 60 if SOAK else 2
KILLS = 3
SEED = int(os.environ.get("SYNCLINE_SEED", random.randrange(1 << 30)))


class SlowBucket:
    """Takes photos one byte range at a time, so that kills happen in the middle of uploads."""

    def __init__(self, draw: random.Random) -> None:
        self.files: dict[str, bytes] = {}
        self.url = ""
        self._draw = draw

    async def put(self, request: web.Request) -> web.StreamResponse:
        content = b""
        async for chunk in request.content.iter_any():
            content += chunk
            await asyncio.sleep(self._draw.choice([0, 0, 0.002]))
        self.files[request.path.removeprefix("/")] = content
        await asyncio.sleep(self._draw.choice([0, 0.005]))  # taken, and the device has not heard it
        return web.Response()


@pytest.fixture
async def bucket() -> AsyncGenerator[SlowBucket]:
    running = SlowBucket(random.Random(SEED))
    app = web.Application(client_max_size=1 << 30)
    app.router.add_put("/{name}", running.put)
    async with serving(app) as running.url:
        yield running


async def save_until_killed(file: Path, folder: Path, url: str, *, photos: int, delay_s: float) -> list[str]:
    """Run the device; kill it some time after it has saved so many. Returns the ids that it has told."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.client.attachments.photo_process", str(file), str(folder), url),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    told: list[str] = []
    while len(told) < photos:
        line = await process.stdout.readline()
        assert line, "the device has ended by itself"
        told.append(line.decode().strip())
    await asyncio.sleep(delay_s)  # a random moment is what this test is about
    process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    await process.wait()
    return told + rest.decode().split("\n")[:-1]  # what stands before the last line feed was told whole


@pytest.mark.requirement(208)
@pytest.mark.parametrize("run", range(RUNS))
async def test_kills_lose_no_photo_and_leave_no_row_without_one(run: int, bucket: SlowBucket, tmp_path: Path) -> None:
    seed = SEED + run
    print(f"seed {seed}; replay with SYNCLINE_SEED={seed}")
    draw = random.Random(seed)
    file, folder = tmp_path / "app.db", tmp_path / "photos"
    told: list[str] = []
    for _ in range(KILLS):
        told += await save_until_killed(
            file, folder, bucket.url, photos=draw.randrange(1, 5), delay_s=draw.random() * 0.02
        )
    async with SyncDatabase(file, schema=SCHEMA) as db:
        device = PhotoDevice(db, folder)
        referred = [str(row["photo_id"]) for row in await db.get_all("SELECT photo_id FROM todos")]
        assert set(told) <= set(referred)  # saved means saved
        remote = RememberingRemote()
        async with device.queue(remote) as queue:
            await queue.sync_storage(timeout_s=DEADLINE_S)
            for photo_id in referred:  # the row is there, so is its photo
                assert await queue.read(photo_id) == content_of(photo_id)
                assert await device.state(photo_id) is AttachmentState.SYNCED
                kept = remote.files.get(photo_id, bucket.files.get(photo_id))
                assert kept == content_of(photo_id)
            assert await queue.stats() == AttachmentStats(synced=len(referred))
        recorded = {row["local_uri"] for row in await db.get_all("SELECT local_uri FROM attachments")}
        left = set(device.files()) - recorded
        assert len(left) <= KILLS  # of a save under way, at most one a kill; deleted when it is old enough
