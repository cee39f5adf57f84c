"""The official CLI, unchanged, against our admin API: `status`, `validate` and `generate schema`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.interop.official import install_official_packages, node_program

ADMIN = "an-admin-token"
CLI_SECONDS_MAX = 60
SYNC_CONFIG = """config:
  edition: 3
streams:
  lists:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
"""
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def service(postgres_database: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    postgres_database.execute(
        "CREATE TABLE lists (id uuid PRIMARY KEY, name text, done bool, score float8, owner_id text);"
        "CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    with ServiceProcess(
        tmp_path / "service", dsn=postgres_database.dsn, sync_config=SYNC_CONFIG, api={"tokens": [ADMIN]}
    ) as process:
        yield process


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
    (project / "service.yaml").write_text(f"_type: self-hosted\n{source}{storage}port: 8080\n")
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


@pytest.mark.requirement(199)
def test_a_client_s_schema_is_generated_from_ours(cli: Cli, tmp_path: Path) -> None:
    made = cli("generate", "schema", "--output", "ts", "--output-path", "schema.ts")
    assert made.returncode == 0, made.stdout + made.stderr
    text = (tmp_path / "project" / "schema.ts").read_text()
    for column in ("name: column.text", "done: column.integer", "score: column.real", "owner_id: column.text"):
        assert column in text
