"""One Postgres server of ours: initdb, start, wait until it answers, stop."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from syncline.embedded.binaries import find_binaries
from syncline.embedded.ports import free_port
from syncline.errors import SourceUnavailable

__all__ = ["EmbeddedPostgres"]

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0  # seconds until the server must answer
START_ATTEMPTS_MAX = 3  # ports tried: another program may take one between the look and the bind
POLL_INTERVAL_S = 0.01  # seconds between looks at the lock file
ORPHANS_TIMEOUT_S = (
    5.0  # seconds in which a restart is tried again: processes of a killed server may hold its memory so long
)
ORPHANS_POLL_S = 0.1  # seconds between these attempts
STOP_TIMEOUT_S = 10.0  # seconds for a fast shutdown; after that the server is killed
USER = "postgres"


class EmbeddedPostgres:
    """A Postgres with `wal_level=logical` on a free loopback port.

    `data_directory` is kept when it is given, else a temporary one is deleted at the end. `durable` is False for tests: no fsync.
    `settings` go to the server as `-c name=value`; `bin_directory` names other programs than those found. As root the server runs as
    `nobody`; no user is created. Use it as a context manager, or call `start` and `stop`.
    """

    def __init__(
        self,
        *,
        data_directory: Path | None = None,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
        bin_directory: Path | None = None,
    ) -> None:
        self._nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._user = self._nobody.pw_uid if self._nobody is not None else None
        self._group = self._nobody.pw_gid if self._nobody is not None else None
        self._bin = bin_directory or find_binaries(readable_by_all=self._nobody is not None)
        self._temporary = data_directory is None
        self._folder = data_directory or Path(tempfile.mkdtemp(prefix="syncline-pg-"))
        self._settings = _server_settings(durable=durable) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def data_directory(self) -> Path:
        """Where the server keeps its data and its log."""
        return self._folder

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return self._process.pid if self._process is not None else None

    def dsn(self, database: str = "postgres") -> str:
        """Connection URI of a database. Loopback connections need no password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Start, and return when connections are accepted. Raises SourceUnavailable with the end of the server's log."""
        started_s = time.monotonic()
        try:
            self._prepare()
            self._start_on_a_free_port()
        except BaseException:  # an interrupt too: a server must not outlive the program that started it
            self.stop()
            raise
        log.info(
            "Embedded Postgres on port %d after %.1f s",
            self.port,
            time.monotonic() - started_s,
            extra={"event": "embedded.started", "port": self.port, "pid": self.pid},
        )
        return self

    def _start_on_a_free_port(self) -> None:
        for _ in range(START_ATTEMPTS_MAX):
            self.port = free_port()
            self._launch()
            if self._wait_until_ready():
                return
            self.stop(keep_folder=True)
        raise SourceUnavailable(f"The embedded Postgres did not start:\n{self._log_tail()}")

    def stop(self, *, keep_folder: bool = False) -> None:
        """Stop the server by its pid, and delete its data unless a data directory was given. Safe to call twice."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)  # fast shutdown: open connections are ended
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._temporary and not keep_folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def restart(self) -> None:
        """Stop and start on the same port and data, as an operator would."""
        port = self.port
        self.stop(keep_folder=True)
        self.port = port
        deadline = time.monotonic() + ORPHANS_TIMEOUT_S
        self._launch()
        while not self._wait_until_ready():
            if time.monotonic() > deadline:
                raise SourceUnavailable(f"The embedded Postgres did not start again:\n{self._log_tail()}")
            time.sleep(ORPHANS_POLL_S)
            self._launch()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _cluster(self) -> Path:
        return self._folder / "cluster"

    @property
    def _log_path(self) -> Path:
        return self._folder / "server.log"

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._nobody is not None:
            os.chown(self._folder, self._nobody.pw_uid, self._nobody.pw_gid)
        if (self._cluster / "PG_VERSION").exists():
            return  # a lock file in it is Postgres' to judge: it tells one left by a crash from that of a live server
        command = [str(self._bin / "initdb"), "-D", str(self._cluster), "-U", USER, "--auth=trust", "-E", "UTF8"]
        done = self._run([*command, "--locale=C.UTF-8", "--no-sync"])
        if done.returncode != 0:
            shutil.rmtree(self._cluster, ignore_errors=True)
            done = self._run([*command, "--locale=C", "--no-sync"])  # a machine without that locale
        if done.returncode != 0:
            raise SourceUnavailable(f"initdb failed:\n{done.stdout.decode(errors='replace')[-2000:]}")

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=self._folder,
            user=self._user,
            group=self._group,
        )

    def _launch(self) -> None:
        atexit.register(self.stop)
        options = self._settings | {"port": str(self.port), "unix_socket_directories": ""}
        command = [str(self._bin / "postgres"), "-D", str(self._cluster)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self._log_path.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                user=self._user,
                group=self._group,
                process_group=0,  # Ctrl-C in a terminal is for the program that started it, which stops it after all that uses it
            )

    def _wait_until_ready(self) -> bool:
        """Whether the server accepts connections: line 8 of its lock file says so. Line 1 must be its pid, a crash leaves one too."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            with contextlib.suppress(OSError, IndexError):
                lines = (self._cluster / "postmaster.pid").read_text().splitlines()
                if lines[0] == str(self.pid) and lines[7].strip() == "ready":
                    return True
            time.sleep(POLL_INTERVAL_S)
        return False

    def _log_tail(self) -> str:
        try:
            return self._log_path.read_text(errors="replace")[-2000:]
        except OSError:
            return ""


def _server_settings(*, durable: bool) -> dict[str, str]:
    settings = {
        "wal_level": "logical",
        "max_wal_senders": "20",
        "max_replication_slots": "20",
        "listen_addresses": "127.0.0.1",
        "max_connections": "100",
        "timezone": "UTC",
        "log_min_messages": "warning",
    }
    if not durable:
        # Not synchronous_commit: commits must reach the log at once, for replication streams wait for that.
        settings |= {"fsync": "off", "full_page_writes": "off"}
    return settings
