"""The replicator in a thread of its own: its event loop blocks on storage by design, and must never delay a stream.

One replicator writes a storage at a time. Over Postgres storage others stand by: they wait for the lease, take over when it is free, and
one whose lease was taken stands by in turn. A file of SQLite's belongs to one machine: a second replicator is refused there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from syncline.errors import LeaseLost, StorageUnavailable, SynclineError
from syncline.metrics import ServiceMetrics
from syncline.replication.job import DeployedConfig, JobStatus, ReplicationJob
from syncline.replication.source import Source
from syncline.service.replicator_upkeep import keep_up
from syncline.storage.base import BucketStorage, StorageWriter
from syncline.storage.model import Checkpoint

__all__ = ["ReplicatorThread"]

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 10.0  # seconds for the job to end after it was cancelled
IDLE_INTERVAL_S = 1.0  # seconds between signs of life while nothing is deployed
STANDBY_INTERVAL_S = 0.3  # seconds between two attempts of a stand-by to take the lease
LEASE_HELD = "PSYNC_S1003"  # code of the refusal while another replicator has the lease


class ReplicatorThread:
    """Runs the replication job of the deployed config, one at a time; none while nothing is deployed.

    `on_checkpoint` is called from this thread, and `small_batch` entered there around a change of few rows; `make_source` inside it,
    once per job. With `stands_by` it waits for a lease that another process holds; without, `start` refuses.
    """

    def __init__(
        self,
        *,
        storage: BucketStorage,
        make_source: Callable[[], Source],
        config: DeployedConfig | None,
        slot_name_prefix: str,
        heartbeat_interval_s: float,
        on_checkpoint: Callable[[Checkpoint], None],
        metrics: ServiceMetrics | None = None,
        stands_by: bool = False,
        small_batch: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._storage = storage
        self._small_batch = small_batch
        self._stands_by = stands_by
        self._make_source = make_source
        self._config = config
        self._slot_name_prefix = slot_name_prefix
        self._heartbeat_interval_s = heartbeat_interval_s
        self._on_checkpoint = on_checkpoint
        self._metrics = metrics
        self._thread = threading.Thread(target=self._run, name="replicator", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._deployed: asyncio.Event | None = None
        self._begun = threading.Event()
        self._failed: BaseException | None = None
        self._checkpoint_ms: dict[int, int] = {}
        self._told = ""  # why the storage cannot be written at present, as it was told
        self.status = JobStatus(phase="nothing is deployed")
        self.is_active = False
        """Whether this process holds the lease; else it stands by, or has ended."""

    def start(self) -> None:
        """Take the storage's lease, or stand by, and begin. Raises StorageUnavailable where it can do neither."""
        self._thread.start()
        self._begun.wait()
        if self._failed is not None:
            raise self._failed

    def deploy(self, config: DeployedConfig | None) -> None:
        """Go over to this config, from any thread: the running job ends, and another begins with what is stored."""
        self._config = config
        loop, deployed = self._loop, self._deployed
        if loop is not None and deployed is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(deployed.set)

    def stop(self) -> None:
        """Cancel the job, wait for it, release the lease."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(task.cancel)
        self._thread.join(STOP_TIMEOUT_S)

    @property
    def has_ended(self) -> bool:
        """Whether the thread is over, by `stop` or by a failure that it cannot go on from."""
        return self._begun.is_set() and not self._thread.is_alive()

    def checkpoint_ms(self, version: int) -> int | None:
        """When the newest checkpoint of a version became visible, in milliseconds since 1970; None before the first of this run."""
        return self._checkpoint_ms.get(version)

    @property
    def touched_s(self) -> float:
        """The last sign of life of replication, in seconds since 1970; 0 for a stand-by, which does not replicate."""
        return self.status.touched_s if self.is_active else 0.0

    @property
    def checkpoint_times(self) -> dict[int, int]:
        """`checkpoint_ms` of the versions that have one."""
        return self._checkpoint_ms

    @property
    def last_error(self) -> str:
        """Why replication does not go on at present; empty while it does."""
        return str(self.status.last_error or "")

    def _run(self) -> None:
        try:
            asyncio.run(self._take_turns())
        except asyncio.CancelledError:
            pass
        except SynclineError as exc:
            log.error("Replication has ended: %s", exc, extra={"event": "replication.end", "code": exc.error_code})
        finally:
            self._begun.set()

    async def _take_turns(self) -> None:
        """Replicate while the lease is ours, stand by while it is another's."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._deployed = asyncio.Event()
        while True:
            writer = await self._take_storage()
            self.is_active = True
            try:
                await self._follow(writer, self._deployed)
            except LeaseLost as exc:
                log.warning("%s This one stands by.", exc, extra={"event": "replication.lease_lost"})
                self._told = LEASE_HELD
            finally:
                self.is_active = False
                writer.close()

    async def _take_storage(self) -> StorageWriter:
        """The storage for writing, once no other process has it. The first attempt may be refused for good."""
        while True:
            try:
                writer = self._storage.open_writer()
            except StorageUnavailable as exc:
                is_held = exc.error_code == LEASE_HELD
                if not self._begun.is_set() and not (is_held and self._stands_by):
                    self._failed = exc
                    raise
                self._tell_wait(exc, is_held=is_held)
            except BaseException as exc:
                if not self._begun.is_set():
                    self._failed = exc
                raise
            else:
                if self._told:
                    log.info("This process replicates from now on", extra={"event": "replication.active"})
                    self._told = ""
                self._begun.set()
                return writer
            self._begun.set()
            await asyncio.sleep(STANDBY_INTERVAL_S)

    def _tell_wait(self, exc: StorageUnavailable, *, is_held: bool) -> None:
        """Stand by: said once, and again when the reason is another one."""
        self.status = JobStatus(phase="standing by" if is_held else "waiting for the storage")
        told = LEASE_HELD if is_held else exc.message
        if told == self._told:
            return
        self._told = told
        if is_held:
            log.info("%s This one stands by.", exc.message, extra={"event": "replication.standby"})
        else:
            log.warning("%s", exc, extra={"event": "replication.storage_wait", "code": exc.error_code})

    async def _follow(self, writer: StorageWriter, deployed: asyncio.Event) -> None:
        """Run the job of one config after the other."""
        upkeep = asyncio.create_task(keep_up(self._touch, writer, self._metrics))
        try:
            while True:
                config = self._config
                running = asyncio.create_task(self._idle() if config is None else self._replicate(writer, config))
                waiting = asyncio.create_task(deployed.wait())
                try:
                    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    ended = await _end(running, waiting)
                if ended is not None:
                    raise ended
                deployed.clear()
                log.info("Another sync config was deployed", extra={"event": "replication.deployed"})
        finally:
            upkeep.cancel()

    async def _replicate(self, writer: StorageWriter, config: DeployedConfig) -> None:
        source = self._make_source()
        job = ReplicationJob(
            source=source,
            writer=writer,
            config=config,
            slot_name_prefix=self._slot_name_prefix,
            heartbeat_interval_s=self._heartbeat_interval_s,
            on_checkpoint=self._note_checkpoint,
            metrics=self._metrics,
            small_batch=self._small_batch,
        )
        self.status = job.status
        try:
            await job.run()
        finally:
            await source.close()

    async def _idle(self) -> None:
        status = self.status = JobStatus(phase="nothing is deployed")
        while True:
            status.touched_s = time.time()
            await asyncio.sleep(IDLE_INTERVAL_S)

    def _touch(self) -> None:
        self.status.touched_s = time.time()

    def _note_checkpoint(self, checkpoint: Checkpoint) -> None:
        now_ms = time.time_ns() // 1_000_000
        # Replaced whole, for others read it: this version's, and that of the one before, which may still serve.
        before = [entry for entry in self._checkpoint_ms.items() if entry[0] != checkpoint.version][-1:]
        self._checkpoint_ms = dict([*before, (checkpoint.version, now_ms)])
        self._on_checkpoint(checkpoint)


async def _end(running: asyncio.Task[None], waiting: asyncio.Task[bool]) -> BaseException | None:
    """Cancel both; what the job ended with by itself, None where it was cancelled."""
    for task in (running, waiting):
        task.cancel()
    await asyncio.wait({running, waiting})
    return None if running.cancelled() else running.exception()
