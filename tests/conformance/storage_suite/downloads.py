"""A client that is in the middle of a download while its buckets are compacted ends with the right state, and is never told too much."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from syncline.storage.base import BucketStorage, StorageWriter
from syncline.storage.model import FlushBatch, NewOp, OpRow
from tests.conformance.storage_suite.builders import begun, compact, put, remove
from tests.conformance.storage_suite.session_client import SessionClient

__all__ = ["DownloadSuite"]

RUNS = 200 if os.environ.get("SYNCLINE_SOAK") else 40
READS_MAX = 40  # of one download that something else falls into; then it may end


class History:
    """Writes random operations to two buckets of a version, and remembers all of them as they were before any compaction."""

    def __init__(self, writer: StorageWriter, version: int, draw: random.Random) -> None:
        begun(writer, version)
        self._writer, self._version, self._draw = writer, version, draw
        self._commits = 0
        self.buckets = (f"{version}#a[]", f"{version}#b[]")
        self.ops: dict[str, list[OpRow]] = {name: [] for name in self.buckets}

    def flush(self, ops: list[NewOp]) -> None:
        last = self._writer.flush(self._version, FlushBatch(ops=ops))
        for op_id, op in enumerate(ops, start=last - len(ops) + 1):
            row = OpRow(op_id, op.op, op.object_type, op.object_id, op.checksum, op.subkey, op.data)
            self.ops[op.bucket].append(row)

    def commit(self) -> None:
        self._commits += 1
        assert self._writer.commit(self._version, f"{self._version:08}-{self._commits:08}") is not None

    def random_transaction(self, ops_max: int) -> None:
        draw, ops = self._draw, list[NewOp]()
        for _ in range(draw.randrange(1, ops_max)):
            bucket, name = draw.choice(self.buckets), str(draw.randrange(6))
            ops.append(put(bucket, name, f"[{draw.random()}]") if draw.random() < 0.6 else remove(bucket, name))
        self.flush(ops)
        if draw.random() < 0.9:  # else it is still open when the next one comes: one larger transaction
            self.commit()

    def empty(self, bucket: str) -> None:
        """Take every row away, as a TRUNCATE does: all of the bucket can become one CLEAR."""
        self.flush([remove(bucket, str(name)) for name in range(6)])
        self.commit()

    def compact_one(self) -> int:
        """Compact one of the buckets, in steps of any size; how many changes there were."""
        draw = self._draw
        bucket, page_ops, clear_ops_max = draw.choice(self.buckets), draw.randrange(1, 9), draw.randrange(1, 9)
        return compact(self._writer, bucket, page_ops=page_ops, clear_ops_max=clear_ops_max)


class Interference:
    """What happens to the storage before a read of the client: writing, emptying, compaction, or nothing."""

    def __init__(self, history: History, draw: random.Random) -> None:
        self._history, self._draw = history, draw
        self.changes = 0

    def __call__(self, read: int) -> None:
        chance = self._draw.random()
        if read > READS_MAX:
            return
        if chance < 0.2:
            self._history.random_transaction(8)
        elif chance < 0.3:
            self._history.empty(self._draw.choice(self._history.buckets))
        elif chance < 0.6:
            self.changes += self._history.compact_one()


class DownloadSuite:
    """A client that is in the middle of a download while its buckets are compacted."""

    @pytest.mark.timeout(600)
    async def test_a_client_in_the_middle_of_a_download_ends_with_the_right_state(self, storage: BucketStorage) -> None:
        seed = int(os.environ.get("SYNCLINE_SEED") or random.randrange(2**32))
        print(f"SYNCLINE_SEED={seed}")
        seen, draw = Counter[str](), random.Random(seed)
        writer, reader = storage.open_writer(), storage.open_reader()
        for version in range(10, 10 + RUNS):
            history = History(writer, version, draw)
            history.random_transaction(40)
            history.commit()
            client = SessionClient(reader, version, history.buckets, read_ops=draw.choice([1, 2, 5]))
            interfere = Interference(history, draw)
            for _ in range(3):  # the client comes back twice, with the positions that it has
                await client.download(history.ops, before_read=interfere)
                interfere(0)
            seen.update(client.seen)
            seen["changes"] += interfere.changes
        writer.close()
        await reader.close()
        print(dict(sorted(seen.items())))
        cases = ("CLEAR over objects", "changes", "complete", "nothing found", "read anew", "target beyond")
        assert [case for case in cases if seen[case] < RUNS // 20] == []

    @pytest.mark.parametrize("compact_before", range(6))
    async def test_compaction_before_each_read_of_one_download(
        self, storage: BucketStorage, compact_before: int
    ) -> None:
        """One bucket is rewritten, another emptied, and both are compacted, before the n-th of six reads."""
        writer, reader = storage.open_writer(), storage.open_reader()
        history = History(writer, 10, random.Random(1))
        rewritten, emptied = history.buckets
        history.flush([put(bucket, str(name)) for bucket in history.buckets for name in range(6)])
        history.commit()
        client = SessionClient(reader, 10, history.buckets, read_ops=2)
        changes: list[int] = []

        def interfere(read: int) -> None:
            if read == compact_before:
                history.flush([put(rewritten, str(name), "[2]") for name in range(6)])
                history.commit()
                history.empty(emptied)
                changes.extend(compact(writer, bucket) for bucket in history.buckets)

        await client.download(history.ops, before_read=interfere)
        assert len(changes) == 2
        assert min(changes) > 0
        assert client.seen["complete"] >= 1
        await client.download(history.ops, before_read=lambda _: None)
        assert [len(client.buckets[bucket].objects) for bucket in history.buckets] == [6, 0]
        writer.close()
        await reader.close()
