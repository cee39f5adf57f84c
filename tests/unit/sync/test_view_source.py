"""Which sessions are read together, on real SQLite storage; readings are counted, and held back where a test needs that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from syncline.errors import LimitExceeded, StorageUnavailable, SynclineError
from syncline.protocol.ops import OpType
from syncline.protocol.requests import StreamRequest
from syncline.storage.base import CheckpointView, StorageReader, WriteCheckpoints
from syncline.storage.model import FlushBatch, NewOp
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.reader import SqliteReader
from syncline.storage.sqlite.write_checkpoints import SqliteWriteCheckpoints
from syncline.storage.sqlite.writer import SqliteWriter
from syncline.sync.checkpoint_watcher import CheckpointWatcher, Inbox
from syncline.sync.limits import VIEW_BUCKETS_MAX, VIEW_READS_MAX, VIEWS_MAX, StreamLimits
from syncline.sync.stream import StreamContext, SyncStream
from syncline.sync.view_source import ViewSource
from syncline.sync_config.plan import BucketQuery, ConnectionData, SyncPlan
from syncline.testing.waiting import eventually
from tests.support.sync_config import fixed_buckets

VERSION = 10
Found = tuple[CheckpointView | None, int | None]


class CountingReader:
    """A reader of real storage that notes how many sessions each reading holds. Readings wait while `holding`."""

    def __init__(self, reader: SqliteReader) -> None:
        self._reader = reader
        self.sizes: list[int] = []
        self.under_way = 0
        self.most_under_way = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.fails: Exception | None = None

    async def views(
        self, version: int, queries: Sequence[BucketQuery]
    ) -> Sequence[CheckpointView | SynclineError] | None:
        self.sizes.append(len(queries))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.go_on.wait()
            if self.fails is not None:
                raise self.fails
            return await self._reader.views(version, queries)
        finally:
            self.under_way -= 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class CountingWriteCheckpoints:
    """Real write checkpoints whose readings are noted."""

    def __init__(self, checkpoints: SqliteWriteCheckpoints) -> None:
        self._checkpoints = checkpoints
        self.sizes: list[int] = []

    async def reached_all(self, user_keys: Collection[str], position: str) -> dict[str, int]:
        self.sizes.append(len(user_keys))
        return await self._checkpoints.reached_all(user_keys, position)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoints, name)


class World:
    def __init__(self, writer: SqliteWriter, reader: SqliteReader, checkpoints: SqliteWriteCheckpoints) -> None:
        self.writer = writer
        self.stored_checkpoints = checkpoints
        self.reader, self.checkpoints = CountingReader(reader), CountingWriteCheckpoints(checkpoints)
        self.plan = SimpleNamespace(has_custom_write_checkpoints=False)
        self.watcher = CheckpointWatcher(
            reader=cast("StorageReader", self.reader),
            write_checkpoints=cast("WriteCheckpoints", self.checkpoints),
            compile_plan=lambda _text: cast("SyncPlan", self.plan),
        )
        self.source = ViewSource(
            cast("StorageReader", self.reader), cast("WriteCheckpoints", self.checkpoints), self.watcher
        )
        self.position = 0

    def commit(self, *buckets: str) -> None:
        ops = [NewOp(bucket, OpType.PUT, "t", "1", 1, "k", "{}") for bucket in buckets]
        if ops:
            self.writer.flush(VERSION, FlushBatch(ops=ops))
        self.position += 1
        self.writer.commit(VERSION, f"{self.position:08}")
        self.watcher.wake()

    def start(
        self,
        user_key: str,
        *buckets: str,
        expected: int = 1,
        start_query: Callable[[], BucketQuery] | None = None,
        version: int = VERSION,
    ) -> tuple[Inbox, asyncio.Task[Found]]:
        """A session that begins to read."""
        inbox = self.watcher.register(user_key)
        start_query = start_query or (lambda: fixed_buckets(*buckets))
        reading = self.source.read(inbox, version, start_query, buckets_expected=expected, with_write_checkpoint=True)
        return inbox, asyncio.create_task(reading)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    storage = SqliteStorage(tmp_path)
    writer, reader, checkpoints = storage.open_writer(), storage.open_reader(), storage.open_write_checkpoints()
    writer.start_version(VERSION, sync_config="", slot_name="s", source_identity="i")
    writer.finish_snapshot(VERSION)
    world = World(writer, reader, checkpoints)
    world.commit()
    yield world
    writer.close()
    await reader.close()
    await checkpoints.close()


async def all_of(readings: Sequence[asyncio.Task[Found]]) -> list[Found]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*readings)


async def test_sessions_that_open_at_once_are_few_readings_and_each_gets_its_own(world: World) -> None:
    users = [f"user {number}" for number in range(500)]
    world.commit(*users)
    await world.stored_checkpoints.create(users[::2], f"{world.position:08}")
    await world.stored_checkpoints.create(users[1::2], "99999999")
    started = [world.start(user, user) for user in users]
    found = await all_of([task for _, task in started])
    for number, (user, (inbox, _), (view, reached)) in enumerate(zip(users, started, found, strict=True)):
        assert view is not None
        assert list(view.totals) == [user]
        assert inbox.buckets == (user,)
        assert world.watcher.listeners(user) == 1
        assert (reached is not None) == (number % 2 == 0)
    assert max(world.reader.sizes) == VIEWS_MAX
    assert sum(world.reader.sizes) == 500
    assert len(world.reader.sizes) == -(-500 // VIEWS_MAX)
    assert world.reader.most_under_way == VIEW_READS_MAX
    assert sorted(world.checkpoints.sizes) == sorted(world.reader.sizes)


async def test_what_is_asked_for_while_readings_are_under_way_comes_together_afterwards(world: World) -> None:
    world.reader.go_on.clear()
    tasks: list[asyncio.Task[Found]] = []
    for number in range(VIEW_READS_MAX):
        tasks.append(world.start(f"first {number}")[1])
        await eventually(lambda: len(world.reader.sizes) == len(tasks))
    for number in range(10):  # one after the other, each in a turn of its own
        tasks.append(world.start(f"later {number}")[1])
        await asyncio.sleep(0)
    world.reader.go_on.set()
    await all_of(tasks)
    assert world.reader.sizes == [1] * VIEW_READS_MAX + [10]


async def test_a_session_with_very_many_buckets_is_read_by_itself(world: World) -> None:
    names = [f"b{number}" for number in range(VIEW_BUCKETS_MAX)]
    world.commit(*names)
    small = [world.start(f"before {number}", "b0")[1] for number in range(5)]
    large = world.start("large", *names, expected=VIEW_BUCKETS_MAX)[1]
    small += [world.start(f"after {number}", "b1")[1] for number in range(100)]
    found = await all_of([large, *small])
    assert world.reader.sizes == [5, 1, *[VIEWS_MAX] * 3, 4]
    assert found[0][0] is not None
    assert len(found[0][0].totals) == VIEW_BUCKETS_MAX


async def test_a_large_reading_under_way_does_not_hold_up_small_ones(world: World) -> None:
    held = asyncio.Event()
    real = world.reader._reader.views

    async def views(version: int, queries: Sequence[BucketQuery]) -> Sequence[CheckpointView | SynclineError] | None:
        if world.reader.sizes == [1]:
            await held.wait()
        return await real(version, queries)

    world.reader._reader.views = views  # pyright: ignore[reportAttributeAccessIssue]  # the same, but slower
    large = world.start("large", "a", expected=VIEW_BUCKETS_MAX)[1]
    await eventually(lambda: world.reader.sizes == [1])
    small = [world.start(f"small {number}", "a")[1] for number in range(100)]
    await all_of(small)
    assert not large.done()
    held.set()
    await all_of([large])


async def test_sessions_of_whom_nothing_is_known_are_taken_for_ones_like_those_read_last(world: World) -> None:
    names = [f"b{number}" for number in range(VIEW_BUCKETS_MAX // 4)]
    await all_of([world.start("first", *names, expected=0)[1]])
    await all_of([world.start(f"next {number}", *names, expected=0)[1] for number in range(10)])
    assert world.reader.sizes == [1, 4, 4, 2]


async def test_a_session_with_too_many_buckets_fails_alone(world: World) -> None:
    def too_many() -> BucketQuery:
        raise LimitExceeded("The connection has more than 3 buckets")
        yield ["l[1]"]  # what makes it a query

    (inbox, failing), (_, other) = world.start("failing", start_query=too_many), world.start("other", "a")
    assert await other != (None, None)
    with pytest.raises(LimitExceeded) as caught:
        await failing
    assert caught.value.error_code == "PSYNC_S2305"
    assert inbox.buckets == ()
    assert world.reader.sizes == [2], "one reading brought both"


async def test_a_query_that_breaks_off_a_reading_fails_its_own_session_only(world: World) -> None:
    """A name that SQLite cannot take: no error of ours, and all of the transaction is lost."""
    started = [world.start(f"user {number}", "a") for number in range(3)]
    broken = world.start("broken", "lone surrogate \ud800")[1]
    assert all(view is not None for view, _ in await all_of([task for _, task in started]))
    with pytest.raises(UnicodeEncodeError):
        await broken
    assert world.reader.sizes == [4, 1, 1, 1, 1]
    assert [inbox.buckets for inbox, _ in started] == [("a",)] * 3


async def test_a_user_whose_write_checkpoint_cannot_be_read_fails_alone(world: World) -> None:
    fine, broken = world.start("fine", "a")[1], world.start("lone surrogate \ud800", "a")[1]
    assert (await fine)[0] is not None
    with pytest.raises(UnicodeEncodeError):
        await broken


async def test_storage_that_does_not_answer_fails_all_who_wait_and_the_next_reading_goes_through(world: World) -> None:
    world.reader.fails = StorageUnavailable("gone")
    tasks = [world.start(f"user {number}", "a")[1] for number in range(3)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, StorageUnavailable) for each in found)
    assert world.reader.sizes == [3], "what is gone is not asked again for each of them"
    world.reader.fails = None
    assert (await world.start("next", "a")[1])[0] is not None


async def test_a_session_that_left_is_neither_read_nor_told_to_the_watcher(world: World) -> None:
    world.reader.go_on.clear()
    under_way = [world.start(f"under way {number}", "a") for number in range(VIEW_READS_MAX)]
    await eventually(lambda: world.reader.under_way == 1)
    waiting, stays = world.start("waiting", "a"), world.start("stays", "a")
    await eventually(lambda: world.reader.under_way == 2)
    queued = world.start("queued", "b")
    await asyncio.sleep(0)
    for inbox, task in (under_way[0], waiting, queued):
        task.cancel()
        await asyncio.wait([task])
        world.watcher.unregister(inbox)
    world.reader.go_on.set()
    await all_of([under_way[1][1], stays[1]])
    assert world.watcher.listeners("a") == 2
    assert world.watcher.listeners("b") == 0
    assert world.reader.sizes == [2, 2], "nobody waited for the queued one any more"


async def test_sessions_of_two_versions_are_never_read_together(world: World) -> None:
    old, new = world.start("old", "a")[1], world.start("new", "a", version=99)[1]
    assert (await old)[0] is not None
    assert await new == (None, None), "that version has no checkpoint"
    assert world.reader.sizes == [1, 1]


async def test_a_change_while_a_session_waits_for_its_reading_concerns_it(world: World) -> None:
    """It is registered and unsettled, so that nothing falls between its reading and its listening."""
    watching = asyncio.create_task(world.watcher.run())
    await world.watcher.wait_until_serving()
    world.reader.go_on.clear()
    inbox, task = world.start("user", "a")
    await eventually(lambda: world.reader.under_way == 1)
    world.commit("other")
    async with asyncio.timeout(10):
        await inbox.arrived.wait()
    assert inbox.lookups_changed
    world.reader.go_on.set()
    await all_of([task])
    inbox.arrived.clear()
    world.commit("unconcerned")
    world.commit("a")
    async with asyncio.timeout(10):
        await inbox.arrived.wait()
    assert list(inbox.totals) == ["a"], "settled: of other buckets it is not told"
    watching.cancel()
    await asyncio.wait([watching])


async def test_streams_that_open_together_get_their_first_lines_and_one_over_its_limit_an_error(world: World) -> None:
    def query_buckets(connection: ConnectionData, *_: object, buckets_max: int, **__: object) -> BucketQuery:
        yield from ()
        names = [f"{connection.user_id} {number}" for number in range(5 if connection.user_id == "user 7" else 1)]
        if len(names) > buckets_max:
            raise LimitExceeded(f"The connection has more than {buckets_max} buckets")
        return (yield from fixed_buckets(*names))

    world.plan.query_buckets = query_buckets
    world.commit(*(f"user {number} 0" for number in range(50)))
    watching = asyncio.create_task(world.watcher.run())
    await world.watcher.wait_until_serving()
    context = StreamContext.of(
        reader=cast("StorageReader", world.reader),
        write_checkpoints=cast("WriteCheckpoints", world.checkpoints),
        watcher=world.watcher,
        limits=StreamLimits(buckets_max=3),
        now_s=lambda: 0.0,
    )

    async def first_lines(user_id: str) -> list[bytes]:
        connection = ConnectionData({"sub": user_id})
        stream = SyncStream(context, connection=connection, request=StreamRequest(raw_data=True), expires_at_s=3600)
        found: list[bytes] = []
        lines = stream.lines()
        async for line in lines:
            found.append(line)
            if b"checkpoint_complete" in line:
                break
        await lines.aclose()
        return found

    opened = [first_lines(f"user {number}") for number in range(50)]
    async with asyncio.timeout(20):
        found = await asyncio.gather(*opened, return_exceptions=True)
    assert isinstance(found.pop(7), LimitExceeded)
    for lines in found:
        assert isinstance(lines, list)
        assert [line[2:8] for line in lines] == [b"checkp", b'data":', b"checkp"]
    assert world.reader.sizes == [VIEWS_MAX, 50 - VIEWS_MAX]
    assert world.watcher.session_count == 0
    watching.cancel()
    await asyncio.wait([watching])
