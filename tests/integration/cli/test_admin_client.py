"""Calls of the admin API to servers that do not answer as a sync service does."""

from __future__ import annotations

import http.server
import json
import re
import socket
import threading
from collections.abc import Generator
from typing import Any

import pytest

from syncline.cli import admin_client
from syncline.cli.admin_client import AdminClient, AdminRefused
from syncline.cli.exit_codes import CommandFailed, ServiceUnreachable
from syncline.cli.project import AdminAddress

TOKEN = "a-very-secret-token"


class Strange(http.server.ThreadingHTTPServer):
    """Answers everything with `status` and `body`, and keeps what it was asked."""

    daemon_threads = True
    status = 200
    body = b"{}"
    asked: list[tuple[str, str, Any]]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Strange  # pyright: ignore[reportIncompatibleVariableOverride]  # it serves no other

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.server.asked.append((self.path, str(self.headers["authorization"]), json.loads(self.rfile.read(length))))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        return


@pytest.fixture
def server() -> Generator[Strange]:
    with Strange(("127.0.0.1", 0), _Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client(server: Strange, path: str = "", *, unset: str = "", timeout_s: float = 20) -> AdminClient:
    url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    return AdminClient(AdminAddress(url, TOKEN, "cli.yaml", "cli.yaml", unset), timeout_s=timeout_s)


def test_what_is_sent(server: Strange) -> None:
    server.body = b'{"data": {"errors": []}}'
    assert client(server, "/below/a/prefix").validate("streams: ä") == {"errors": []}
    assert server.asked == [("/below/a/prefix/api/admin/v1/validate", f"Bearer {TOKEN}", {"sync_rules": "streams: ä"})]


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>", "did not answer as a sync service"),
        (200, b"[]", "did not answer as a sync service"),
        (200, b'{"data": 1}', "did not answer as a sync service"),
        (404, b"<html>", "HTTP 404"),
        (502, b"", "HTTP 502"),
        (
            422,
            b'{"error": {"code": "PSYNC_S4105", "description": "No.", "details": ["a", "b"]}}',
            "PSYNC_S4105.*No.\na\nb",
        ),
        (401, b'{"error": {"code": "PSYNC_S2101", "description": "Authorization failed"}}', "from cli.yaml is none of"),
    ],
)
def test_other_answers_are_told(status: int, body: bytes, says: str, server: Strange) -> None:
    server.status, server.body = status, body
    with pytest.raises(CommandFailed) as failed:
        client(server).diagnostics()
    assert isinstance(failed.value, AdminRefused) == (status != 200)
    assert re.search(says, str(failed.value), re.DOTALL), str(failed.value)
    assert TOKEN not in str(failed.value)
    assert "<html>" not in str(failed.value)


def test_a_variable_that_is_not_set_is_named(server: Strange) -> None:
    server.status, server.body = 401, b'{"error": {"code": "PSYNC_S2101", "description": "Authorization failed"}}'
    with pytest.raises(AdminRefused, match="PS_ADMIN_TOKEN is not set"):
        client(server, unset="PS_ADMIN_TOKEN").diagnostics()


def test_an_answer_without_end_is_not_read(server: Strange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_client, "ANSWER_BYTES_MAX", 100)
    server.body = b" " * 98 + b"{}"
    with pytest.raises(CommandFailed, match="did not answer as"):
        client(server).schema()
    server.body += b" "
    with pytest.raises(CommandFailed, match="more than 100 bytes"):
        client(server).schema()


def test_a_server_that_says_nothing_is_given_up(server: Strange) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = AdminAddress(f"http://127.0.0.1:{silent.getsockname()[1]}", TOKEN, "cli.yaml", "cli.yaml")
        with pytest.raises(ServiceUnreachable, match="cannot be reached"):
            AdminClient(address, timeout_s=0.1).diagnostics()


@pytest.mark.parametrize("url", ["http://127.0.0.1:port", "http://", "http://[", "https://name.invalid:99999"])
def test_addresses_that_lead_nowhere(url: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        AdminClient(AdminAddress(url, TOKEN, "cli.yaml", "cli.yaml"), timeout_s=1).diagnostics()
    assert TOKEN not in str(failed.value)
