"""The process that `syncline start` is: it starts the replicator and the workers, and keeps them running. It serves nothing itself.

Children are forked, so that they share the memory of everything that is imported. That is sound because this process has one thread, no
event loop, no database connection and no file of SQLite's; what it owns is closed in the child before anything else is done there.
What is to be done is decided in `supervisor_plan`; here are the sockets, signals and processes.

Signals: SIGTERM and SIGINT end the service (twice: at once), SIGHUP reads the configuration again and replaces the workers.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncline.api.probes import ProbeFiles, Probes
from syncline.errors import SynclineError
from syncline.service.config import ServiceConfig
from syncline.service.listening import reserve_port
from syncline.service.roles import Role
from syncline.service.supervisor_messages import (
    Alive,
    CheckpointMade,
    Deployed,
    FrameReader,
    Message,
    MessageInvalid,
    Outbox,
    Peers,
    Replication,
    Started,
    Stop,
)
from syncline.service.supervisor_plan import (
    HANG_TIMEOUT_S,
    Finish,
    Kill,
    Part,
    Say,
    StartChild,
    SupervisorPlan,
    TellStop,
)

if TYPE_CHECKING:
    from syncline.service.metrics import MetricsExporter
    from syncline.service.supervisor_metrics import MetricsPort

__all__ = ["Birth", "Supervisor"]

log = logging.getLogger(__name__)

TICK_S = 1.0  # seconds between two messages to workers about how the others are
READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Birth:
    """What a forked child begins with. `port` is shared by all workers."""

    part: Part
    name: str
    config: ServiceConfig
    port: int
    channel: socket.socket
    supervisor_pid: int


class _Child:
    """A running child as the supervisor sees it."""

    def __init__(self, name: str, part: Part, pid: int, channel: socket.socket) -> None:
        self.name = name
        self.part = part
        self.pid = pid
        self.channel = channel
        self.outbox = Outbox()
        self.reader = FrameReader()
        self.alive: Alive | None = None
        self.heard = True  # whether the channel is open


class Supervisor:
    """One service of several processes. `reload` reads the configuration again; it raises ConfigError."""

    def __init__(
        self,
        config: ServiceConfig,
        *,
        role: Role,
        workers: int,
        reload: Callable[[], ServiceConfig],
        exporter: MetricsExporter | None = None,
        hang_timeout_s: float = HANG_TIMEOUT_S,
    ) -> None:
        self._config = config
        self._reload = reload
        self._plan = SupervisorPlan(replicates=role.replicates, workers=workers, hang_timeout_s=hang_timeout_s)
        self._children: dict[int, _Child] = {}
        self._touched_s: dict[str, float] = {}  # by place, also of one whose child is being started again
        self._replication: Replication | None = None
        self._exporter = exporter
        self._metrics_port: MetricsPort | None = None
        self._probe_files = ProbeFiles(self._make_probes()) if config.probes.files else None
        self._next_tick_s = 0.0
        # Not epoll: its list of files is the kernel's, and a child that closes its copy would take them off ours.
        self._selector = selectors.PollSelector()
        self._signals, self._signals_in = socket.socketpair()
        self._handlers: dict[int, object] = {}
        self._port = reserve_port(config.host, config.port)

    def run(self) -> int | Birth:
        """Run until the service has ended; its exit code. In a child: what it is to do. Raises ConfigError."""
        self._listen_to_signals()
        if self._exporter is not None and self._config.prometheus_port is not None:
            from syncline.service.supervisor_metrics import MetricsPort  # with the library of metrics, which few need

            self._metrics_port = MetricsPort(self._exporter.registry, self._selector)
            self._metrics_port.listen(self._config.host, self._config.prometheus_port)
        if self._probe_files is not None:
            self._probe_files.begin()
        gc.collect()
        gc.freeze()  # what all children share is not looked at by their garbage collectors, and stays shared
        try:
            return self._loop()
        finally:
            self._close()

    def _loop(self) -> int | Birth:
        while True:
            now_s = time.monotonic()
            for instruction in self._plan.step(now_s):
                outcome = self._perform(instruction)
                if outcome is not None:
                    return outcome
            if now_s >= self._next_tick_s:
                self._next_tick_s = now_s + TICK_S
                self._tick()
            due_s = min(self._next_tick_s, self._plan.next_due_s() or self._next_tick_s)
            for key, events in self._selector.select(max(0.0, due_s - time.monotonic())):
                key.data(events)
            self._reap()

    def _perform(self, instruction: object) -> int | Birth | None:
        """Do it. An exit code where all is over, a birth in the child that was just forked."""
        match instruction:
            case StartChild():
                return self._start(instruction)
            case TellStop(child):
                self._send(child, Stop())
            case Kill(child):
                if child in self._children:
                    os.kill(self._children[child].pid, signal.SIGKILL)
            case Say(level, event, text):
                log.log(level, "%s", text, extra={"event": event})
            case Finish(code):
                return code
            case _:
                raise AssertionError(instruction)
        return None

    def _start(self, start: StartChild) -> Birth | None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        supervisor_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            port = self._port.getsockname()[1]
            return Birth(start.part, start.name, self._config, port, theirs, supervisor_pid)
        theirs.close()
        ours.setblocking(False)
        child = self._children[start.child] = _Child(start.name, start.part, pid, ours)
        self._touched_s.setdefault(start.name, time.time())

        def on_channel(events: int) -> None:
            self._on_channel(start.child, events)

        self._selector.register(ours, selectors.EVENT_READ, on_channel)
        log.debug("Started %s", start.name, extra={"event": "service.child_started", "pid": pid, "child": child.name})
        return None

    def _on_channel(self, number: int, events: int) -> None:
        child = self._children[number]
        if events & selectors.EVENT_WRITE:
            self._flush(child)
        if not events & selectors.EVENT_READ:
            return
        try:
            data = child.channel.recv(READ_BYTES)
            messages = child.reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, MessageInvalid) as exc:
            log.error("%s is not understood and is ended: %s", child.name, exc, extra={"event": "service.channel"})
            data, messages = b"", []
            os.kill(child.pid, signal.SIGKILL)
        for message in messages:
            self._hear(number, child, message)
        if not data:  # it ends, or has ended; `_reap` finds out how
            self._selector.unregister(child.channel)
            child.heard = False

    def _hear(self, number: int, child: _Child, message: Message) -> None:
        match message:
            case CheckpointMade():
                for other, worker in self._children.items():
                    if worker.part is Part.WORKER:
                        self._send(other, message)
            case Alive():
                if child.alive is None or message.touched_s > child.alive.touched_s:
                    self._plan.alive(number, time.monotonic())
                child.alive = message
                self._touched_s[child.name] = message.touched_s
                if message.replication is not None:
                    self._replication = message.replication
                if self._exporter is not None:
                    self._exporter.feed(child.name, message.metrics)
            case Started():
                self._plan.started(number, time.monotonic())
            case Deployed():
                for other, replicator in self._children.items():
                    if replicator.part is Part.REPLICATOR:
                        self._send(other, message)
            case Peers() | Stop():
                log.error("%s says what only we say", child.name, extra={"event": "service.channel"})

    def _send(self, number: int, message: Message) -> None:
        child = self._children.get(number)
        if child is not None and child.heard:
            child.outbox.put(message)
            self._flush(child)

    def _flush(self, child: _Child) -> None:
        """Send what can be sent now; the rest when the child reads again. Nothing waits here for a child."""
        try:
            while child.outbox:
                child.outbox.sent(child.channel.send(child.outbox.next_bytes()))
        except BlockingIOError:
            pass
        except OSError:  # it has closed its end: reading says so too
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.outbox else 0)
        key = self._selector.get_key(child.channel)
        if key.events != wanted:
            self._selector.modify(child.channel, wanted, key.data)

    def _reap(self) -> None:
        for number, child in list(self._children.items()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            if child.heard:
                self._selector.unregister(child.channel)
            child.channel.close()
            del self._children[number]
            if child.part is Part.REPLICATOR:
                self._replication = None
            if self._exporter is not None and not any(other.name == child.name for other in self._children.values()):
                self._exporter.forget(child.name)
            self._plan.ended(number, os.waitstatus_to_exitcode(status), time.monotonic())

    def _tick(self) -> None:
        peers = Peers(touched_s=self._oldest_touch_s, replication=self._replication)
        for number, child in self._children.items():
            if child.part is Part.WORKER:
                self._send(number, peers)
        if self._probe_files is not None:
            self._probe_files.write()
        if self._metrics_port is not None:
            self._metrics_port.end_late(time.monotonic())

    @property
    def _oldest_touch_s(self) -> float:
        return min(self._touched_s.values(), default=0.0)

    def _make_probes(self) -> Probes:
        """Of the whole service: ready when somebody is, alive as the least lively."""
        return Probes(
            is_ready=lambda: any(child.alive.ready for child in self._children.values() if child.alive),
            is_started=lambda: any(child.alive.started for child in self._children.values() if child.alive),
            touched_s=lambda: self._oldest_touch_s,
        )

    def _listen_to_signals(self) -> None:
        for end in (self._signals, self._signals_in):
            end.setblocking(False)
        signal.set_wakeup_fd(self._signals_in.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            self._handlers[number] = signal.signal(number, _noted)
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)

    def _on_signals(self, _events: int) -> None:
        for number in self._signals.recv(READ_BYTES):
            if number in (signal.SIGTERM, signal.SIGINT):
                log.info("Stopping", extra={"event": "service.stopping"})
                self._plan.stop()
            elif number == signal.SIGHUP:
                self._roll()

    def _roll(self) -> None:
        try:
            self._config = self._reload()
        except SynclineError as exc:
            log.error(
                "The configuration cannot be used, and nothing is changed: %s", exc, extra={"event": "service.refused"}
            )
        else:
            self._plan.roll()

    def _close(self) -> None:
        """Let go of everything that is this process' alone: at the end, and in each child."""
        signal.set_wakeup_fd(-1)
        for number in self._handlers:
            signal.signal(number, signal.SIG_DFL)
        if self._metrics_port is not None:
            self._metrics_port.close()
        for child in self._children.values():
            child.channel.close()
        self._selector.close()
        for end in (self._signals, self._signals_in, self._port):
            end.close()


def _noted(_number: int, _frame: object) -> None:
    """The signal stands in the socket that wakes the loop."""
