"""Write checkpoints that the app keeps in a table of its own: told with the rows of their transaction, never before."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token

SYNC_CONFIG = """
bucket_definitions:
  mine:
    parameters: SELECT request.user_id() AS owner_id
    data:
      - SELECT id, name FROM lists WHERE owner_id = bucket.owner_id
event_definitions:
  write_checkpoints:
    payloads:
      - SELECT user_id, client_id, checkpoint FROM checkpoints
"""
CLIENT_ID = "device-1"
LINE_S = 30.0  # seconds for a line to come


class Stream:
    """A stream, and what it has told."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self.rows: set[str] = set()

    async def until_complete(self) -> int | None:
        """Read up to the next complete checkpoint; the newest write checkpoint told since the last."""
        told: int | None = None
        while True:
            line: dict[str, Any] = json.loads(await asyncio.wait_for(self._content.readline(), LINE_S))
            head: dict[str, Any] = line.get("checkpoint") or line.get("checkpoint_diff") or {}
            if head.get("write_checkpoint") is not None:
                told = int(head["write_checkpoint"])
            data: dict[str, Any] = line.get("data", {"data": []})
            self.rows |= {op["object_id"] for op in data["data"]}
            if "checkpoint_complete" in line:
                return told


@pytest.mark.requirement(255)
async def test_they_come_with_the_rows_of_their_transaction(source: ScratchDatabase, tmp_path: Path) -> None:
    source.execute(
        "CREATE TABLE checkpoints (user_id text, client_id text, checkpoint bigint, PRIMARY KEY (user_id, client_id))"
    )
    source.execute(f"INSERT INTO checkpoints VALUES ('u1', '{CLIENT_ID}', 3), ('u2', '{CLIENT_ID}', 8)")
    headers = {"Authorization": f"Token {token('u1')}"}
    with ServiceProcess(tmp_path, dsn=source.dsn, sync_config=SYNC_CONFIG) as service:
        async with aiohttp.ClientSession(service.base_url, headers=headers, read_bufsize=2**20) as session:
            async with session.get(f"/write-checkpoint2.json?client_id={CLIENT_ID}") as refused:
                assert refused.status == 400
            body = {"client_id": CLIENT_ID, "raw_data": True}
            async with session.post("/sync/stream", json=body) as answer:
                stream = Stream(answer.content)
                assert await stream.until_complete() == 3
                for number in range(4, 8):
                    source.execute(
                        f"BEGIN; INSERT INTO lists VALUES ('l{number}', 'new', 'u1');"
                        f"UPDATE checkpoints SET checkpoint = {number} WHERE user_id = 'u1';"
                        "UPDATE checkpoints SET checkpoint = checkpoint + 1 WHERE user_id = 'u2'; COMMIT"
                    )
                    assert await stream.until_complete() == number
                    assert f"l{number}" in stream.rows
                source.execute("UPDATE checkpoints SET checkpoint = 100 WHERE user_id = 'u1'")
                assert await stream.until_complete() == 100, "no row of the user's has changed"
