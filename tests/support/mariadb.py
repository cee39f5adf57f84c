"""A private MariaDB for a test run: bootstrapped and started in about a second, on loopback, as root or not, gone when it is stopped.

The server is Debian's `mariadb-server-core` (`make mariadb`), or whatever `mariadbd` is on PATH. SYNCLINE_MYSQL_URL names another server
instead, MySQL or MariaDB, as a user who may create databases and users: `mysql+asyncmy://root:…@127.0.0.1:3306`.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from syncline.embedded.ports import free_port

__all__ = ["MARIADB_MISSING", "MariaDBServer", "mariadb_is_there", "run_statements"]

MARIADB_MISSING = "No mariadbd on this machine: `make mariadb` installs Debian's, or set SYNCLINE_MYSQL_URL."
START_TIMEOUT_S = 60.0  # seconds until the server must answer
STOP_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.02
_VARIABLE = "SYNCLINE_MYSQL_URL"
_SYSTEM_TABLES = ("system_tables.sql", "performance_tables.sql", "system_tables_data.sql")
_SCRIPTS = (
    "/usr/share/mysql/mysql_",
    "/usr/share/mariadb/mysql_",
    "/usr/share/mariadb/mariadb_",
)  # before and since 11
_FAST = (
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-log-file-size=16M",
    "--innodb-buffer-pool-size=64M",
    "--innodb-doublewrite=0",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--max-allowed-packet=64M",
)


def mariadb_is_there() -> bool:
    """Whether a server can be had: a test that needs one is skipped otherwise, with MARIADB_MISSING."""
    return bool(os.environ.get(_VARIABLE)) or (_program() is not None and _scripts() is not None)


class MariaDBServer:
    """A server of its own data directory. Use it as a context manager."""

    def __init__(self) -> None:
        self._named = os.environ.get(_VARIABLE, "")
        self._nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.started_s = 0.0
        """How long the start took."""

    def url(self, database: str = "", *, user: str = "root", password: str | None = None) -> URL:
        """Of a database, for SQLAlchemy."""
        if self._named:
            url = make_url(self._named).set(drivername="mysql+asyncmy", database=database)
            return url if user == "root" else url.set(username=user, password=password)
        return URL.create("mysql+asyncmy", user, password, "127.0.0.1", self.port, database)

    def create(self) -> URL:
        """A new database."""
        name = f"syncline_test_{uuid.uuid4().hex[:12]}"
        run_statements(self.url(), f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return self.url(name)

    def drop(self, database: URL) -> None:
        """Drop a database."""
        run_statements(self.url(), f"DROP DATABASE IF EXISTS {database.database}")

    def __enter__(self) -> Self:
        if not self._named:
            began_s = time.monotonic()
            try:
                self._bootstrap()
                self._start()
            except BaseException:
                self._stop()
                raise
            self.started_s = time.monotonic() - began_s
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def _program_arguments(self) -> list[str]:
        program = _program()
        assert program is not None, MARIADB_MISSING
        folders = [f"--datadir={self._folder / 'data'}", f"--tmpdir={self._folder}"]
        return [program, "--no-defaults", *folders, *_FAST]

    def _bootstrap(self) -> None:
        """What `mariadb-install-db` does, without the programs of other packages that it calls."""
        self._folder = Path(tempfile.mkdtemp(prefix="syncline-mariadb-"))
        (self._folder / "data").mkdir()
        if self._nobody is not None:
            for folder in (self._folder, self._folder / "data"):
                os.chown(folder, self._nobody.pw_uid, self._nobody.pw_gid)
        scripts = _scripts()
        assert scripts is not None, MARIADB_MISSING
        statements = ["CREATE DATABASE mysql;", "USE mysql;", "SET @auth_root_socket = NULL, @skip_auth_anonymous = 1;"]
        statements += [script.read_text() for script in scripts]
        done = subprocess.run(
            [*self._program_arguments, "--bootstrap"],
            input="\n".join(statements).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=self._folder,
            user=self._user,
            group=self._group,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]

    def _start(self) -> None:
        self.port = free_port()
        network = ["--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve"]
        files = [f"--socket={self._folder / 'socket'}", f"--pid-file={self._folder / 'pid'}"]
        with (self._folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [*self._program_arguments, *network, *files],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                user=self._user,
                group=self._group,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"ready for connections" not in (self._folder / "log").read_bytes():
            assert self._process.poll() is None, self._log_tail()
            assert time.monotonic() < deadline, self._log_tail()
            time.sleep(POLL_INTERVAL_S)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _user(self) -> int | None:
        return None if self._nobody is None else self._nobody.pw_uid

    @property
    def _group(self) -> int | None:
        return None if self._nobody is None else self._nobody.pw_gid

    def _log_tail(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]


def run_statements(url: URL, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements on a connection of their own, in a loop of their own; the rows of the last one."""

    async def run() -> list[tuple[Any, ...]]:
        engine = create_async_engine(url, poolclass=NullPool)
        rows: list[tuple[Any, ...]] = []
        try:
            async with engine.begin() as connection:
                for statement in statements:
                    result = await connection.execute(text(statement))
                    rows = [tuple(row) for row in result] if result.returns_rows else []
        finally:
            await engine.dispose()
        return rows

    with ThreadPoolExecutor(1) as thread:  # whatever loop is running here
        return thread.submit(lambda: asyncio.run(run())).result()


def _program() -> str | None:
    return shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")


def _scripts() -> list[Path] | None:
    """The statements that make the system tables."""
    found = ([Path(start + name) for name in _SYSTEM_TABLES] for start in _SCRIPTS)
    return next((scripts for scripts in found if all(script.exists() for script in scripts)), None)
