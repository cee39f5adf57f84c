"""A device that halts at a named point, to be killed there: `python -m tests.integration.client.device_process FILE URL POINT`.

Points: `after_answer` (the backend has taken the upload, nothing left the queue), `after_complete` (the queue is empty, no write checkpoint
was asked for), `mid_download` (operations are stored, no checkpoint is complete), `mid_apply` (inside of the transaction that makes a
checkpoint visible), `after_apply` (it is committed, nobody was told). It prints the point and waits.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.client.core.status import SyncStatus
from syncline.client.local.row_writer import RowWriter
from syncline.client.status_board import StatusBoard
from syncline.testing.waiting import eventually


async def halt(point: str) -> None:
    """Say where it stands, and stay there."""
    print(point, flush=True)
    await asyncio.Event().wait()


class HaltingConnector(HttpConnector):
    """Stops in the middle of an upload."""

    def __init__(self, url: str, *, point: str) -> None:
        super().__init__(url)
        self._point = point

    async def upload_data(self, db: SyncDatabase) -> None:
        await super().upload_data(db)
        if self._point == "after_complete":
            await halt(self._point)

    async def _settle(self, sent: Any, results: Any, **options: Any) -> None:
        if self._point == "after_answer":
            await halt(self._point)
        await super()._settle(sent, results, **options)


def halt_in_thread(point: str) -> None:
    """The same for code of the writer thread."""
    print(point, flush=True)
    threading.Event().wait()


def halt_when_applying(point: str) -> None:
    """Make the client stop around the moment at which a checkpoint becomes visible."""
    write_all, publish = RowWriter.write_all, StatusBoard.publish_download

    def halting_write(self: RowWriter) -> None:
        write_all(self)
        halt_in_thread(point)

    def halting_publish(self: StatusBoard, status: SyncStatus) -> None:
        if status.has_synced:
            halt_in_thread(point)
        publish(self, status)

    if point == "mid_apply":
        RowWriter.write_all = halting_write
    elif point == "after_apply":
        StatusBoard.publish_download = halting_publish


async def main(file: str, url: str, point: str) -> None:
    """Write (except for a download), connect, and go on until the point."""
    async with SyncDatabase(file, schema=Schema([Table("lists", [Column.text("name")])])) as db:
        halt_when_applying(point)
        if point in ("after_answer", "after_complete"):
            await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'mine')")
        await db.connect(HaltingConnector(url, point=point), retry_delay_s=0.1)
        if point == "mid_download":

            async def is_stored() -> bool:
                return bool(await db.get_all("SELECT 1 FROM ps_buckets WHERE last_op > 0"))

            await eventually(is_stored)
            await halt(point)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
