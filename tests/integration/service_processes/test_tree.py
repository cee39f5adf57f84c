"""`syncline start --workers N`: one port, one log, one Prometheus port; children that die, that are replaced, that are left alone."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path

import psycopg
import pytest
import yaml

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, free_port, token
from syncline.testing.waiting import eventually_sync
from tests.integration.service_processes.conftest import MakeService
from tests.support.service_tree import (
    DEADLINE_S,
    SYNC_CONFIG,
    ask,
    children_of,
    is_running,
    kill_all,
    named_pid,
    open_stream,
    wait_for_children,
)


@pytest.fixture(autouse=True)
def _tells_pids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS_LOG_LEVEL", "debug")


def insert(source: ScratchDatabase, row_id: str, user: str = "u1") -> None:
    """A row on the source."""
    source.execute("INSERT INTO lists VALUES (%s, 'x', %s)", (row_id, user))


def test_a_row_travels_through_the_processes_and_the_end_is_in_order(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    service = make_service(workers=2)
    service.start(timeout_s=DEADLINE_S)
    children = wait_for_children(service, 3)
    with open_stream(service.port) as stream:
        stream.until_complete()
        insert(source, "a")
        stream.until("a")
        assert service.stop() == 0
        stream.until_end()
    assert not any(map(is_running, children))
    assert "Traceback" not in service.log
    assert "killed" not in service.log
    with psycopg.connect(source.dsn, autocommit=True) as connection:
        active = "SELECT count(*) FROM pg_replication_slots WHERE active AND database = current_database()"
        eventually_sync(lambda: connection.execute(active).fetchall() == [(0,)], timeout_s=DEADLINE_S)


def test_all_workers_get_connections_and_each_wakes_its_streams(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    service = make_service(workers=2)
    service.start(timeout_s=DEADLINE_S)
    workers = [named_pid(service, f"worker-{number}") for number in (1, 2)]
    eventually_sync(lambda: service.log.count("Serving version") == 2, timeout_s=DEADLINE_S)
    streams = [open_stream(service.port) for _ in range(24)]
    opened = [one.__enter__() for one in streams]
    for stream in opened:
        stream.until_complete()
    spread = [len(_connections(pid, service.port)) for pid in workers]
    assert sum(spread) >= len(opened)
    assert min(spread) > 0, "the kernel spreads connections"
    insert(source, "a")
    for stream in opened:
        stream.until("a")
    for one in streams:
        one.__exit__(None, None, None)


def _connections(pid: int, port: int) -> list[str]:
    """Sockets of a process that are connected on a port."""
    inodes = {
        match[1]
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if (match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())))
    }
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01" and row[9] in inodes]


@pytest.mark.parametrize("place", ["worker-1", "replicator"])
def test_a_killed_child_is_started_again_and_changes_flow(
    make_service: MakeService, source: ScratchDatabase, place: str
) -> None:
    service = make_service()
    service.start(timeout_s=DEADLINE_S)
    killed = named_pid(service, place)
    os.kill(killed, signal.SIGKILL)
    service.wait_log(f"{place} was ended by signal 9", DEADLINE_S)
    eventually_sync(lambda: named_pid(service, place) != killed, timeout_s=DEADLINE_S)
    insert(source, "a")
    service.wait_ready(DEADLINE_S)
    eventually_sync(lambda: service.log.count("Listening on") == (2 if place == "worker-1" else 1))
    with open_stream(service.port) as stream:
        stream.until("a")
    assert service.stop() == 0


def test_children_of_a_killed_supervisor_end_by_themselves_and_it_starts_again(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    service = make_service()
    service.start(timeout_s=DEADLINE_S)
    children = wait_for_children(service, 2)
    hanging = named_pid(service, "worker-1")
    service.kill()
    eventually_sync(lambda: not any(map(is_running, children)), timeout_s=DEADLINE_S, what="orphans end")
    assert hanging in children
    service.start(timeout_s=DEADLINE_S)
    insert(source, "a")
    with open_stream(service.port) as stream:
        stream.until("a")


def test_after_a_kill_of_everything_changes_flow_again_without_a_new_copy(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    service = make_service()
    service.start(timeout_s=DEADLINE_S)
    insert(source, "a")
    with open_stream(service.port) as stream:
        stream.until("a")
        positions = stream.positions
    kill_all(service)
    insert(source, "b")
    service.start(timeout_s=DEADLINE_S)
    with open_stream(service.port, positions=positions) as stream:
        stream.until("b")
        assert [op["object_id"] for op in stream.ops] == ["b"]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_port_in_use_is_told_before_anything_is_started(make_service: MakeService, workers: int) -> None:
    service = make_service(workers=workers)
    with socket.create_server(("127.0.0.1", service.port), reuse_port=True):
        service.start(wait_ready=False)
        assert service.wait(DEADLINE_S) == 150
    assert f"Cannot listen on 127.0.0.1:{service.port}" in service.log
    assert "Started" not in service.log


def test_the_port_of_another_service_s_workers_is_in_use_too(make_service: MakeService) -> None:
    first, second = make_service("first"), make_service("second")
    first.start(timeout_s=DEADLINE_S)
    text = (second.folder / "service.yaml").read_text()
    (second.folder / "service.yaml").write_text(text.replace(str(second.port), str(first.port)))
    second.start(wait_ready=False)
    assert second.wait(DEADLINE_S) == 150


@pytest.mark.parametrize(
    ("broken", "code"), [("streams: {lists: {query: SELECT FROM}}", 1), ("storage", 150)], ids=["config", "storage"]
)
def test_a_service_that_cannot_start_ends_with_the_exit_code_of_its_child(
    make_service: MakeService, tmp_path: Path, broken: str, code: int
) -> None:
    if broken == "storage":
        (tmp_path / "file").write_text("no folder")
        service = make_service(storage={"type": "sqlite", "path": str(tmp_path / "file" / "storage")})
    else:
        service = make_service()
        (service.folder / "sync-config.yaml").write_text(f"config: {{edition: 3}}\n{broken}\n")
    service.start(wait_ready=False)
    assert service.wait(DEADLINE_S) == code
    assert "Traceback" not in service.log


def test_a_second_service_on_the_same_file_is_refused(make_service: MakeService) -> None:
    first = make_service("first")
    first.start(timeout_s=DEADLINE_S)
    second = make_service("second", storage={"type": "sqlite", "path": str(first.storage)})
    second.start(wait_ready=False)
    assert second.wait(DEADLINE_S) == 150
    assert "PSYNC_S1003" in second.log


def test_sighup_replaces_the_workers_one_by_one_with_the_configuration_of_now(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    service = make_service(workers=2)
    service.start(timeout_s=DEADLINE_S)
    eventually_sync(lambda: service.log.count("Listening on") == 2, timeout_s=DEADLINE_S)
    before = {name: named_pid(service, name) for name in ("replicator", "worker-1", "worker-2")}
    path = service.folder / "service.yaml"
    text = path.read_text()
    path.write_text("port: nonsense")
    os.kill(service.pid, signal.SIGHUP)
    service.wait_log("nothing is changed", DEADLINE_S)
    path.write_text(text + "\nmetadata: {generation: second}\n")
    os.kill(service.pid, signal.SIGHUP)

    def replaced() -> bool:
        assert ask(service.port, "/probes/liveness")[0] in (200, 0), "somebody always listens"
        return service.log.count("Listening on") == 4 and len(children_of(service.pid)) == 3

    eventually_sync(replaced, timeout_s=DEADLINE_S)
    after = {name: named_pid(service, name) for name in before}
    assert after["replicator"] == before["replicator"]
    assert not {after["worker-1"], after["worker-2"]} & {before["worker-1"], before["worker-2"]}
    listening = [line for line in service.log.splitlines() if "Listening on" in line]
    assert ["generation=second" in line for line in listening] == [False, False, True, True]
    insert(source, "a")
    with open_stream(service.port) as stream:
        stream.until("a")
    assert service.stop() == 0


def test_a_config_deployed_through_a_worker_reaches_the_replicator(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    service = make_service(api={"tokens": ["admin-token"]})
    document = yaml.safe_load((service.folder / "service.yaml").read_text())
    del document["sync_config"]
    (service.folder / "service.yaml").write_text(yaml.safe_dump(document))
    service.start(wait_ready=False)
    service.wait_log("Listening on", DEADLINE_S)
    insert(source, "a")
    status, answer = ask(
        service.port,
        "/api/sync-rules/v1/deploy",
        body=json.dumps({"content": SYNC_CONFIG}),
        bearer="admin-token",
    )
    assert status == 200, answer
    service.wait_ready(DEADLINE_S)
    with open_stream(service.port) as stream:
        stream.until("a")

    def tells_of_replication() -> bool:
        status, answer = ask(service.port, "/api/admin/v1/diagnostics", body="{}", bearer="admin-token")
        return status == 200 and b"last_keepalive_ts" in answer and b"last_checkpoint_ts" in answer

    eventually_sync(tells_of_replication, timeout_s=DEADLINE_S, what="a worker knows of the replicator's checkpoints")


def test_one_port_has_the_metrics_of_all_and_counts_never_go_down(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    metrics_port = free_port()
    service = make_service(workers=2, telemetry={"prometheus_port": metrics_port})
    service.start(timeout_s=DEADLINE_S)

    def value(name: str) -> float:
        _, body = ask(metrics_port, "/metrics")
        found = re.search(rf"^powersync_{name} (\S+)$", body.decode(), re.MULTILINE)
        return float(found[1]) if found else -1.0

    with open_stream(service.port) as stream:
        insert(source, "a")
        stream.until("a")
        eventually_sync(lambda: value("concurrent_connections") == 1, timeout_s=DEADLINE_S)
        eventually_sync(lambda: value("rows_replicated_total") >= 1, timeout_s=DEADLINE_S)
    replicated = value("rows_replicated_total")
    os.kill(named_pid(service, "replicator"), signal.SIGKILL)
    service.wait_log("replicator was ended by signal 9", DEADLINE_S)
    insert(source, "b")
    eventually_sync(lambda: value("rows_replicated_total") > replicated, timeout_s=DEADLINE_S)
    assert b"target_info{" in ask(metrics_port, "/metrics")[1]


def test_probes_tell_of_all_processes(make_service: MakeService) -> None:
    service = make_service()
    service.start(timeout_s=DEADLINE_S)
    probes = service.folder / ".probes"
    eventually_sync(lambda: (probes / "ready").exists() and (probes / "startup").exists(), timeout_s=DEADLINE_S)
    touched = (probes / "poll").read_text()
    eventually_sync(lambda: (probes / "poll").read_text() != touched, timeout_s=DEADLINE_S)
    assert ask(service.port, "/probes/liveness")[0] == 200
    stopped = named_pid(service, "replicator")
    os.kill(stopped, signal.SIGSTOP)
    try:
        eventually_sync(lambda: ask(service.port, "/probes/liveness")[0] == 400, timeout_s=DEADLINE_S)
        assert ask(service.port, "/probes/readiness")[0] == 200, "what is stored is served all the same"
    finally:
        os.kill(stopped, signal.SIGCONT)
    eventually_sync(lambda: ask(service.port, "/probes/liveness")[0] == 200, timeout_s=DEADLINE_S)


def test_a_child_that_does_not_end_is_killed_at_the_deadline(make_service: MakeService) -> None:
    service = make_service()
    service.start(timeout_s=DEADLINE_S)
    stuck = named_pid(service, "worker-1")
    os.kill(stuck, signal.SIGSTOP)
    os.kill(service.pid, signal.SIGTERM)
    assert service.wait(DEADLINE_S) == 0
    assert not is_running(stuck)
    assert "worker-1 has not ended within" in service.log


@pytest.mark.parametrize("place", ["worker-1", "replicator"])
def test_a_child_that_hangs_is_killed_and_changes_flow_again(
    make_service: MakeService, source: ScratchDatabase, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("SYNCLINE_HANG_TIMEOUT_S", "5")
    service = make_service()
    service.start(timeout_s=DEADLINE_S)
    stuck = named_pid(service, place)
    os.kill(stuck, signal.SIGSTOP)
    service.wait_log(f"{place} has shown no sign of life for 5 s and is killed", DEADLINE_S)
    service.wait_log(f"{place} was ended by signal 9", DEADLINE_S)
    eventually_sync(lambda: named_pid(service, place) != stuck, timeout_s=DEADLINE_S)
    insert(source, "a")
    eventually_sync(lambda: service.log.count("Listening on") == (2 if place == "worker-1" else 1))
    eventually_sync(lambda: _brings_the_row(service, "a"), timeout_s=DEADLINE_S)
    eventually_sync(lambda: ask(service.port, "/probes/liveness")[0] == 200, timeout_s=DEADLINE_S)
    assert service.stop() == 0
    assert not is_running(stuck)


def _brings_the_row(service: ServiceProcess, row_id: str) -> bool:
    """Whether a stream brings it. On a busy machine a child that has just begun may be taken for a hung one, and its streams end."""
    try:
        with open_stream(service.port) as stream:
            stream.until(row_id)
    except OSError:
        return False
    return True


def test_an_api_node_alone_has_workers_and_no_replicator(make_service: MakeService, source: ScratchDatabase) -> None:
    storage = {"type": "postgresql", "uri": source.dsn, "sslmode": "disable"}
    node = make_service("node", workers=2, storage=storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PS_RUNNER_TYPE", "api")
        node.start(wait_ready=False)
    wait_for_children(node, 2)
    replicating: ServiceProcess = make_service("sync", storage=storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PS_RUNNER_TYPE", "sync")
        replicating.start(wait_ready=False)
    node.wait_ready(DEADLINE_S)
    assert children_of(replicating.pid) == []
    with open_stream(node.port, user="u2") as stream:
        stream.until_complete()
        insert(source, "a", "u2")
        stream.until("a")
    assert token("u2") not in node.log
