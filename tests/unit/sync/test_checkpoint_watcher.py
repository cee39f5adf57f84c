"""The watcher on real SQLite storage: who is told of what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from syncline.errors import NoActiveSyncConfig
from syncline.protocol.ops import OpType
from syncline.storage.model import FlushBatch, Lookup, NewOp
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.write_checkpoints import SqliteWriteCheckpoints
from syncline.storage.sqlite.writer import SqliteWriter
from syncline.sync.checkpoint_watcher import CheckpointWatcher, Inbox
from syncline.sync_config.plan import SyncPlan


class World:
    def __init__(self, writer: SqliteWriter, watcher: CheckpointWatcher, checkpoints: SqliteWriteCheckpoints) -> None:
        self.writer, self.watcher, self.checkpoints = writer, watcher, checkpoints
        self.position = 0

    def commit(self, *buckets: str, lookups: tuple[str, ...] = (), version: int = 10) -> None:
        ops = [NewOp(bucket, OpType.PUT, "t", "1", 1, "k", "{}") for bucket in buckets]
        batch = FlushBatch(ops=ops, lookups=[Lookup(1, b"k", name, "[]") for name in lookups])
        if batch:
            self.writer.flush(version, batch)
        self.position += 1
        self.writer.commit(version, f"{self.position:08}")
        self.watcher.wake()

    def session(self, user: str, buckets: set[str], lookups: set[str] | None = None) -> Inbox:
        inbox = self.watcher.register(user)
        self.watcher.settle(inbox, buckets=frozenset(buckets), lookups=frozenset(lookups or ()))
        return inbox


async def told(inbox: Inbox) -> None:
    async with asyncio.timeout(5):
        await inbox.arrived.wait()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    storage = SqliteStorage(tmp_path)
    writer, reader, checkpoints = storage.open_writer(), storage.open_reader(), storage.open_write_checkpoints()
    watcher = CheckpointWatcher(
        reader=reader,
        write_checkpoints=checkpoints,
        compile_plan=lambda _text: cast("SyncPlan", SimpleNamespace(has_custom_write_checkpoints=False)),
    )
    with pytest.raises(NoActiveSyncConfig) as caught:
        watcher.served()
    assert caught.value.error_code == "PSYNC_S2302"
    writer.start_version(10, sync_config="", slot_name="s", source_identity="i")
    writer.finish_snapshot(10)
    made = World(writer, watcher, checkpoints)
    made.commit()
    running = asyncio.create_task(watcher.run())
    await watcher.wait_until_serving()
    yield made
    running.cancel()
    await asyncio.wait([running])
    writer.close()
    await reader.close()
    await checkpoints.close()


async def test_only_the_sessions_that_hold_a_changed_bucket_are_told(world: World) -> None:
    mine, other = world.session("u1", {"10#a[]", "10#b[]"}), world.session("u2", {"10#c[]"})
    world.commit("10#a[]")
    await told(mine)
    assert set(mine.totals) == {"10#a[]"}
    assert not mine.lookups_changed
    assert other.op_id is None
    assert not other.arrived.is_set()


async def test_what_a_session_has_not_taken_is_merged(world: World) -> None:
    inbox, last = world.session("u1", {"10#a[]", "10#b[]"}), world.session("u2", {"10#z[]"})
    world.commit("10#a[]")
    world.commit("10#b[]")
    world.commit("10#a[]", "10#z[]")
    await told(last)
    assert inbox.totals["10#a[]"].op_count == 2
    assert inbox.totals["10#b[]"].op_count == 1
    assert inbox.op_id == last.op_id


async def test_a_changed_lookup_reaches_the_sessions_that_rest_on_it(world: World) -> None:
    mine, other = world.session("u1", set(), {"l[1]"}), world.session("u2", set(), {"l[2]"})
    world.commit(lookups=("l[1]",))
    await told(mine)
    assert mine.lookups_changed
    assert not other.arrived.is_set()


async def test_a_session_that_has_not_read_yet_hears_of_every_change(world: World) -> None:
    inbox = world.watcher.register("u1")
    world.commit("10#anything[]")
    await told(inbox)
    assert inbox.lookups_changed


async def test_a_write_checkpoint_reaches_its_user_alone_once_replication_has_passed_it(world: World) -> None:
    mine, other = world.session("u1/c", {"10#a[]"}), world.session("u2/c", {"10#b[]"})
    [value] = await world.checkpoints.create(["u1/c"], f"{world.position + 1:08}")
    world.commit()
    await told(mine)
    assert mine.write_checkpoint == value
    assert mine.totals == {}
    assert not other.arrived.is_set()


async def test_sessions_end_with_their_version(world: World) -> None:
    inbox = world.session("u1", {"10#a[]"})
    world.writer.start_version(11, sync_config="other", slot_name="s", source_identity="i")
    world.writer.finish_snapshot(11)
    world.commit(version=11)
    await told(inbox)
    assert inbox.ended
    assert world.watcher.served().version.number == 11


async def test_an_unregistered_session_leaves_nothing_behind(world: World) -> None:
    inbox = world.session("u1", {"10#a[]"}, {"l[1]"})
    assert world.watcher.session_count == 1
    world.watcher.unregister(inbox)
    assert world.watcher.session_count == 0
    later = world.session("u2", {"10#a[]"})
    world.commit("10#a[]")
    await told(later)
    assert not inbox.arrived.is_set()


async def test_the_watcher_knows_how_many_sessions_share_a_bucket(world: World) -> None:
    one, two = world.session("u1", {"10#a[]", "10#b[]"}), world.session("u2", {"10#a[]"})
    assert [world.watcher.listeners(bucket) for bucket in ("10#a[]", "10#b[]", "10#c[]")] == [2, 1, 0]
    assert set(world.watcher.inboxes()) == {one, two}
    world.watcher.unregister(one)
    assert world.watcher.listeners("10#a[]") == 1
