"""A client of every bucket, which checks at each checkpoint that it sees what it should.

It downloads only what is above its position, as clients do: an op id that appeared below it later would be missing from its state, and
its checksum would differ from the bucket's.
"""

from __future__ import annotations

from collections import Counter

from syncline.protocol.ops import OpType
from syncline.storage.base import StorageReader
from syncline.storage.model import Checkpoint, OpRow, Version
from syncline.sync_config import compile_sync_config
from syncline.sync_config.plan import ConnectionData
from tests.support.bucket_model import BucketModel

__all__ = ["Watcher"]

USERS = ("ann", "bob", "cleo")


class VersionReplaced(Exception):
    """The version ended while it was read: what was read of it proves nothing."""


class Watcher:
    """Watches one storage from the outside. `counts` says how often it looked, downloaded and met compacted operations."""

    def __init__(self, reader: StorageReader) -> None:
        self._reader = reader
        self._version = 0
        self._newest: Checkpoint | None = None
        self._clients: dict[str, BucketModel] = {}
        self.counts: Counter[str] = Counter()

    async def look(self) -> Checkpoint | None:
        """Follow to the newest checkpoint, and check everything.

        None where nothing is served yet, and where compaction went beyond the checkpoint: a session would not complete that either.
        """
        version = await self._reader.active_version()
        if version is None:
            return None
        if version.number != self._version:
            assert version.number > self._version, "versions only grow"
            self._version, self._newest, self._clients = version.number, None, {}
            self.counts["versions"] += 1
        try:
            return await self._look(version)
        except VersionReplaced:
            return None

    async def _look(self, version: Version) -> Checkpoint | None:
        plan = compile_sync_config(version.sync_config)
        adopted: Checkpoint | None = None
        withheld_before = self.counts["withheld"]
        for user in USERS:
            query = plan.query_buckets(
                ConnectionData({"sub": user}), None, version.bucket_prefix, buckets_max=100, parameter_results_max=100
            )
            view = await self._reader.view(version.number, query)
            if view is None:
                raise VersionReplaced
            adopted = adopted or view.checkpoint  # the first is the oldest: what it has, all have
            for bucket in (resolved.name for resolved in view.resolved.buckets):
                totals = view.totals.get(bucket)
                checksum = totals.checksum if totals is not None else 0
                await self._follow(bucket, view.checkpoint, checksum)
        if self._newest is not None and adopted is not None:
            assert adopted.op_id >= self._newest.op_id, "checkpoints never go back"
            assert adopted.position >= self._newest.position
        self.counts["looks"] += 1
        self._newest = adopted
        return adopted if self.counts["withheld"] == withheld_before else None

    async def rows(self, stream: str, user: str) -> list[str]:
        """Row data that this user has from a stream."""
        bucket = f"{self._version}#{stream}|0" + (f'["{user}"]' if stream.endswith("_mine") else "[]")
        client = self._clients.get(bucket, BucketModel())
        return [data for data in client.objects.values() if data is not None]

    async def _follow(self, bucket: str, checkpoint: Checkpoint, checksum: int) -> None:
        client = self._clients.setdefault(bucket, BucketModel())
        withheld = False
        for op in await self._download(bucket, client.position, checkpoint.op_id):
            client.receive(op)
            self.counts[op.op.name] += 1
            withheld = withheld or (op.target_op is not None and op.target_op > checkpoint.op_id)
        client.position = max(client.position, checkpoint.op_id)
        if await self._reader.checkpoint(self._version) is None:
            raise VersionReplaced
        if withheld:
            self.counts["withheld"] += 1
            return
        assert client.checksum == checksum, f"{bucket} at {checkpoint}: a client's checksum differs from the bucket's"
        self.counts["checksums compared"] += 1

    async def _download(self, bucket: str, after: int, upto: int) -> list[OpRow]:
        ops: list[OpRow] = []
        has_more = True
        while has_more and after < upto:
            has_more = False
            for chunk in await self._reader.chunks(
                self._version,
                [(bucket, after)],
                checkpoint_op=upto,
                ops_max=500,
                chunk_ops_max=500,
                chunk_bytes_max=10**6,
            ):
                ops += chunk.ops
                after, has_more = chunk.next_after, chunk.has_more
        assert all(op.op is not OpType.PUT or op.data is not None for op in ops)
        return ops
