"""The replicator in a thread of its own: its event loop blocks on storage by design, and must never delay a stream."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from syncline.errors import SynclineError
from syncline.replication.job import DeployedConfig, JobStatus, ReplicationJob
from syncline.replication.source import Source
from syncline.storage.base import BucketStorage
from syncline.storage.model import Checkpoint

__all__ = ["ReplicatorThread"]

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 10.0  # seconds for the job to end after it was cancelled


class ReplicatorThread:
    """Runs one replication job. `on_checkpoint` is called from this thread; `make_source` inside it."""

    def __init__(
        self,
        *,
        storage: BucketStorage,
        make_source: Callable[[], Source],
        config: DeployedConfig,
        slot_name_prefix: str,
        heartbeat_interval_s: float,
        on_checkpoint: Callable[[Checkpoint], None],
    ) -> None:
        self._storage = storage
        self._make_source = make_source
        self._config = config
        self._slot_name_prefix = slot_name_prefix
        self._heartbeat_interval_s = heartbeat_interval_s
        self._on_checkpoint = on_checkpoint
        self._thread = threading.Thread(target=self._run, name="replicator", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = threading.Event()
        self._failed: BaseException | None = None
        self.status = JobStatus()

    def start(self) -> None:
        """Take the storage's lease and begin. Raises StorageUnavailable while another process replicates into it."""
        self._thread.start()
        self._begun.wait()
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Cancel the job, wait for it, release the lease."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(task.cancel)
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._replicate())
        except asyncio.CancelledError:
            pass
        except SynclineError as exc:
            log.error("Replication has ended: %s", exc, extra={"event": "replication.end", "code": exc.error_code})
        finally:
            self._begun.set()

    async def _replicate(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            writer = self._storage.open_writer()
        except BaseException as exc:
            self._failed = exc
            raise
        source = self._make_source()
        job = ReplicationJob(
            source=source,
            writer=writer,
            config=self._config,
            slot_name_prefix=self._slot_name_prefix,
            heartbeat_interval_s=self._heartbeat_interval_s,
            on_checkpoint=self._on_checkpoint,
        )
        self.status = job.status
        self._task = asyncio.create_task(job.run())
        self._begun.set()
        try:
            await self._task
        finally:
            await source.close()
            writer.close()
