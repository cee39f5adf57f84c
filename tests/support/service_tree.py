"""A service of several processes as tests see it from outside: who its processes are, and what a stream of it says."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually_sync
from tests.support.sync_config import LISTS_OF_OWNER

__all__ = [
    "DEADLINE_S",
    "SYNC_CONFIG",
    "Stream",
    "ask",
    "children_of",
    "is_running",
    "kill_all",
    "named_pid",
    "open_stream",
    "wait_for_children",
]

DEADLINE_S = 45.0  # seconds for anything to happen on a busy machine; what it takes is measured by `bench failover`
SYNC_CONFIG = LISTS_OF_OWNER


def children_of(pid: int) -> list[int]:
    """Child processes of a process, oldest first; none where it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return sorted(int(child) for child in text.split())


def wait_for_children(service: ServiceProcess, count: int) -> list[int]:
    """The children, once there are so many."""

    def right() -> list[int]:
        found = children_of(service.pid)
        return found if len(found) == count else []

    return eventually_sync(right, timeout_s=DEADLINE_S, what=f"{count} children")


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_all(service: ServiceProcess) -> None:
    """`kill -9` for every process of a service: the supervisor first, so that it starts nobody again."""
    children = children_of(service.pid)
    service.kill()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually_sync(lambda: not any(map(is_running, children)), timeout_s=DEADLINE_S, what="all processes are gone")


def named_pid(service: ServiceProcess, name: str) -> int:
    """Process id of the newest child in a place, as the log told it (`PS_LOG_LEVEL` debug)."""
    found = [line for line in service.log.splitlines() if f"Started {name} " in line]
    return int(found[-1].rpartition("pid=")[2].split()[0].rstrip("]"))


class Stream:
    """One open stream of a user, read line by line. `positions` are those after what was read; `data_ops` what was sent so far."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self._connection = connection
        self._response = response
        self.positions: dict[str, str] = {}
        self.ops: list[dict[str, Any]] = []

    def next_line(self) -> dict[str, Any]:
        """The next line. Raises ConnectionError where the stream has ended."""
        text = self._response.readline()
        if not text:
            raise ConnectionError("the stream has ended")
        line: dict[str, Any] = json.loads(text)
        if "data" in line:
            self.positions[line["data"]["bucket"]] = line["data"]["next_after"]
            self.ops += line["data"]["data"]
        return line

    def until(self, object_id: str) -> None:
        """Read on until a complete checkpoint with an operation on this row was sent."""
        while True:
            line = self.next_line()
            if "checkpoint_complete" in line and any(op.get("object_id") == object_id for op in self.ops):
                return

    def until_complete(self) -> None:
        """Read on until the next complete checkpoint."""
        while "checkpoint_complete" not in self.next_line():
            pass

    def until_end(self) -> None:
        """Read on until the service ends the stream."""
        with contextlib.suppress(ConnectionError):
            while True:
                self.next_line()

    def close(self) -> None:
        """Leave."""
        self._connection.close()


@contextmanager
def open_stream(
    port: int, *, user: str = "u1", positions: dict[str, str] | None = None, timeout_s: float = DEADLINE_S
) -> Generator[Stream]:
    """A stream from a node, with what the client has already."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    buckets = [{"name": name, "after": after} for name, after in (positions or {}).items()]
    headers = {"Authorization": f"Token {token(user)}", "Content-Type": "application/json"}
    connection.request("POST", "/sync/stream", json.dumps({"raw_data": True, "buckets": buckets}), headers)
    stream = Stream(connection, connection.getresponse())
    try:
        yield stream
    finally:
        stream.close()


def ask(port: int, path: str, *, body: str | None = None, bearer: str = "") -> tuple[int, bytes]:
    """Status and body of an answer; 0 where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Authorization": f"Token {bearer}", "Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()
