"""A child of the supervisor: one worker of the API, or the replicator. The same `Service`, in another role and with links to the others."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from syncline.errors import SyncConfigError, SynclineError
from syncline.service.event_loop import run_in_loop
from syncline.service.exit_codes import EXIT_FAILED, EXIT_FATAL, EXIT_OK, exit_code_of
from syncline.service.links import ServiceLinks
from syncline.service.logs import set_up_logging
from syncline.service.replicator import ReplicatorThread
from syncline.service.roles import Role
from syncline.service.supervisor import Birth
from syncline.service.supervisor_messages import (
    ERROR_CHARACTERS_MAX,
    Alive,
    CheckpointMade,
    Deployed,
    Message,
    Peers,
    Replication,
    Started,
    Stop,
)
from syncline.service.supervisor_plan import STOP_TIMEOUT_S, Part
from syncline.service.wiring import Service
from syncline.service.worker_channel import WorkerChannel
from syncline.storage.model import Checkpoint

__all__ = ["log_refusal", "run_worker"]

log = logging.getLogger(__name__)

ALIVE_INTERVAL_S = 1.0  # seconds between two signs of life
ORPHAN_LOOK_S = 0.5  # seconds between two looks whether the supervisor still runs
ORPHAN_TIMEOUT_S = 3.0  # seconds that a child without a supervisor gets to end by itself


def run_worker(birth: Birth) -> int:
    """Run until told to stop, or until the supervisor is no more; the exit code of this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the supervisor has it too, and tells us
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging_config = birth.config.logging
    tags = {**logging_config.tags, "process": birth.name}
    set_up_logging(replace(logging_config, tags=tags), secrets=birth.config.secrets)
    _end_with(birth.supervisor_pid)
    return exit_code_of(lambda: run_in_loop(lambda: _serve(birth)), failed=EXIT_FATAL, say=log_refusal)


def log_refusal(error: SynclineError) -> None:
    """Why a process cannot start."""
    if not isinstance(error, SyncConfigError):  # told in the log already, with every problem
        log.error("%s", error, extra={"event": "service.refused", "code": error.error_code})


async def _serve(birth: Birth) -> int:
    worker = _Worker(birth)
    try:
        return await worker.run()
    finally:
        worker.channel.close()


class _Worker:
    def __init__(self, birth: Birth) -> None:
        self._birth = birth
        self._stopping = asyncio.Event()
        self._neighbour = _Neighbour()
        self.channel = WorkerChannel(birth.channel, on_message=self._hear, on_end=self._stopping.set)
        replicates = birth.part is Part.REPLICATOR
        self._service = Service(
            birth.config,
            role=Role.SYNC if replicates else Role.API,
            listens=not replicates,
            links=ServiceLinks(
                port=birth.port,
                on_checkpoint=self._pass_on,
                on_deployed=lambda: self.channel.send(Deployed()),
                replication=self._neighbour,
                replicates_beside=lambda: self._neighbour.is_active,
                touched_s=lambda: self._neighbour.all_touched_s,
            ),
        )

    async def run(self) -> int:
        """From start to stop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        starting = asyncio.create_task(self._service.start())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
                return EXIT_OK
            await starting
            self.channel.send(Started())
            return await self._stay(stopping)
        finally:
            stopping.cancel()
            await self._service.stop()

    async def _stay(self, stopping: asyncio.Task[bool]) -> int:
        """Tell of oneself until the end."""
        replicator = self._service.replicator
        while not stopping.done():
            if replicator is not None and replicator.has_ended:
                return EXIT_FAILED  # it has said why; the supervisor starts another
            self.channel.send(self._alive(replicator))
            await asyncio.wait({stopping}, timeout=ALIVE_INTERVAL_S)
        return EXIT_OK

    def _alive(self, replicator: ReplicatorThread | None) -> Alive:
        probes = self._service.probes
        assert probes is not None, "the service has started"
        return Alive(
            touched_s=replicator.status.touched_s if replicator is not None else time.time(),
            ready=probes.ready,
            started=probes.started,
            metrics=self._service.metrics.snapshot(),
            replication=_replication_of(replicator) if replicator is not None else None,
        )

    def _pass_on(self, checkpoint: Checkpoint) -> None:
        self.channel.send(CheckpointMade(checkpoint.version, checkpoint.op_id))

    def _hear(self, message: Message) -> None:
        match message:
            case CheckpointMade():
                self._service.wake()
            case Peers():
                self._neighbour.heard(message)
            case Deployed():
                self._service.look_for_deployments()
            case Stop():
                self._stopping.set()
            case Started() | Alive():
                log.error("The supervisor says what only we say", extra={"event": "service.channel"})


class _Neighbour:
    """The replicator beside this process, as the supervisor tells of it: `syncline.api.admin.status.ReplicationState`."""

    def __init__(self) -> None:
        self.all_touched_s = time.time()
        """The oldest sign of life of all processes of the service."""
        self._replication = Replication()

    @property
    def is_active(self) -> bool:
        """Whether it holds the lease."""
        return self._replication.active

    @property
    def touched_s(self) -> float:
        """Its last sign of life; 0 while it stands by, or is not there."""
        return self._replication.touched_s

    @property
    def last_error(self) -> str:
        """Why replication does not go on at present."""
        return self._replication.last_error

    def checkpoint_ms(self, version: int) -> int | None:
        """When the newest checkpoint of a version became visible."""
        return self._replication.checkpoint_ms.get(version)

    def heard(self, peers: Peers) -> None:
        """What the supervisor says now."""
        self.all_touched_s = peers.touched_s
        self._replication = peers.replication or Replication()


def _replication_of(replicator: ReplicatorThread) -> Replication:
    return Replication(
        active=replicator.is_active,
        touched_s=replicator.touched_s,
        last_error=replicator.last_error[:ERROR_CHARACTERS_MAX],
        checkpoint_ms=replicator.checkpoint_times,
    )


def _end_with(supervisor_pid: int, *, leave: Callable[[int], object] = os._exit) -> None:
    """Have this process ended when the supervisor is no more, also where its event loop hangs."""

    def watch() -> None:
        wait = threading.Event().wait
        while os.getppid() == supervisor_pid:
            wait(ORPHAN_LOOK_S)
        wait(ORPHAN_TIMEOUT_S)
        leave(EXIT_FAILED)

    assert ORPHAN_TIMEOUT_S < STOP_TIMEOUT_S
    threading.Thread(target=watch, name="orphan-watch", daemon=True).start()
