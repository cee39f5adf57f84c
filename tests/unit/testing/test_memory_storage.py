from __future__ import annotations

import asyncio

import pytest

from syncline.protocol.lines import StreamDescription
from syncline.protocol.ops import OpType
from syncline.storage.model import OpChunk, WriteCheckpointCursor
from syncline.sync_config import compile_sync_config
from syncline.sync_config.plan import ConnectionData
from syncline.testing.memory_source import MemorySource, position_text
from syncline.testing.memory_storage import MemoryStorage, MemoryWriteCheckpoints

CONFIG = """
config: {edition: 3}
streams:
  lists: {auto_subscribe: true, query: SELECT * FROM lists WHERE team IN (SELECT team FROM members WHERE user = auth.user_id())}
"""
PLAN = compile_sync_config(CONFIG)


class World:
    def __init__(self) -> None:
        self.source = MemorySource({"lists": ["name", "team"], "members": ["user", "team"]})
        columns = {name: self.source.columns(name) for name in self.source.tables}
        self.storage = MemoryStorage(PLAN, sync_config=CONFIG, number=1, columns=columns)
        self.source.listen(self.storage.apply)

    def write(self, table: str, row_id: str, **values: object) -> None:
        with self.source.transaction() as writer:
            if values:
                writer.insert(table, row_id, **values)
            else:
                writer.delete(table, row_id)

    def view(self, user: str) -> dict[str, tuple[int, int, int]]:
        query = PLAN.query_buckets(
            ConnectionData({"sub": user}), None, "1#", buckets_max=100, parameter_results_max=100
        )
        view = asyncio.run(self.storage.view(1, query))
        assert view is not None
        assert view.resolved.streams == (StreamDescription("lists", True, []),)
        return {bucket.name: tuple(view.totals.get(bucket.name, (0, 0, 0))) for bucket in view.resolved.buckets}  # type: ignore[misc]  # three numbers each

    def chunks(self, bucket: str, *, after: int = 0, upto: int | None = None, chunk_ops: int = 500) -> list[OpChunk]:
        return asyncio.run(
            self.storage.chunks(
                1,
                [(bucket, after)],
                checkpoint_op=self.storage.newest.op_id if upto is None else upto,
                ops_max=1000,
                chunk_ops_max=chunk_ops,
                chunk_bytes_max=1 << 20,
            )
        )


@pytest.fixture
def world() -> World:
    world = World()
    world.write("members", "m1", user="ada", team="red")
    world.write("lists", "a", name="A", team="red")
    return world


def kinds(chunks: list[OpChunk]) -> list[OpType]:
    return [op.op for chunk in chunks for op in chunk.ops]


def test_buckets_follow_lookups(world: World) -> None:
    [bucket] = world.view("ada")
    assert "red" in bucket
    assert world.view("bob") == {}
    world.write("members", "m1")
    assert world.view("ada") == {}


def test_a_row_that_moves_leaves_a_remove(world: World) -> None:
    [bucket] = world.view("ada")
    world.write("lists", "a", name="A", team="blue")
    assert kinds(world.chunks(bucket)) == [OpType.PUT, OpType.REMOVE]
    world.write("members", "m2", user="ada", team="blue")
    assert sorted(world.view("ada")) == sorted([bucket, bucket.replace("red", "blue")])


def test_changes_tell_what_is_new(world: World) -> None:
    before = world.storage.newest
    world.write("lists", "b", name="B", team="red")
    changes = asyncio.run(world.storage.changes(1, before))
    assert changes is not None
    assert changes.checkpoint == world.storage.newest
    assert list(changes.totals) == list(world.view("ada"))
    assert changes.lookups == frozenset()
    world.write("members", "m1", user="ada", team="blue")
    lookups = asyncio.run(world.storage.changes(1, changes.checkpoint))
    assert lookups is not None
    assert lookups.checkpoint.op_id > changes.checkpoint.op_id  # sessions act on newer op ids only
    assert lookups.lookups


def test_chunks_end_at_the_checkpoint_and_at_their_limits(world: World) -> None:
    [bucket] = world.view("ada")
    middle = world.storage.newest.op_id
    for number in range(5):
        world.write("lists", f"b{number}", name="B", team="red")
    assert len(kinds(world.chunks(bucket, upto=middle))) == 1
    chunks = world.chunks(bucket, after=middle, chunk_ops=2)
    assert [(len(chunk.ops), chunk.has_more) for chunk in chunks] == [(2, True), (2, True), (1, False)]


def test_compaction_keeps_checksums_and_rows(world: World) -> None:
    [bucket] = world.view("ada")
    for name in ("B", "C", "D"):
        world.write("lists", "a", name=name, team="red")
    world.write("lists", "b", name="B", team="red")
    before, rows = world.view("ada")[bucket], reduced(world.chunks(bucket))
    assert world.storage.compact() > 0
    op_id, checksum, count = world.view("ada")[bucket]
    assert (op_id, checksum) == before[:2]
    assert count < before[2]
    assert count == len(kinds(world.chunks(bucket)))
    assert kinds(world.chunks(bucket))[0] is OpType.CLEAR
    assert reduced(world.chunks(bucket)) == rows
    assert world.chunks(bucket)[0].newest_target > 0


def reduced(chunks: list[OpChunk]) -> dict[str, str | None]:
    rows: dict[str, str | None] = {}
    for chunk in chunks:
        for op in chunk.ops:
            if op.op is OpType.PUT:
                rows[str(op.object_id)] = op.data
            elif op.op is OpType.REMOVE:
                rows.pop(str(op.object_id), None)
    return rows


def test_another_version_has_other_buckets_and_the_same_rows(world: World) -> None:
    [bucket] = world.view("ada")
    old = world.storage.newest
    world.storage.replace(
        PLAN, sync_config=CONFIG, number=2, snapshot=world.source.snapshot(), position=world.source.head
    )
    assert asyncio.run(world.storage.changes(1, old)) is None
    assert asyncio.run(world.storage.checkpoint(1)) is None
    assert world.chunks(bucket) == []
    newest = asyncio.run(world.storage.checkpoint(2))
    assert newest is not None
    assert newest.op_id > old.op_id


def test_write_checkpoints_are_reached_once_replication_has_passed() -> None:
    async def run() -> None:
        checkpoints = MemoryWriteCheckpoints()
        assert await checkpoints.create(["ada", "bob"], position_text(5)) == [1, 1]
        assert await checkpoints.create(["ada"], position_text(7)) == [2]
        assert await checkpoints.reached("bob", position_text(4)) is None
        assert await checkpoints.reached_all(["ada", "bob"], position_text(5)) == {"bob": 1}
        cursor = (await checkpoints.newly_reached(position_text(5), WriteCheckpointCursor()))[1]
        assert (await checkpoints.newly_reached(position_text(7), cursor))[0] == {"ada": 2}
        checkpoints.forget()
        assert await checkpoints.reached("ada", position_text(9)) is None
        assert await checkpoints.create(["ada"], position_text(9)) == [3]  # never again a number that was given
        assert await checkpoints.request("bob", 10, position_text(9)) == 10
        assert await checkpoints.request("bob", 4, position_text(9)) == 10

    asyncio.run(run())
