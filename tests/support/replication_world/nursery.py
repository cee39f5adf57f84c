"""A process that has imported the replicator already and forks one for each life: importing takes longer than most lives.

Commands come as lines of JSON on standard input, answers go the same way on standard output: a birth is answered with the new
process's id, its death with its exit status (negative: the signal that ended it).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from syncline import failpoints

__all__ = ["Child", "Nursery"]

MODULE = "tests.support.replication_world.nursery"
BIRTH_MAX_S = 60.0  # seconds until a replicator has a process
DEATH_MAX_S = 60.0  # seconds until a killed one is gone


class Child:
    """A replicator. As with `subprocess.Popen`: `returncode` is None while it runs, as `poll` last saw it."""

    def __init__(self, pid: int, dead: SimpleQueue[int]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._dead = dead

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        if self.returncode is None:
            try:
                self.returncode = self._dead.get_nowait()
            except Empty:
                return None
        return self.returncode

    def end(self) -> None:
        """Kill it where it runs, and wait until it is gone."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.returncode = self._dead.get(timeout=DEATH_MAX_S)


class Nursery:
    """The process that forks, as a test sees it. Close it when all children have ended."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._born: SimpleQueue[int] = SimpleQueue()
        self._dead: dict[int, SimpleQueue[int]] = {}
        self._births = threading.Lock()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, arguments: list[str], *, failpoint: str, output: Path) -> Child:
        """Have a replicator born that ends at `failpoint` (`name:count`; empty for none) and writes its log to `output`."""
        assert self._process.stdin is not None
        with self._births:
            self._process.stdin.write(json.dumps([arguments, failpoint, str(output)]) + "\n")
            self._process.stdin.flush()
            pid = self._born.get(timeout=BIRTH_MAX_S)
        return Child(pid, self._dead[pid])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if "born" in event:
                self._dead[event["born"]] = SimpleQueue()
                self._born.put(event["born"])
            else:
                self._dead[event["dead"]].put(event["status"])


def _live(main: Callable[[list[str]], None], arguments: list[str], failpoint: str, output: str) -> None:
    """A replicator's whole life, in a process of its own that has just been forked."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)
    os.close(0)
    crash = failpoints.make_failpoint({failpoints.VARIABLE: failpoint}, os._exit)  # pyright: ignore[reportPrivateUsage] - as there
    harmless = failpoints.failpoint
    for module in list(sys.modules.values()):
        if getattr(module, "failpoint", None) is harmless:
            vars(module)["failpoint"] = crash
    main(arguments)


def _tell(answers: int, event: dict[str, int]) -> None:
    os.write(answers, (json.dumps(event) + "\n").encode())


def _run() -> None:
    """Fork on command, and tell of births and deaths, until standard input ends."""
    from tests.support.replication_world.replicator import main

    answers = os.dup(1)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: _bury(answers))
    for line in iter(sys.stdin.buffer.readline, b""):
        arguments, failpoint, output = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # a birth is told before its death
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            os.close(answers)
            status = 1
            try:
                _live(main, arguments, failpoint, output)
                status = 0
            finally:
                os._exit(status)  # pyright: ignore[reportPrivateUsage] - nothing of the parent's is to be cleaned up here
        _tell(answers, {"born": pid})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _bury(answers: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(answers, {"dead": pid, "status": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    _run()
