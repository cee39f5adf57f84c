"""The live op tail: a stream of the service, opened in a user's name from where the user's buckets are now. It names rows, not values."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
import orjson

from syncline.api.admin.status import iso_time
from syncline.api.dashboard.limits import TAIL_OPS_MAX, TAIL_S_MAX, TAILS_MAX
from syncline.errors import NoActiveSyncConfig, TooManyConnections
from syncline.protocol.requests import BucketPosition, StreamRequest
from syncline.sync.stream import StreamContext, SyncStream
from syncline.sync_config.plan import ConnectionData

__all__ = ["Tails"]


class Tails:
    """Opens tails, at most TAILS_MAX at a time in this process."""

    def __init__(self, context: StreamContext, *, seconds_max: float = TAIL_S_MAX, ops_max: int = TAIL_OPS_MAX) -> None:
        self._context = context
        self._seconds_max = seconds_max
        self._ops_max = ops_max
        self._open = 0

    async def lines(self, user: ConnectionData) -> AsyncGenerator[bytes]:
        """JSON lines: first `began`, then one for each operation, `checkpoint` lines between them, `ended` with the reason.

        Raises TooManyConnections, NoActiveSyncConfig and LimitExceeded before the first line.
        """
        if self._open >= TAILS_MAX:
            raise TooManyConnections(f"There are {TAILS_MAX} tails already.")
        self._open += 1
        try:
            positions = await self._positions(user)
            stream = SyncStream(
                self._context,
                connection=user,
                request=StreamRequest(buckets=positions, raw_data=True),
                expires_at_s=self._context.now_s() + self._seconds_max,
            )
            yield _line({"began": True, "user_id": user.user_id, "buckets": len(positions)})
            left = self._ops_max
            async with aclosing(stream.lines()) as lines:
                async for line in lines:
                    told = _told(msgspec.json.decode(line))[: left + 1]
                    left -= sum("op" in one for one in told)
                    for one in told[: left if left < 0 else None]:
                        yield _line(one)
                    if left < 0:
                        yield _line({"ended": f"{self._ops_max} operations were shown"})
                        return
            yield _line({"ended": stream.end_reason or "the stream has ended"})
        finally:
            self._open -= 1

    async def _positions(self, user: ConnectionData) -> list[BucketPosition]:
        """Where the user's buckets are now: what comes later is told."""
        served, limits = self._context.watcher.served(), self._context.limits
        query = served.plan.query_buckets(
            user,
            None,
            served.version.bucket_prefix,
            buckets_max=limits.buckets_max,
            parameter_results_max=limits.parameter_results_max,
        )
        view = await self._context.reader.view(served.version.number, query)
        if view is None:
            raise NoActiveSyncConfig("The sync config is being replaced; ask again.")
        return [BucketPosition(name, str(totals.op_id)) for name, totals in view.totals.items()]


def _told(line: dict[str, Any]) -> list[dict[str, Any]]:
    """What a line of the stream says, without the values of rows."""
    at = iso_time(time.time_ns() // 1_000_000)
    if "data" in line:
        data = line["data"]
        return [
            {
                "at": at,
                "op_id": op["op_id"],
                "op": op["op"],
                "table": op.get("object_type"),
                "id": op.get("object_id"),
                "bucket": data["bucket"],
                "bytes": len((op.get("data") or "").encode()),
            }
            for op in data["data"]
        ]
    if "checkpoint_complete" in line:
        return [{"at": at, "checkpoint": line["checkpoint_complete"]["last_op_id"]}]
    return [{"at": at, "alive": True}] if "token_expires_in" in line else []


def _line(told: dict[str, Any]) -> bytes:
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
