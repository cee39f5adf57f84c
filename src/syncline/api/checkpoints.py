"""`GET /write-checkpoint2.json`: tell me when replication has passed my writes (protocol reference, 5.1).

Requests that arrive together share one look at the source's head and one storage write. The record is stored before the marker is
written, so that replication cannot pass the marker before there is something to be reached.
"""

from __future__ import annotations

import asyncio
import logging

from syncline.api.limits import CHECKPOINT_BATCH_MAX
from syncline.errors import ShuttingDown, SourceUnavailable
from syncline.replication.source import SourceHead
from syncline.storage.base import WriteCheckpoints

__all__ = ["WriteCheckpointBatcher"]

log = logging.getLogger(__name__)


class WriteCheckpointBatcher:
    """Creates write checkpoints in batches. `run` does the work; `create` waits for its result."""

    def __init__(self, *, head: SourceHead, write_checkpoints: WriteCheckpoints) -> None:
        self._head = head
        self._write_checkpoints = write_checkpoints
        self._waiting: asyncio.Queue[tuple[str, asyncio.Future[int]]] = asyncio.Queue(CHECKPOINT_BATCH_MAX)

    async def create(self, user_key: str) -> int:
        """The user's next write checkpoint. Raises SourceUnavailable when the source's head cannot be read."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((user_key, answer))
        except asyncio.QueueFull as exc:
            raise ShuttingDown("Too many write checkpoint requests are waiting.", code="PSYNC_S2304") from exc
        return await answer

    async def run(self) -> None:
        """Serve requests until cancelled. The look at the head begins after the last request of its batch has arrived."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and len(batch) < CHECKPOINT_BATCH_MAX:
                batch.append(self._waiting.get_nowait())
            try:
                position = await self._head.head()
                values = await self._write_checkpoints.create([user_key for user_key, _ in batch], position)
                await self._head.emit_marker()
            except Exception as exc:
                _fail(batch, exc)
                continue
            for (_, answer), value in zip(batch, values, strict=True):
                if not answer.done():
                    answer.set_result(value)


def _fail(batch: list[tuple[str, asyncio.Future[int]]], exc: Exception) -> None:
    log.warning("Write checkpoints could not be made: %s", exc, extra={"event": "api.write_checkpoint_error"})
    for _, answer in batch:
        if not answer.done():
            error = SourceUnavailable("The source's position could not be read; try again.")
            error.__cause__ = exc
            answer.set_exception(error)
