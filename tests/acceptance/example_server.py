"""The server of the examples, as a process that is started as their README says, for the tests that run examples."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from syncline.embedded.ports import free_port
from syncline.testing.waiting import eventually_sync

__all__ = ["EXAMPLES", "PROGRAM_S", "START_S", "Server", "answers", "example_server"]

EXAMPLES = Path(__file__).parents[2] / "examples"
START_S = 90.0  # seconds until the server must be ready, on a machine with much else to do
PROGRAM_S = 100.0  # seconds for one program


@dataclass(frozen=True)
class Server:
    """The running server: what it printed, for the environment of a program, and its database."""

    environment: dict[str, str]
    dsn: str
    folder: Path

    def start(
        self, name: str, *arguments: str, user_id: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Begin an example, with folders and a user of its own; `environment` goes before what the server has printed."""
        home = self.folder / user_id
        home.mkdir(parents=True, exist_ok=True)
        own = {
            "USER_ID": user_id,
            "XDG_DATA_HOME": str(home),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
        }
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        if name.startswith("test_"):
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
        return subprocess.Popen(
            command,
            cwd=EXAMPLES if name.startswith("test_") else home,
            env=os.environ | self.environment | own | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        name: str,
        *arguments: str,
        user_id: str,
        typed: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run an example to its end; what it printed."""
        process = self.start(name, *arguments, user_id=user_id, environment=environment)
        try:
            printed, errors = process.communicate(typed, timeout=PROGRAM_S)
        finally:
            process.kill()
        assert process.returncode == 0, printed + errors
        assert "Traceback" not in errors, errors
        return printed

    def rows(self, query: str, user_id: str) -> list[tuple[object, ...]]:
        """What Postgres holds of a user."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode(), (user_id,)).fetchall()


@contextmanager
def example_server(folder: Path) -> Generator[Server]:
    """Start `examples/server`, wait until it serves, and end it with SIGTERM."""
    told = folder / "server.out"
    port = free_port()
    with told.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "server"), str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
    try:

        def is_ready() -> bool:
            assert process.poll() is None, told.read_text()
            return "POWERSYNC_TOKEN=" in told.read_text() and answers(f"http://127.0.0.1:{port}/api/auth/jwks")

        eventually_sync(is_ready, timeout_s=START_S, what="the examples' server")
        printed = told.read_text()
        exports = [line.removeprefix("export ") for line in printed.splitlines() if line.startswith("export ")]
        environment = dict(setting.split("=", 1) for line in exports for setting in line.split())
        dsn = re.search(r"# Postgres: (\S+)", printed)
        assert dsn is not None
        yield Server(environment, dsn[1], folder)
    finally:
        process.terminate()
        assert process.wait(30) == 0, told.read_text()


def answers(url: str) -> bool:
    """Whether a server gives this page."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
