"""The official CLI, unchanged, against our admin API (`status`, `validate`, `generate schema`) and our keys (`generate token`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from syncline.testing.postgres import PostgresServer
from syncline.testing.service_process import ServiceProcess
from tests.support.command_line import run_command_line
from tests.support.official_packages import install_official_packages, node_program

ADMIN = "an-admin-token"
CLI_SECONDS_MAX = 60
START_TIMEOUT_S = 60.0  # seconds, on a busy machine
SYNC_CONFIG = """config:
  edition: 3
streams:
  lists:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
"""
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def service(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    """One for all tests here: the CLI only asks it."""
    database = postgres_server.create()
    database.execute(
        "CREATE TABLE lists (id uuid PRIMARY KEY, name text, done bool, score float8, owner_id text);"
        "INSERT INTO lists VALUES (gen_random_uuid(), 'theirs', true, 1, 'user-1'), (gen_random_uuid(), 'not theirs', true, 1, 'user-2');"
        "CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    process = ServiceProcess(
        tmp_path_factory.mktemp("service"), dsn=database.dsn, sync_config=SYNC_CONFIG, api={"tokens": [ADMIN]}
    )
    process.start(timeout_s=START_TIMEOUT_S)
    yield process
    process.stop()
    postgres_server.drop(database)


@pytest.fixture
def cli(service: ServiceProcess, tmp_path: Path) -> Cli:
    """Run a command of the CLI in a project that is linked to the service."""
    modules = install_official_packages(("powersync@0.10.0",))
    node = node_program("node")
    project = tmp_path / "project" / "powersync"
    project.mkdir(parents=True)
    (project / "cli.yaml").write_text(f"type: self-hosted\napi_url: {service.base_url}\napi_key: wrong\n")
    source = "replication:\n  connections:\n    - type: postgresql\n      uri: postgresql://a:b@127.0.0.1/c\n"
    storage = "storage:\n  type: postgresql\n  uri: postgresql://a:b@127.0.0.1/c\n"
    # The keys are the service's own: `generate token` signs with the first shared secret that stands in this file.
    keys = yaml.safe_dump({"client_auth": yaml.safe_load((service.folder / "service.yaml").read_text())["client_auth"]})
    (project / "service.yaml").write_text(f"_type: self-hosted\n{source}{storage}{keys}port: 8080\n")
    (project / "sync-config.yaml").write_text(SYNC_CONFIG)

    def run(*arguments: str, bearer: str = ADMIN) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PS_ADMIN_TOKEN": bearer, "NO_COLOR": "1", "HOME": str(tmp_path)}
        return subprocess.run(
            [str(node), str(modules / "powersync" / "bin" / "run.js"), *arguments],
            cwd=project.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CLI_SECONDS_MAX,
            check=False,
        )

    return run


@pytest.mark.requirement(190, 197)
def test_status_shows_the_connection_and_the_active_sync_config(cli: Cli) -> None:
    shown = cli("status", "--output", "json")
    assert shown.returncode == 0, shown.stderr
    standing = json.loads(shown.stdout)
    assert standing["connections"][0]["connected"] is True
    [connection] = standing["active_sync_rules"]["connections"]
    assert connection["initial_replication_done"] is True
    assert [table["name"] for table in connection["tables"]] == ["lists"]
    people = cli("status")
    assert "Status: connected" in people.stdout
    assert "Initial replication done: true" in people.stdout
    refused = cli("status", bearer="wrong")
    assert refused.returncode == 1
    assert "PSYNC_S2101" in refused.stderr + refused.stdout


@pytest.mark.requirement(173)
def test_validate_finds_what_is_wrong_with_its_place(cli: Cli, tmp_path: Path) -> None:
    good = cli("validate", "--output", "json")
    assert good.returncode == 0, good.stdout + good.stderr
    assert json.loads(good.stdout)["passed"] is True
    path = tmp_path / "project" / "powersync" / "sync-config.yaml"
    path.write_text(SYNC_CONFIG.replace("FROM lists", "FROM lits"))
    warned = cli("validate", "--output", "json")
    assert "lits" in warned.stdout + warned.stderr
    path.write_text(SYNC_CONFIG.replace("SELECT", "SELEC"))
    refused = cli("validate", "--output", "json")
    assert refused.returncode == 1
    failed = [test for test in json.loads(refused.stdout)["tests"] if not test["passed"]]
    assert [test["id"] for test in failed] == ["sync-config"]


@pytest.mark.requirement(193, 195)
def test_a_project_of_ours_is_one_of_theirs(cli: Cli, service: ServiceProcess, tmp_path: Path) -> None:
    """What our `init`, `docker configure` and `link` have written is read by the official commands."""
    folder = tmp_path / "project"
    shutil.rmtree(folder / "powersync")
    assert run_command_line(folder, "init").code == 0
    assert run_command_line(folder, "docker", "configure", "--storage", "postgres").code == 0
    assert run_command_line(folder, "link", "self-hosted", "--api-url", service.base_url).code == 0
    (folder / "powersync" / "sync-config.yaml").write_text(SYNC_CONFIG)
    checked = cli("validate", "--output", "json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    shown = cli("status", "--output", "json")
    assert json.loads(shown.stdout)["connections"][0]["connected"] is True


@pytest.mark.requirement(199)
def test_a_client_s_schema_is_generated_from_ours(cli: Cli, tmp_path: Path) -> None:
    made = cli("generate", "schema", "--output", "ts", "--output-path", "schema.ts")
    assert made.returncode == 0, made.stdout + made.stderr
    text = (tmp_path / "project" / "schema.ts").read_text()
    for column in ("name: column.text", "done: column.integer", "score: column.real", "owner_id: column.text"):
        assert column in text


@pytest.mark.requirement(199)
async def test_a_token_that_the_cli_has_signed_opens_a_stream(cli: Cli, service: ServiceProcess) -> None:
    made = cli("generate", "token", "--subject", "user-1")
    assert made.returncode == 0, made.stdout + made.stderr
    status, body = await _open_stream(service, made.stdout.strip())
    assert status == 200
    [bucket] = body["checkpoint"]["buckets"]
    assert (bucket["count"], '"user-1"' in bucket["bucket"]) == (1, True)

    too_long = cli("generate", "token", "--subject", "user-1", "--expires-in-seconds", "604800")
    status, body = await _open_stream(service, too_long.stdout.strip())
    assert (status, body["error"]["code"]) == (401, "PSYNC_S2104")
    header, payload, signature = made.stdout.strip().split(".")
    other_end = "AAAA" if not signature.endswith("AAAA") else "BBBB"
    status, body = await _open_stream(service, ".".join((header, payload, signature[:-4] + other_end)))
    assert (status, body["error"]["code"]) == (401, "PSYNC_S2101")
    unknown = cli("generate", "token", "--subject", "user-1", "--kid", "nobody-s")
    assert unknown.returncode == 1


async def _open_stream(service: ServiceProcess, token: str) -> tuple[int, dict[str, Any]]:
    """The status and the first line of a sync stream, or the body of a refusal."""
    headers = {"authorization": f"Token {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{service.base_url}/sync/stream", json={"client_id": "cli"}, headers=headers) as answer,
    ):
        return answer.status, json.loads(await answer.content.readline())
