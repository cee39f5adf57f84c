"""Buckets with a history, as the reference sends them (conversation 54): compaction shrinks them, and no client sees a difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncline.protocol.ops import OpType, put_checksum
from syncline.storage.base import StorageReader
from syncline.storage.model import FlushBatch, NewOp
from syncline.storage.sqlite import SqliteStorage
from tests.conformance.storage_suite.builders import begun, compact, ops_of, totals_of
from tests.support.bucket_model import BucketModel, reduced

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "54-before-compact.ndjson"
PUT, REMOVE, MOVE, CLEAR = OpType.PUT, OpType.REMOVE, OpType.MOVE, OpType.CLEAR

AFTER = {
    '2#my_lists|0["user1"]': [CLEAR, PUT, REMOVE],
    "2#global_cat|0[]": [CLEAR, PUT, MOVE, PUT, REMOVE],
    '2#my_todos|0["11111111-0000-4000-8000-000000000001"]': [PUT, MOVE, MOVE, PUT],
}
"""What is left of each bucket by the rules of compaction, worked out by hand."""


def recorded() -> tuple[dict[str, tuple[int, int]], list[tuple[int, NewOp]]]:
    """Checksum and count of each bucket as they were announced, and all operations in the order of their ids."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in GOLDEN.read_text().splitlines() if line.startswith("{")]
    totals = {
        entry["bucket"]: (entry["checksum"] % 2**32, entry["count"])
        for line in lines
        for entry in line.get("checkpoint", {}).get("buckets", [])
    }
    ops = [
        (
            int(op["op_id"]),
            NewOp(
                line["data"]["bucket"],
                OpType(op["op"]),
                op["object_type"],
                op["object_id"],
                op["checksum"],
                op["subkey"],
                op["data"],
            ),
        )
        for line in lines
        for op in line.get("data", {}).get("data", [])
    ]
    return totals, sorted(ops)


async def client_at(reader: StorageReader, bucket: str, *, first: BucketModel | None = None) -> BucketModel:
    """A client after the newest checkpoint, a new one unless one is given."""
    client = first or BucketModel()
    ops = await ops_of(reader, bucket, checkpoint_op=10**6, after=client.position)
    return reduced(ops, upto=10**6, client=client)


def test_the_recorded_checksums_are_those_that_we_compute() -> None:
    totals, ops = recorded()
    assert sum(count for _, count in totals.values()) == len(ops) == 15
    for _, op in ops:
        if op.op is PUT:
            assert op.data is not None
            assert op.checksum == put_checksum(op.object_type, op.object_id, op.data)
    for bucket, (checksum, _) in totals.items():
        assert sum(op.checksum for _, op in ops if op.bucket == bucket) % 2**32 == checksum


async def test_compaction_keeps_the_recorded_checksums_and_rows_of_every_client(tmp_path: Path) -> None:
    totals, ops = recorded()
    storage = SqliteStorage(tmp_path / "storage")
    writer, reader = storage.open_writer(), storage.open_reader()
    begun(writer, 2)
    positions: list[dict[str, BucketModel]] = []  # a client that stopped after each operation
    for _, op in ops:
        writer.flush(2, FlushBatch(ops=[op]))
        positions.append({bucket: await client_at(reader, bucket) for bucket in totals})
    checkpoint = writer.commit(2, "A")
    assert checkpoint is not None
    before = {bucket: await client_at(reader, bucket) for bucket in totals}
    assert {name: tuple(total[1:]) for name, total in (await totals_of(reader, 2, *totals)).items()} == totals
    for bucket in totals:
        assert compact(writer, bucket) > 0
    for bucket, (checksum, _) in totals.items():
        left = await ops_of(reader, bucket, checkpoint_op=checkpoint.op_id)
        assert [op.op for op in left] == AFTER[bucket]
        assert (await totals_of(reader, 2, bucket))[bucket][1:] == (checksum, len(left))
        assert (await client_at(reader, bucket)).state == before[bucket].state
        for clients in positions:
            assert (await client_at(reader, bucket, first=clients[bucket])).state == before[bucket].state
    assert len(positions) == 15
    writer.close()
    await reader.close()


@pytest.mark.parametrize("bucket", AFTER)
def test_the_recorded_buckets_have_a_history(bucket: str) -> None:
    _, ops = recorded()
    keys = [(op.object_type, op.object_id, op.subkey) for _, op in ops if op.bucket == bucket]
    assert len(keys) > len(set(keys))
