"""`syncline start` as a process of its own, for tests that kill it."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import jwt
import yaml

from syncline.embedded.ports import free_port

__all__ = ["AUDIENCE", "KEY_ID", "SECRET", "ServiceProcess", "free_port", "token"]

SECRET = b"syncline-test-secret-0123456789abcdef"
KEY_ID = "test"
AUDIENCE = "syncline-test"
START_TIMEOUT_S = 20.0


def token(user_id: str, *, lifetime_s: int = 3600, audience: str = AUDIENCE, **claims: object) -> str:
    """A token that `ServiceProcess` accepts."""
    now_s = int(time.time())
    payload = {"sub": user_id, "aud": audience, "iat": now_s, "exp": now_s + lifetime_s, **claims}
    return jwt.encode(payload, SECRET, algorithm="HS256", headers={"kid": KEY_ID})


class ServiceProcess:
    """One service in `folder`. The port and the storage stay the same over restarts.

    Set `workers` before the start: 0 is one process, which `kill` ends whole; with more, `pid` and `kill` are about the supervisor alone;
    None leaves the number to the service.
    """

    def __init__(self, folder: Path, *, dsn: str, sync_config: str, **overrides: object) -> None:
        self.folder = folder
        self.workers: int | None = 0
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.log_path = folder / "service.log"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sync-config.yaml").write_text(sync_config)
        key = {"kty": "oct", "alg": "HS256", "kid": KEY_ID, "k": base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()}
        config = {
            "replication": {"connections": [{"type": "postgresql", "uri": dsn, "sslmode": "disable"}]},
            "storage": {"type": "sqlite", "path": "storage"},
            "port": self.port,
            "sync_config": {"path": "sync-config.yaml"},
            "client_auth": {"jwks": {"keys": [key]}, "audience": [AUDIENCE]},
        } | overrides
        (folder / "service.yaml").write_text(yaml.safe_dump(config))

    @property
    def base_url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage(self) -> Path:
        """The folder of the storage files."""
        return self.folder / "storage"

    @property
    def log(self) -> str:
        """Everything the process wrote so far."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def start(self, *, wait_ready: bool = True, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start, and wait until streams are served: the copy of the source is in that time."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "syncline.cli.main", "start", "-c", "service.yaml"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | self._workers_setting,
            )
        if wait_ready:
            try:
                self.wait_ready(timeout_s)
            except BaseException:
                self.stop()  # nobody else would: a context manager that fails to enter is not left
                raise

    @property
    def _workers_setting(self) -> dict[str, str]:
        return {"SYNCLINE_WORKERS": str(self.workers)} if self.workers is not None else {}

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the readiness probe says yes."""
        deadline = time.monotonic() + timeout_s
        while self._probe() != 200:
            assert self._process is not None
            assert self._process.poll() is None, f"the service ended:\n{self.log}"
            assert time.monotonic() < deadline, f"the service is not ready:\n{self.log}"
            time.sleep(0.02)

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """Wait for the process to end by itself; return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def wait_log(self, text: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the log holds `text`."""
        deadline = time.monotonic() + timeout_s
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{self.log}"
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Process id of the running service."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and wait for the end."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _probe(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/probes/readiness")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def __enter__(self) -> ServiceProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
