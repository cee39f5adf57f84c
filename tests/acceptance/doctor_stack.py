"""What tests of `syncline doctor` share: a healthy stack, projects that differ from it in one thing, and proxies that spoil one thing."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import yaml

from syncline.testing.service_process import ServiceProcess, token
from tests.support.command_line import run_command_line

__all__ = ["ADMIN_TOKEN", "Diagnosed", "Spoiling", "diagnosed", "project", "spoiling"]

ADMIN_TOKEN = "doctor-admin-token"
SILENCE_S = 0.5  # seconds without a line after which a proxy ends a stream


class Diagnosed:
    """What `doctor` said: its exit code, the first cause, and every check by its name."""

    def __init__(self, code: int, value: dict[str, Any]) -> None:
        self.code = code
        self.first: str | None = value["first_failed"]
        self.checks: dict[str, dict[str, Any]] = {check["name"]: check for check in value["checks"]}

    @property
    def problem(self) -> str:
        """Of the first cause."""
        return self.checks[self.first or ""]["problem"]

    @property
    def fix(self) -> str:
        """Of the first cause."""
        return self.checks[self.first or ""]["fix"]

    def outcome(self, name: str) -> str:
        """How a check ended: ok, failed, or skipped with its reason."""
        check = self.checks[name]
        return f"skipped: {check['reason']}" if check["outcome"] == "skipped" else check["outcome"]


def diagnosed(folder: Path, *arguments: str, bearer: str | None = None, **environment: str) -> Diagnosed:
    """Run `syncline doctor` in a folder with a service.yaml; `bearer` is the user's token, "" for none."""
    bearer = token("u1") if bearer is None else bearer
    config = ["-c", "service.yaml"] if (folder / "service.yaml").exists() else []
    given = ["--token", bearer] if bearer else []
    done = run_command_line(folder, "doctor", *config, *given, "--output", "json", *arguments, **environment)
    assert done.out.startswith("{"), done.text
    if bearer:
        assert bearer not in done.text
    return Diagnosed(done.code, json.loads(done.out))


def project(folder: Path, healthy: ServiceProcess, **sections: Any) -> Path:
    """A folder with the healthy stack's files, sections of service.yaml replaced (None: left out)."""
    folder.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((healthy.folder / "service.yaml").read_text())
    config["storage"] = {"type": "sqlite", "path": str(folder / "storage")}
    config |= sections
    text = yaml.safe_dump({key: value for key, value in config.items() if value is not None})
    (folder / "service.yaml").write_text(text)
    (folder / "sync-config.yaml").write_text((healthy.folder / "sync-config.yaml").read_text())
    return folder


class Spoiling(http.server.ThreadingHTTPServer):
    """A proxy before a service on this machine that spoils one thing.

    `kind`: "buffers" gives an answer when it is complete, "cuts-idle" ends a stream once it is silent, "no-upgrade" passes no upgrade
    on, "no-preflight" answers OPTIONS itself, "twice" adds a header for browsers again, "no-service" knows no path of a sync service,
    "clock" has a Date header of `date_s`.
    """

    daemon_threads = True
    kind = ""
    target_port = 0
    date_s = 0.0

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.upstream: list[http.client.HTTPConnection] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def cut(self) -> None:
        """End what is under way to the service: a handler that waits for the end of a stream gets it."""
        for connection in self.upstream:
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Spoiling  # pyright: ignore[reportIncompatibleVariableOverride]  # it serves no other

    def do_POST(self) -> None:
        self._pass_on()

    def do_GET(self) -> None:
        self._pass_on()

    def do_OPTIONS(self) -> None:
        if self.server.kind == "no-preflight":
            self._send(405, [], b"")
        else:
            self._pass_on()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.date_s or timestamp, usegmt=True)

    def _pass_on(self) -> None:
        if self.server.kind == "no-service":
            self._send(404, [("Content-Type", "text/html")], b"<html>Not Found</html>")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target_port, timeout=30)
        self.server.upstream.append(connection)
        # As proxies do: the headers of the hop, and with them an upgrade, are not passed on.
        dropped = {"host", "connection", "content-length"}
        if self.server.kind == "no-upgrade":
            dropped.add("upgrade")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        if "Upgrade" in headers:
            headers["Connection"] = "Upgrade"
        try:
            connection.request(self.command, self.path, body, headers)
            reply = connection.getresponse()
            kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in _OF_THE_HOP]
            if self.server.kind == "twice":
                kept += [(name, value) for name, value in kept if name.lower() == "access-control-allow-origin"]
            streams = self.path == "/sync/stream" and reply.status == 200 and self.server.kind != "buffers"
            if streams and self.server.kind == "cuts-idle":
                self._relay_until_silent(connection, reply, kept)
                return
            content = b"" if reply.status == 101 else (reply.readline() if streams else reply.read())
            self._send(reply.status, kept, content)
            reply.close()
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # it was cut, or nobody waits any more
        finally:
            connection.close()

    def _relay_until_silent(
        self, connection: http.client.HTTPConnection, reply: http.client.HTTPResponse, headers: list[tuple[str, str]]
    ) -> None:
        """Lines as they come; the end once nothing came for SILENCE_S."""
        assert connection.sock is not None
        self.send_response(200)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(TimeoutError), reply:
            while line := reply.readline():
                self.wfile.write(line)
                connection.sock.settimeout(SILENCE_S)  # from the first line on: that may take its time

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        return


_OF_THE_HOP = {"connection", "content-length", "transfer-encoding", "date", "server"}


@contextmanager
def spoiling(kind: str, healthy: ServiceProcess, *, date_s: float = 0.0) -> Generator[Spoiling]:
    """A proxy of this kind before the healthy stack."""
    with Spoiling(("127.0.0.1", 0)) as server:
        server.kind, server.target_port, server.date_s = kind, healthy.port, date_s
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.cut()
            server.shutdown()
            thread.join()
