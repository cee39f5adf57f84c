"""What every bench needs: a Postgres of its own, tables of a known size, and the service as a process of its own."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import psycopg
import yaml

from syncline.embedded import EmbeddedPostgres

__all__ = [
    "SYNC_CONFIG",
    "ServiceProcess",
    "connect",
    "cpu_seconds",
    "fill",
    "free_port",
    "make_table",
    "postgres",
    "token",
    "wait_until",
]

SECRET = b"syncline-bench-secret-0123456789abcdef"
KEY_ID, AUDIENCE = "bench", "syncline-bench"
START_TIMEOUT_S = 120.0  # seconds until the service serves: the copy of the source is in it

SYNC_CONFIG = """\
config:
  edition: 3
streams:
  mine:
    auto_subscribe: true
    query: SELECT * FROM items WHERE owner_id = auth.user_id()
"""

TABLE = """
CREATE TABLE items (
    id text PRIMARY KEY, owner_id text NOT NULL, title text NOT NULL, body text NOT NULL,
    amount integer NOT NULL, done boolean NOT NULL, created_at timestamptz NOT NULL
);
CREATE PUBLICATION powersync FOR ALL TABLES;
"""
INSERT = """
INSERT INTO items SELECT
    gen_random_uuid()::text, {owner}, 'Item number ' || n, repeat(md5(n::text), 4), n, n %% 2 = 0, now()
FROM generate_series(%s::bigint, %s::bigint) AS n
"""
"""Rows of about 240 bytes of text."""


@contextmanager
def postgres() -> Generator[EmbeddedPostgres]:
    """A server for one bench, with room for its log. No fsync: the disk of the day is not what is measured."""
    with EmbeddedPostgres(settings={"shared_buffers": "256MB", "max_wal_size": "4GB"}) as server:
        yield server


def connect(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    """An autocommit connection."""
    return psycopg.connect(dsn, autocommit=True)


def make_table(dsn: str) -> None:
    """The table `items` and the publication."""
    with connect(dsn) as connection:
        connection.execute(TABLE.encode())


def fill(connection: psycopg.Connection[tuple[Any, ...]], rows: int, *, start: int = 1, owner: str = "'bench'") -> None:
    """Insert rows in one statement. `owner` is an SQL expression of `n`, the row's number."""
    connection.execute(INSERT.format(owner=owner).encode(), (start, start + rows - 1))


def token(user_id: str) -> str:
    """A token that the service of the bench accepts."""
    now_s = int(time.time())
    payload = {"sub": user_id, "aud": AUDIENCE, "iat": now_s, "exp": now_s + 3600}
    return jwt.encode(payload, SECRET, algorithm="HS256", headers={"kid": KEY_ID})


def wait_until(condition: Callable[[], bool], *, timeout_s: float = START_TIMEOUT_S, interval_s: float = 0.005) -> None:
    """Return when `condition()` holds. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the bench waited too long")
        time.sleep(interval_s)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ServiceProcess:
    """`syncline start` over one database, in a folder of its own that is deleted at the end."""

    def __init__(self, dsn: str, *, sync_config: str = SYNC_CONFIG, connections_max: int = 2000) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="syncline-bench-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "sync-config.yaml").write_text(sync_config)
        secret = base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()
        key = {"kty": "oct", "alg": "HS256", "kid": KEY_ID, "k": secret}
        config = {
            "replication": {"connections": [{"type": "postgresql", "uri": dsn, "sslmode": "disable"}]},
            "storage": {"type": "sqlite", "path": "storage"},
            "port": self.port,
            "sync_config": {"path": "sync-config.yaml"},
            "client_auth": {"jwks": {"keys": [key]}, "audience": [AUDIENCE]},
            "api": {"parameters": {"max_concurrent_connections": connections_max}},
        }
        (self.folder / "service.yaml").write_text(yaml.safe_dump(config))

    @property
    def base_url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage(self) -> Path:
        """The folder of the storage files."""
        return self.folder / "storage"

    @property
    def pid(self) -> int:
        """Process id of the running service."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait_ready: bool = True) -> None:
        """Start the process; by default return when streams are served."""
        with (self.folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "syncline.cli.main", "start", "-c", "service.yaml"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        if wait_ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return when the readiness probe says yes. Raises RuntimeError with the log when the process has ended."""
        wait_until(lambda: self._probe() == 200, interval_s=0.02)

    def stop(self) -> None:
        """SIGTERM, wait, delete the folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> ServiceProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _probe(self) -> int:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the service ended:\n{(self.folder / 'service.log').read_text()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/probes/readiness")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
