from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, cast

import pytest

from syncline.client.core.status import SyncStatus
from syncline.client.errors import ConnectionFailed, RetryableUploadError, ServiceError, UploadNotCompleted
from syncline.client.retry import RETRY_AFTER_MAX_S, Exponential, Fixed, RetryPolicy
from syncline.client.uploader import Uploader
from syncline.testing.simulated_loop import simulate


class FakeQueue:
    """Entries by crud id; `acknowledged` counts write checkpoints that were stored."""

    def __init__(self, entries: list[int]) -> None:
        self.entries = entries
        self.newest = max(entries, default=0)
        self.dirty = bool(entries)
        self.acknowledged = 0
        self.head_since: datetime | None = None
        self.wake: Callable[[], None] | None = None

    def on_wake(self, wake: Callable[[], None] | None) -> None:
        self.wake = wake

    async def head(self) -> int | None:
        return self.entries[0] if self.entries else None

    async def sequence_to_acknowledge(self) -> int | None:
        return self.newest if self.dirty else None

    async def awaited_write_checkpoint(self) -> int | None:
        return None

    async def set_target(self, write_checkpoint: int, *, sequence: int) -> bool:
        if self.entries or sequence != self.newest:
            return False
        self.dirty = False
        self.acknowledged += 1
        return True

    def write(self) -> None:
        self.newest += 1
        self.entries.append(self.newest)
        self.dirty = True


class FakeBoard:
    """The status as the uploader sees and writes it; every pause it is told of can be waited for."""

    def __init__(self) -> None:
        self.current = SyncStatus(connected=True)
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.uploading: list[bool] = []

    def publish_upload(self, *, uploading: bool, error: Exception | None, queue_since: datetime | None = None) -> None:
        if error is not None and not uploading and error is not self.current.upload_error:
            self.errors.put_nowait(error)
        self.current = SyncStatus(connected=True, uploading=uploading, upload_error=error)
        self.uploading.append(uploading)


class World:
    """An uploader, its queue, and a backend that answers with the next of `failures` before it takes everything."""

    def __init__(
        self,
        entries: int = 1,
        failures: Sequence[Exception] = (),
        *,
        pause_s: float = 3600,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.queue = FakeQueue(list(range(1, entries + 1)))
        self.board = FakeBoard()
        self.failures = list(failures)
        self.uploads = 0
        self.times_s: list[float] = []
        self.checkpoints = 0
        self.finished = asyncio.Event()
        self.before_checkpoint: Callable[[], None] = lambda: None
        self.uploader = Uploader(
            queue=cast("Any", self.queue),
            upload=self._upload,
            request_write_checkpoint=self._checkpoint,
            renew_client_id=self._renew,
            finished=self.finished.set,
            status=cast("Any", self.board),
            retry=retry or Fixed(pause_s, jitter=0),
            network_retry=retry or Fixed(pause_s, jitter=0),
            throttle_s=0,
            write_checkpoint_timeout_s=3600,
            random_unit=lambda: 0.0,
        )

    async def _upload(self) -> None:
        self.uploads += 1
        self.times_s.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        self.queue.entries.clear()

    async def _checkpoint(self) -> int:
        self.checkpoints += 1
        self.before_checkpoint()
        return self.checkpoints

    async def _renew(self) -> None: ...

    async def __aenter__(self) -> World:
        self.task = asyncio.create_task(self.uploader.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def done(self) -> None:
        async with asyncio.timeout(5):
            await self.finished.wait()

    async def failed(self) -> Exception:
        async with asyncio.timeout(5):
            return await self.board.errors.get()


@pytest.mark.requirement(42, 259)
async def test_the_wait_that_the_backend_asked_for_takes_the_place_of_the_pause() -> None:
    async with World(failures=[RetryableUploadError("busy", retry_after_s=0)]) as world:
        await world.done()  # the pause would have been an hour
        assert world.uploads == 2


@pytest.mark.requirement(32, 248)
async def test_a_failed_upload_is_tried_again_without_any_further_write() -> None:
    """powersync-native 15: a failed round left the backlog until the next local write."""
    async with World(failures=[RuntimeError("bug")] * 3, pause_s=0) as world:
        await world.done()
        assert (world.uploads, world.queue.entries) == (4, [])


@pytest.mark.requirement(43)
async def test_an_exception_is_never_a_completion() -> None:
    """powersync-kotlin 340."""
    async with World(failures=[RuntimeError("thrown by the app")]) as world:
        await world.failed()
        assert world.queue.entries == [1]
        assert not world.finished.is_set()
        assert world.checkpoints == 0


async def test_a_write_that_races_the_checkpoint_is_uploaded_before_the_gate_opens() -> None:
    """powersync-js PR 1055."""
    async with World() as world:

        def race() -> None:
            world.before_checkpoint = lambda: None
            world.queue.write()

        world.before_checkpoint = race
        await world.done()
        assert (world.uploads, world.checkpoints, world.queue.acknowledged) == (2, 2, 1)


@pytest.mark.requirement(31)
async def test_a_head_that_does_not_move_is_an_error_and_a_pause() -> None:
    async with World() as world:

        async def forget() -> None:
            world.uploads += 1

        world.uploader._upload = forget
        assert isinstance(await world.failed(), UploadNotCompleted)
        assert world.uploads == 1


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (ConnectionFailed("gone"), True),
        (OSError("gone"), True),
        (ServiceError("down", status_code=500), False),
        (RetryableUploadError("busy", retry_after_s=300), False),
    ],
)
async def test_a_working_network_ends_the_pause_that_was_made_for_it(error: Exception, ended: bool) -> None:
    async with World(failures=[error]) as world:
        assert await world.failed() is error
        await asyncio.sleep(0)  # the pause begins
        world.uploader.network_works()
        if ended:
            await world.done()
        else:
            for _ in range(10):
                await asyncio.sleep(0)
            assert world.uploads == 1


