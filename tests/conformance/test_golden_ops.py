"""What an operator meets: exit codes, probes and metrics, against recordings of the reference (tests/fixtures/golden/ops)."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, free_port, token
from syncline.testing.waiting import eventually_sync
from tests.support.command_line import run_command_line

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "ops"
SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists: {auto_subscribe: true, query: SELECT * FROM lists}
"""
STILL_RUNNING = "still running, stopped: 0"
DIFFERENT = {
    "test-connection, ok": (0, "the reference fails on a metric of its own; ours checks what it says"),
    "migrate down": (0, "the reference drops its own log of migrations, then misses it"),
    "migrate sideways, on an empty database": (1, "a word that is no direction is refused"),
    "migrate up after that": (0, "nothing was spoiled by the wrong word"),
    "unknown command": (2, "one command line for service and project; the official one for projects ends so"),
    "start, service config misses storage": (STILL_RUNNING, "without the section, buckets are kept in SQLite"),
}
"""Titles of recordings that end in another way here, and why."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One command of commands.txt: its words, and its exit code (or that it had to be stopped)."""

    title: str
    words: list[str]
    ended: int | str


def recordings() -> list[Recording]:
    """All commands, in their order: each finds what the ones before have left."""
    found: list[Recording] = []
    for block in ("\n" + (GOLDEN / "commands.txt").read_text()).split("\n## ")[1:]:
        title, command, ended = block.splitlines()[:3]
        code = ended.removeprefix("exit ")
        words = [word for word in command.removeprefix("$ ").split() if word not in ("-c", "svc.yaml")]
        found.append(Recording(title, words, int(code) if code.isdecimal() else code))
    return found


@dataclass(slots=True)
class Setting:
    """The configuration of one recording."""

    overrides: dict[str, Any] = field(default_factory=dict[str, Any])
    text: str | None = None  # the whole file instead
    drop: str = ""  # a section to leave out


