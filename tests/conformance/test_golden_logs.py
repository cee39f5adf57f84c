"""Log lines of streams and of replication: the fields of the reference's (tests/fixtures/golden/ops/logs.md), by its names."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from tests.conformance.golden_http import GOLDEN

SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists: {auto_subscribe: true, query: SELECT * FROM lists}
"""
EVENTS = {
    "sync stream opened": "sync.open",
    "new checkpoint for a stream": "sync.checkpoint",
    "checkpoint complete on a stream": "sync.checkpoint_complete",
    "sync stream ended": "sync.close",
}
"""Rows of the recording's table, and what our lines about the same are called."""
ALWAYS = {"level", "message", "timestamp"}


def recorded_fields() -> dict[str, set[str]]:
    """Our event -> the names of the recorded fields. "the same" are those of a stream that was opened."""
    found: dict[str, set[str]] = {}
    for row in (GOLDEN / "ops" / "logs.md").read_text().splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        event = next((event for text, event in EVENTS.items() if cells[0].startswith(text)), None)
        if event is not None:
            listed = re.sub(r"\{[^}]*\}|\([^)]*\)|:.*$", "", cells[2].replace("ms{", "ms {"))
            names = {name.strip() for name in listed.removeprefix("the same + ").split(",")}
            found[event] = names | (found["sync.open"] if "the same" in cells[2] else set())
    assert found.keys() == set(EVENTS.values())
    return found


def stream_to_the_complete_line(service: ServiceProcess) -> None:
    headers = {"Authorization": f"Token {token('u1')}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{service.base_url}/sync/stream", b"{}", headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        while b"checkpoint_complete" not in answer.readline():
            pass


@pytest.mark.requirement(224, missing="JWKS")
def test_lines_of_streams_and_replication_have_the_recorded_fields(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(
        "CREATE TABLE lists (id text PRIMARY KEY, name text); INSERT INTO lists SELECT n, n FROM generate_series(1, 700) n;"
        "CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    logging = {"logging": {"format": "json"}}
    with ServiceProcess(tmp_path / "s", dsn=postgres_database.dsn, sync_config=SYNC_CONFIG, system=logging) as service:
        stream_to_the_complete_line(service)
        postgres_database.execute("INSERT INTO lists VALUES ('x', 'two'), ('y', 'three')")
        service.wait_log("replication.flush")
        service.wait_log("sync.close")
    lines: list[dict[str, Any]] = [json.loads(line) for line in service.log.splitlines()]
    by_event = {line.get("event"): line for line in lines}
    for event, names in recorded_fields().items():
        assert by_event[event].keys() >= names | ALWAYS, event
    assert by_event["sync.close"]["operation_counts"] == {"put": 700, "remove": 0, "move": 0, "clear": 0}
    flush = by_event["replication.flush"]
    assert flush["message"].startswith(f"[{flush['slot']}] ")
    assert (flush["rows"], flush["flushes"], flush["operations"]) == (2, 1, 2)
    assert {"position", "transactions", "data_kb"} <= flush.keys()
    activated = by_event["replication.activated"]
    assert activated["message"].startswith(f"[{activated['slot']}] ")
    assert "three" not in service.log