async def test_the_app_ends_any_pause() -> None:
    async with World(failures=[ServiceError("down", status_code=500)]) as world:
        await world.failed()
        await asyncio.sleep(0)
        assert world.queue.wake is not None
        world.queue.wake()
        await world.done()
        assert world.uploads == 2
    assert world.queue.wake is None  # nobody looks at the queue any more


async def test_the_status_never_says_uploading_when_nobody_uploads() -> None:
    """Python client reference, 12: a partition in the middle of an upload left `uploading` for ever."""
    async with World(failures=[ConnectionFailed("gone")]) as world:
        await world.failed()
        assert not world.board.current.uploading
    async with World() as world:
        hanging = asyncio.Event()

        async def hang() -> None:
            hanging.set()
            await asyncio.Event().wait()

        world.uploader._upload = hang
        await hanging.wait()
        assert world.board.current.uploading
    assert not world.board.current.uploading


def pauses_of(failures: Sequence[Exception], retry: RetryPolicy) -> list[float]:
    """Virtual seconds between the attempts."""

    async def run(_: object) -> list[float]:
        async with World(failures=failures, retry=retry) as world:
            await world.finished.wait()
            return [after - before for before, after in itertools.pairwise(world.times_s)]

    return simulate(run, seed=1)


@pytest.mark.requirement(42, 259)
def test_on_a_virtual_clock_every_pause_is_what_was_asked_for_or_what_the_policy_says() -> None:
    down = [ServiceError("down", status_code=503)] * 4
    asked: list[Exception] = [
        ServiceError("busy", status_code=429, retry_after_s=17.0),
        RetryableUploadError("later", retry_after_s=1.5),
        RetryableUploadError("later"),
        ConnectionFailed("gone"),
        ServiceError("for ever", status_code=503, retry_after_s=1e9),
    ]
    found = pauses_of([*down, *asked], Exponential(first_s=1, cap_s=60, jitter=0))
    assert found == pytest.approx([1, 2, 4, 8, 17, 1.5, 60, 60, RETRY_AFTER_MAX_S], abs=0.01)