def setting_of(title: str, dsn: str, busy_port: int) -> Setting:
    """What was set up for a recording, as its title says."""
    nowhere = dsn.rpartition("/")[0] + "/nowhere"
    storage = {"type": "postgresql", "uri": dsn, "sslmode": "disable", "schema": "ops"}
    source = {"type": "postgresql", "uri": dsn, "sslmode": "disable"}
    setting = Setting({"storage": storage})
    changes: dict[str, dict[str, Any]] = {
        "source unreachable": {
            "replication": {"connections": [source | {"uri": f"postgresql://a:b@127.0.0.1:{free_port()}/x"}]}
        },
        "source database missing": {"replication": {"connections": [source | {"uri": nowhere}]}},
        "storage database missing": {"storage": storage | {"uri": nowhere}},
        "storage missing": {"storage": storage | {"uri": nowhere}},
        "sync config file missing": {"sync_config": {"path": "nowhere.yaml"}},
        "sync config invalid": {"sync_config": {"content": "x"}},
        "exit_on_error false": {"sync_config": {"content": "x", "exit_on_error": False}},
        "two connections": {"replication": {"connections": [source, source]}},
        "port in use": {"port": busy_port},
    }
    for part, change in changes.items():
        if part in title:
            setting.overrides |= change
    if "not YAML" in title:
        setting.text = "replication: [\n"
    if "unset !env" in title:
        setting.text = "port: !env PS_NOT_SET\n"
    if "!env without PS_" in title:
        setting.text = "port: !env HOME\n"
    if "misses storage" in title:
        setting.drop = "storage"
    return setting


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """A source that is set up."""
    postgres_database.execute(
        "CREATE TABLE lists (id text PRIMARY KEY, name text); CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    return postgres_database


@pytest.mark.requirement(182, 183)
def test_every_command_ends_as_recorded_or_differently_on_purpose(source: ScratchDatabase, tmp_path: Path) -> None:
    ours: dict[str, int | str] = {}
    expected: dict[str, int | str] = {}
    with http_port_in_use() as busy_port:
        for number, recording in enumerate(recordings()):
            title = recording.title
            if title == "test-connection, no publication":
                source.execute("DROP PUBLICATION powersync")
            expected[title] = DIFFERENT[title][0] if title in DIFFERENT else recording.ended
            folder = tmp_path / str(number)
            ours[title] = play(recording, setting_of(title, source.dsn, busy_port), folder, source.dsn)
            if title == "test-connection, no publication":
                source.execute("CREATE PUBLICATION powersync FOR ALL TABLES")
    assert ours == expected
    assert DIFFERENT.keys() <= ours.keys()


def play(recording: Recording, setting: Setting, folder: Path, dsn: str) -> int | str:
    """Run one command; how it ended."""
    process = ServiceProcess(folder, dsn=dsn, sync_config=SYNC_CONFIG)
    path = folder / "service.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text()) | setting.overrides
    document.pop(setting.drop, None)
    path.write_text(yaml.safe_dump(document) if setting.text is None else setting.text)
    still_running = DIFFERENT.get(recording.title, (recording.ended,))[0] == STILL_RUNNING
    if not still_running:
        return run_command_line(folder, *recording.words, "-c", "service.yaml", XDG_DATA_HOME=str(folder)).code
    return play_start(process, recording.words)


def play_start(process: ServiceProcess, words: list[str]) -> int | str:
    """A start that goes on until it is stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(process.folder))
        if "-r" in words:
            patch.setenv("PS_RUNNER_TYPE", words[words.index("-r") + 1])
        process.start(wait_ready=False)
    try:
        process.wait_log("Listening on")
    finally:
        code = process.stop()
    return f"still running, stopped: {code}"


@contextlib.contextmanager
def http_port_in_use() -> Generator[int]:
    """A port on which somebody listens already."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


SECTIONS: dict[str, dict[str, Any]] = {
    "section absent": {},
    "use_filesystem": {"healthcheck": {"probes": {"use_filesystem": True}}},
    "use_http": {"healthcheck": {"probes": {"use_http": True}}},
    "use_legacy": {"healthcheck": {"probes": {"use_legacy": True}}},
    "section empty": {"healthcheck": {"probes": {}}},
}


def recorded_probes(title: str) -> tuple[dict[str, int], list[str]]:
    """Status of each HTTP probe of a section of probes.txt, and the files that are left at the end."""
    block = next(b for b in (GOLDEN / "probes.txt").read_text().split("## ") if b.startswith(title))
    statuses = {path: int(status) for path, status in re.findall(r"HTTP (\S+): (\d+)", block)}
    files = re.findall(r"'\.probes/(\w+)'", block)
    return statuses, files


@pytest.mark.parametrize("title", SECTIONS)
def test_probes_are_there_as_recorded_for_each_setting(title: str, source: ScratchDatabase, tmp_path: Path) -> None:
    statuses, files = recorded_probes(title)
    assert len(statuses) == 3
    process = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG, **SECTIONS[title])
    process.start(wait_ready=False)
    try:
        process.wait_log("Serving version")
        process.wait_log("Connected to the source")
        if files:
            eventually_sync(
                lambda: sorted(path.name for path in (process.folder / ".probes").glob("*")) == sorted(files)
            )
        assert {path: probe(process.port, path) for path in statuses} == statuses
    finally:
        assert process.stop() == 0
    left = sorted(path.name for path in (process.folder / ".probes").glob("*"))
    assert left == sorted(files)
    assert all((process.folder / ".probes" / name).read_text().isdecimal() for name in left)


def probe(port: int, path: str) -> int:
    """The status of a probe."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.fixture
def measured(source: ScratchDatabase, tmp_path: Path) -> Generator[tuple[ServiceProcess, int]]:
    """A service with metrics, and their port."""
    port = free_port()
    process = ServiceProcess(
        tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG, telemetry={"prometheus_port": port}
    )
    with process:
        yield process, port


def scrape(port: int) -> dict[str, tuple[str, set[str], float]]:
    """Type, labels and value of every metric."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    return {
        sample.name: (family.type, set(sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_of_the_reference_is_there_with_its_type_and_labels(measured: tuple[ServiceProcess, int]) -> None:
    process, port = measured
    lines = [line.split("\t") for line in (GOLDEN / "metrics.tsv").read_text().splitlines() if line.count("\t") == 2]
    recorded = {name: (kind, set(labels.replace("-", "").split(",")) - {""}) for name, kind, labels in lines[1:]}
    assert len(recorded) == 13
    assert {name: (kind, labels) for name, (kind, labels, _) in scrape(port).items()} == recorded
    sample = (GOLDEN / "metrics-sample.txt").read_text()
    assert set(re.findall(r"^\w+", sample, re.MULTILINE)) == set(recorded)
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    connection.request("POST", "/sync/stream", body="{}", headers={"Authorization": f"Token {token('u1')}"})
    first = connection.getresponse().readline()
    assert first
    eventually_sync(lambda: scrape(port)["powersync_data_sent_bytes_total"][2] >= len(first))
    assert scrape(port)["powersync_concurrent_connections"][2] == 1
    connection.close()
    eventually_sync(lambda: scrape(port)["powersync_concurrent_connections"][2] == 0)
    assert scrape(port)["powersync_operation_storage_size_bytes"][2] > 0
