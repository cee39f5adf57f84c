"""`syncline start`: roles, the recipe of a container, probes while the source is away, and what is in the log."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, free_port, token
from syncline.testing.waiting import eventually_sync
from tests.integration.service_commands.conftest import SYNC_CONFIG

MakeService = Callable[..., ServiceProcess]


def ask(port: int, method: str, path: str, *, bearer: str = "") -> tuple[int, bytes]:
    """Status and first line of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(
        method, path, body="{}" if method == "POST" else None, headers={"Authorization": f"Token {bearer}"}
    )
    response = connection.getresponse()
    first = response.readline()
    connection.close()
    return response.status, first


@pytest.mark.parametrize("probes", [{"use_filesystem": True}, {"use_http": True}])
def test_one_process_replicates_and_another_serves(
    make_service: MakeService, source: ScratchDatabase, monkeypatch: pytest.MonkeyPatch, probes: dict[str, bool]
) -> None:
    source.execute("INSERT INTO lists VALUES ('1', 'x', 'u1')")
    storage = {"type": "postgresql", "uri": source.dsn, "sslmode": "disable"}
    replicating = make_service("sync", storage=storage, healthcheck={"probes": probes})
    serving = make_service("api", storage=storage)
    monkeypatch.setenv("PS_RUNNER_TYPE", "api")
    serving.start(wait_ready=False)  # on an empty storage
    try:
        serving.wait_log("Listening on")
        assert ask(serving.port, "GET", "/probes/readiness")[0] == 400
        monkeypatch.setenv("PS_RUNNER_TYPE", "sync")
        replicating.start(wait_ready=False)
        try:
            serving.wait_ready()
            status, line = ask(serving.port, "POST", "/sync/stream", bearer=token("u1"))
            assert (status, b'"checkpoint"' in line) == (200, True)
            if "use_http" in probes:
                assert ask(replicating.port, "GET", "/probes/liveness")[0] == 200
                assert ask(replicating.port, "POST", "/sync/stream", bearer=token("u1"))[0] == 404
            else:
                with pytest.raises(ConnectionRefusedError):
                    ask(replicating.port, "GET", "/probes/liveness")
                eventually_sync((replicating.folder / ".probes" / "ready").exists)
        finally:
            assert replicating.stop() == 0
    finally:
        assert serving.stop() == 0
    assert "Traceback" not in serving.log + replicating.log


@pytest.mark.requirement(229, missing="docker")
@pytest.mark.parametrize("with_port", [True, False])
def test_the_whole_configuration_may_come_from_the_environment(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch, with_port: bool
) -> None:
    service = make_service()
    path = service.folder / "service.yaml"
    document = yaml.safe_load(path.read_text())
    document["sync_config"] = {"content": (service.folder / "sync-config.yaml").read_text()}
    if not with_port:
        del document["port"]
        document["host"] = "127.0.0.8"  # the default port is taken on another address, if at all
    monkeypatch.setenv("POWERSYNC_CONFIG_B64", base64.b64encode(yaml.safe_dump(document).encode()).decode())
    path.unlink()
    (service.folder / "syncline.yaml").write_text("this: is not read")
    process = start_without_arguments(service)
    try:
        expected = f"http://127.0.0.1:{service.port}" if with_port else "http://127.0.0.8:8080"
        eventually_sync(lambda: f"Listening on {expected}" in service.log, timeout_s=30)
    finally:
        process.terminate()
        assert process.wait(20) == 0


def start_without_arguments(service: ServiceProcess) -> subprocess.Popen[bytes]:
    """`syncline start` with nothing behind it."""
    with service.log_path.open("ab") as log:
        line = [sys.executable, "-m", "syncline.cli.main", "start"]
        return subprocess.Popen(line, cwd=service.folder, stdout=log, stderr=log, env=dict(os.environ))


@pytest.mark.requirement(223, missing="JWKS")
def test_startup_is_red_and_liveness_green_while_the_source_is_away(tmp_path: Path) -> None:
    service = ServiceProcess(
        tmp_path / "s", dsn=f"postgresql://u:topsecret@127.0.0.1:{free_port()}/x", sync_config=SYNC_CONFIG
    )
    service.start(wait_ready=False)
    try:
        service.wait_log("PSYNC_S1120")
        assert ask(service.port, "GET", "/probes/startup")[0] == 400
        assert ask(service.port, "GET", "/probes/readiness")[0] == 400
        assert ask(service.port, "GET", "/probes/liveness")[0] == 200
    finally:
        assert service.stop() == 0


@pytest.mark.requirement(224, missing="JWKS")
def test_the_log_proves_the_connections_and_holds_no_secret(
    make_service: MakeService, source: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = source.dsn.replace("postgres@", "postgres:top%23secret@")
    storage = {"type": "postgresql", "uri": dsn, "sslmode": "disable"}
    service = make_service(
        storage=storage,
        replication={"connections": [{"type": "postgresql", "uri": dsn, "sslmode": "disable"}]},
        api={"tokens": ["an-admin-s-token"]},
        metadata={"site": "north"},
        nonsense=True,
    )
    monkeypatch.setenv("NODE_ENV", "production")
    monkeypatch.setenv("PS_LOG_LEVEL", "debug")
    right, wrong = token("u1"), token("u1", audience="other")
    with service:
        assert ask(service.port, "POST", "/sync/stream", bearer=right)[0] == 200
        assert ask(service.port, "POST", "/sync/stream", bearer=wrong)[0] == 401
        ask(service.port, "GET", "/api/admin/v1/diagnostics", bearer="an-admin-s-token")
        service.wait_log("Connected to the source")
    lines = [json.loads(line) for line in service.log.splitlines()]
    assert {line["site"] for line in lines} == {"north"}
    masked = source.dsn.rpartition("?")[0] or source.dsn
    told = [line["message"] for line in lines if line["level"] == "info"]
    assert [text for text in told if text.startswith("Connected to the source") and masked in text]
    assert [text for text in told if text.startswith("Connected to bucket storage") and masked in text]
    assert {"event", "version", "runner"} <= lines[0].keys()
    assert [line["message"] for line in lines if line["level"] == "warn" and "nonsense" in line["message"]]
    for secret in (
        "top%23secret",
        "top#secret",
        "an-admin-s-token",
        right,
        wrong,
        right.split(".")[1],
        right.split(".")[2],
    ):
        assert secret not in service.log
