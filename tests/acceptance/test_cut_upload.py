"""An upload whose answer is lost, on a device that dies: two requests, one effect (design decision 12)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from syncline.backend import TablePolicy
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import Direction, FaultyProxy
from syncline.testing.service_process import ServiceProcess
from tests.support.backend_server import running_backend

ROOT = Path(__file__).parents[2]
# The effects are counted by the database itself: an upsert that runs twice would look the same otherwise.
EFFECTS_SQL = """
CREATE TABLE effects (list_id text, op text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO effects VALUES (NEW.id, TG_OP); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON lists FOR EACH ROW EXECUTE FUNCTION note_effect();
"""


async def start_device(options: dict[str, Any]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.device",
        json.dumps(options),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )


async def says(device: asyncio.subprocess.Process, text: str) -> None:
    assert device.stdout is not None
    async with asyncio.timeout(30):
        while line := await device.stdout.readline():
            if line.decode().strip() == text:
                return
    raise AssertionError(f"the device ended before it said {text!r}")


@pytest.mark.requirement(52, missing="long offline periods")
async def test_an_answer_cut_after_the_commit_and_a_killed_device_leave_one_effect(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute(EFFECTS_SQL)
    tables = {"lists": TablePolicy(owner="owner_id")}
    with running_backend(source.dsn, service_url=service.base_url, tables=tables) as backend_url:
        async with FaultyProxy("127.0.0.1", int(backend_url.rpartition(":")[2])) as proxy:
            cut = proxy.cut_after(Direction.TO_CLIENT, marker=b'"results"', forward=False)
            options = {
                "file": str(tmp_path / "device.db"),
                "backend": proxy.url,
                "user_id": "u1",
                "tables": {"lists": ["name", "owner_id"]},
                "statements": ["INSERT INTO lists (id, name) VALUES ('l1', 'once')"],
            }
            device = await start_device(options)
            await says(device, "written")
            async with asyncio.timeout(30):
                await cut.wait()
            proxy.refuse = True  # nothing gets through until the device is dead
            device.kill()
            await device.wait()
            assert source.execute("SELECT id, name, owner_id FROM lists") == [("l1", "once", "u1")]  # it was committed

            proxy.refuse = False
            again = await start_device({**options, "statements": []})
            await says(again, "queue empty")
            again.kill()
            await again.wait()
            uploads = sum(bytes(connection.sent).count(b"POST /api/data") for connection in proxy.connections)

    assert uploads == 2
    assert source.execute("SELECT list_id, op FROM effects") == [("l1", "INSERT")]
    assert source.execute("SELECT count(*) FROM syncline_uploads") == [(1,)]
