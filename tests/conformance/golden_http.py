"""Recorded HTTP exchanges: reading them, asking ours the same, and what is left of an answer once that which may differ is taken out."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

__all__ = ["GOLDEN", "Exchange", "Reply", "ask", "comparable", "read_exchanges", "read_pretty_exchanges"]

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
_TEXTS = {"message", "description", "details", "query", "error"}  # ours are our own
_VALUES = {
    "last_lsn",
    "last_keepalive_ts",
    "last_checkpoint_ts",
    "ts",
    "wal_status",
    "postgres_uri",
    "slot_name",
    "touched_at",
}
_SIZES = {"replication_lag_bytes", "safe_wal_size", "max_slot_wal_keep_size"}


@dataclass
class Exchange:
    """One recorded request and its answer."""

    label: str
    method: str
    path: str
    body: str | None
    status: int
    answer: Any  # JSON, or text
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def error(self) -> dict[str, Any] | None:
        """The error in the envelope, None where the answer is none."""
        return cast("dict[str, Any]", self.answer).get("error") if isinstance(self.answer, dict) else None


@dataclass
class Reply:
    """An answer of ours."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body as a value."""
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        """The error in the envelope."""
        return self.json["error"]


def ask(
    base_url: str, method: str, path: str, *, body: str | bytes | None = None, headers: dict[str, str] | None = None
) -> Reply:
    """One request on a connection of its own. A body is JSON unless the headers say otherwise."""
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=30)
    sent = ({"content-type": "application/json"} if body is not None else {}) | (headers or {})
    try:
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        if answer.status == 200 and path == "/sync/stream":
            return Reply(200, _headers(answer), answer.readline().decode())
        return Reply(answer.status, _headers(answer), answer.read().decode())
    finally:
        connection.close()


def _headers(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}


def read_exchanges(name: str) -> Iterator[Exchange]:
    """Exchanges of a file of raw answers: `## label`, `### METHOD path auth=… body=…`, the answer with its head."""
    label = ""
    for block in re.split(r"^(?=##)", (GOLDEN / name).read_text(), flags=re.MULTILINE):
        if block.startswith("## "):
            label = block[3:].strip()
        found = re.match(r"### (\S+) (\S+) auth=\S+ body=(.*)\nHTTP/1\.1 (\d+).*\n((?:.+\n)*)\n?", block)
        if found is None:
            continue
        method, path, body, status, head = found.groups()
        headers = dict(re.findall(r"^([\w-]+): (.*)$", head.lower(), re.MULTILINE))
        yield Exchange(
            label, method, path, None if body == "-" else body, int(status), _value(block[found.end() :]), headers
        )
        label = ""


def read_pretty_exchanges(name: str) -> Iterator[Exchange]:
    """Exchanges of a file of pretty-printed answers: `## label`, `METHOD path`, the status, the body."""
    for block in (GOLDEN / name).read_text().split("\n## ")[0:]:
        lines = block.removeprefix("## ").splitlines()
        if " " not in lines[1] or lines[1][0].isdigit():
            continue  # a stream's answer, in one line
        method, path = lines[1].split(" ")
        yield Exchange(lines[0], method, path, None, int(lines[2]), _value("\n".join(lines[3:])))


def _value(text: str) -> Any:
    text = text.strip()
    try:
        return json.loads(text)
    except ValueError:
        return text


def comparable(value: Any, key: str = "") -> Any:
    """What both services have to agree upon: all keys, and all values but texts, times, sizes and names of slots."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {name: comparable(entry, name) for name, entry in entries.items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if key == "errors" and all(isinstance(item, str) for item in items):
            return ["<text>"] if items else []  # how many they are depends on the parser
        return [comparable(item) for item in items]
    if key in _SIZES:
        return "<size>"
    if key in _VALUES:
        return "<value>" if value else value
    return "<text>" if key in _TEXTS else value
