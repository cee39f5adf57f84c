"""The operations of a user's stream as they come: `syncline tail`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from syncline.cli.exit_codes import CommandFailed
from syncline.cli.live.connecting import Viewer
from syncline.protocol.lines import Checkpoint, DataBatch, TokenExpiresIn
from syncline.protocol.requests import BucketPosition

__all__ = ["OPS_MAX", "TAIL_S_MAX", "tail"]

OPS_MAX = 10_000  # operations of one tail unless --count says otherwise: it is for eyes
TAIL_S_MAX = 3600.0  # seconds of one tail unless --for says otherwise: no token of --user lives longer

Show = Callable[[dict[str, Any]], None]


async def tail(
    viewer: Viewer,
    show: Show,
    *,
    ops_max: int,
    seconds_max: float,
    from_start: bool,
    data: bool,
    ready: Callable[[], None],
) -> None:
    """Show operations that come from now on (`from_start`: all) until one of the limits is reached.

    `ready` is called once, when nothing that is committed from then on can be missed; `data` shows the values of rows too.
    Raises ServiceUnreachable, SynclineError; CommandFailed where the service ends the stream.
    """
    shown = 0
    try:
        async with asyncio.timeout(seconds_max):
            positions = [] if from_start else await _positions(viewer)
            ready()
            async with viewer.stream(viewer.request(buckets=positions)) as lines:
                async for line, _ in lines:
                    if isinstance(line, TokenExpiresIn) and line.seconds <= 0:
                        raise CommandFailed("The token has ended.")
                    if not isinstance(line, DataBatch):
                        continue
                    for value in _operations(line, data=data):
                        show(value)
                        shown += 1
                        if shown >= ops_max:
                            return
            raise CommandFailed("The service has ended the stream.")
    except TimeoutError:
        return


async def _positions(viewer: Viewer) -> list[BucketPosition]:
    """Every bucket of the user at the newest checkpoint: a request with these brings what comes later."""
    async with viewer.stream(viewer.request()) as lines:
        async for line, _ in lines:
            if isinstance(line, Checkpoint):
                return [BucketPosition(state.bucket, line.last_op_id) for state in line.buckets]
    raise CommandFailed("The service has ended the stream before its first checkpoint.")


def _operations(batch: DataBatch, *, data: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for entry in batch.data:
        value: dict[str, Any] = {"op_id": entry.op_id, "op": entry.op.value, "bucket": batch.bucket}
        if entry.object_type is not None:
            value |= {"table": entry.object_type, "id": entry.object_id}
        if data and entry.data is not None:
            value["data"] = json.loads(entry.data)
        found.append(value)
    return found
