"""Recorded runs of the official command line's project commands: ours give the same for the same instance, and fail in the same way."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from syncline.cli.output import as_yaml
from syncline.cli.status_text import status_text
from syncline.cli.validation.results import CheckResult, as_text
from syncline.testing.postgres import PostgresServer
from syncline.testing.service_process import ServiceProcess, free_port
from syncline.testing.waiting import eventually_sync
from tests.conformance.golden_cli import INPUTS, places, recording
from tests.conformance.golden_http import GOLDEN, comparable
from tests.support.command_line import Outcome, run_command_line

ADMIN = "golden-admin-token"
START_TIMEOUT_S = 60.0  # seconds, on a busy machine
CONNECTION_TESTS = "Connection tests are not currently supported for self-hosted projects."  # ours makes them
PROJECT_COMMANDS = {  # what was recorded without a project's folder
    "no-project-docker-start": ("docker", "start"),
    "no-project-fetch-config": ("fetch", "config"),
    "no-project-status": ("status",),
    "no-project-validate": ("validate",),
}


class Instance(NamedTuple):
    """A running service, and what its project's folder is made of."""

    service: ServiceProcess
    sync_config: str


def _instance(folder: Path, server: PostgresServer, sql: Path, sync_config: Path) -> Generator[Instance]:
    database = server.create()
    database.execute(sql.read_text("utf-8").replace("c_xml xml", "c_xml text"))  # the embedded server has no XML
    text = sync_config.read_text("utf-8")
    service = ServiceProcess(folder, dsn=database.dsn, sync_config=text, api={"tokens": [ADMIN]})
    service.start(timeout_s=START_TIMEOUT_S)
    yield Instance(service, text)
    service.stop()
    server.drop(database)


@pytest.fixture(scope="module")
def golden(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Instance]:
    """The service of the recordings with `golden` in their names."""
    sql, config = GOLDEN / "golden-data.sql", GOLDEN / "golden-streams.yaml"
    yield from _instance(tmp_path_factory.mktemp("golden"), postgres_server, sql, config)


@pytest.fixture(scope="module")
def second(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Instance]:
    """The service of those with `second`; the configs with mistakes were checked by it too."""
    sql, config = INPUTS / "second.sql", INPUTS / "second.yaml"
    yield from _instance(tmp_path_factory.mktemp("second"), postgres_server, sql, config)


def project(
    folder: Path, instance: Instance, *, sync_config: str | None = None, key: str = ADMIN, url: str = ""
) -> Path:
    """A project that is linked to the instance; the folder that the command line is run in."""
    directory = folder / "powersync"
    directory.mkdir()
    url = url or instance.service.base_url
    (directory / "cli.yaml").write_text(yaml.safe_dump({"type": "self-hosted", "api_url": url, "api_key": key}))
    shutil.copy(instance.service.folder / "service.yaml", directory)
    (directory / "sync-config.yaml").write_text(instance.sync_config if sync_config is None else sync_config)
    return folder


def run(folder: Path, *arguments: str, **environment: str) -> Outcome:
    return run_command_line(folder, *arguments, **({"PS_ADMIN_TOKEN": ""} | environment))


# What is printed, from what the service says


@pytest.mark.requirement(197)
@pytest.mark.parametrize("name", ["golden", "second", "warnings", "replicating", "deploying"])
def test_a_status_is_told_as_in_the_recording(name: str) -> None:
    answer = recording(f"status-{name}-json").value
    lines = status_text(
        json.loads(json.dumps(answer).replace('"replication_lag_bytes": 0', '"replication_lag_bytes": "<N>"'))
    )
    # Between the sections of two configs the official one has no empty line.
    assert [line for line in lines.splitlines() if line] == [
        line for line in recording(f"status-{name}-human").out.splitlines() if line
    ]
    assert yaml.safe_load(as_yaml(answer)) == answer
    assert as_yaml(answer).replace("replication_lag_bytes: 0", "replication_lag_bytes: <N>").strip() == _plain_yaml(
        name
    )


def _plain_yaml(name: str) -> str:
    """A recorded YAML; texts that one library folds or quotes and the other does not are written by ours."""
    text = recording(f"status-{name}-yaml").out
    if name in ("second", "warnings"):
        value = yaml.safe_load(text.replace(": <N>", ": 0"))
        return as_yaml(value).replace("replication_lag_bytes: 0", "replication_lag_bytes: <N>").strip()
    return text


@pytest.mark.requirement(198)
@pytest.mark.parametrize("name", ["golden", "second", "warnings"])
def test_the_results_of_checks_are_told_as_in_the_recording(name: str) -> None:
    tests = recording(f"validate-{name}-json").value["tests"]
    results = [CheckResult(test["id"], test.get("errors", []), test.get("warnings", [])) for test in tests]
    assert as_text(results) == recording(f"validate-{name}-human").out
    assert [result.as_value() for result in results] == tests
    assert yaml.safe_load(recording(f"validate-{name}-yaml").out)["tests"] == tests


# Against a running service


@pytest.mark.requirement(197, 242)
@pytest.mark.parametrize("name", ["status-golden-json", "fetch-status-alias"])
def test_the_status_of_the_same_instance(name: str, golden: Instance, tmp_path: Path) -> None:
    theirs, folder = recording(name), project(tmp_path, golden)
    assert run(folder, "status", "--wait", "30", "--output", "json").code == 0

    def ours() -> Any:
        done = run(folder, *theirs.arguments)
        assert done.code == theirs.code, done.err
        return json.loads(done.out)

    def tables(answer: Any) -> Any:
        """Ours tells more of a table than the official service does."""
        for table in answer["active_sync_rules"]["connections"][0]["tables"]:
            table.pop("snapshot", None)
        return comparable(answer)

    eventually_sync(lambda: "last_checkpoint_ts" in ours()["active_sync_rules"]["connections"][0], timeout_s=20)
    assert tables(ours()) == tables(theirs.value)
    human = run(folder, "status").out
    assert [line for line in human.splitlines() if line.startswith("═")] == [
        "═══ Connections ═══",
        "═══ Active Sync Config ═══",
    ]
    assert "      - public.lists (replication_id: id)\n        used_for_replication: yes\n" in human


@pytest.mark.requirement(198)
@pytest.mark.parametrize("name", ["golden", "second", "warnings", "errors", "badyaml", "badedition", "nostreams"])
def test_the_same_sync_config_passes_or_fails(name: str, golden: Instance, second: Instance, tmp_path: Path) -> None:
    """The same checks pass, the same numbers of findings stand in the same places; what a mistake is called is each program's own."""
    theirs = recording(f"validate-{name}-json")
    path = INPUTS / f"{name}.yaml"
    folder = project(
        tmp_path, golden if name == "golden" else second, sync_config=path.read_text() if path.exists() else None
    )
    done = run(folder, *theirs.arguments)
    assert done.code == theirs.code, done.text
    found, expected = json.loads(done.out), theirs.value
    assert found["passed"] == expected["passed"]
    outline = [(test["id"], test["name"], test["passed"]) for test in expected["tests"]]
    assert [(test["id"], test["name"], test["passed"]) for test in found["tests"]] == outline
    ours, recorded = found["tests"][2], expected["tests"][2]
    # A warning about a query's parameters is placed at the query. A table without a key is only warned of: ours replicates it.
    found_at, expected_at = places(ours.get("warnings", [])), places(recorded.get("warnings", []))
    assert sorted(place.line for place in found_at) == sorted(place.line for place in expected_at)
    of_columns = {place for place in expected_at if "parameter(" not in place.source_line}
    assert of_columns <= {*found_at}
    if recorded["passed"] or name == "warnings":
        assert _count(ours) == _count(recorded)
    assert bool(ours.get("errors")) == bool(recorded.get("errors"))


@pytest.mark.requirement(198)
@pytest.mark.parametrize("name", ["golden", "warnings", "errors"])
def test_without_a_link_the_source_itself_is_asked(
    name: str, golden: Instance, second: Instance, tmp_path: Path
) -> None:
    """The findings are those of the linked service."""
    path = INPUTS / f"{name}.yaml"
    folder = project(
        tmp_path, golden if name == "golden" else second, sync_config=path.read_text() if path.exists() else None
    )
    arguments = ("validate", "--validate-only", "sync-config", "--output", "json")
    linked = run(folder, *arguments)
    (folder / "powersync" / "cli.yaml").write_text("type: self-hosted\n")
    alone = run(folder, *arguments)
    assert (alone.code, _findings(alone)) == (linked.code, _findings(linked))
    offline = run(folder, *arguments, "--offline")
    assert any("Checked without the source" in finding for finding in _findings(offline))


def _findings(done: Outcome) -> list[str]:
    [checked] = [test for test in json.loads(done.out)["tests"] if test["id"] == "sync-config"]
    return sorted([*checked.get("errors", []), *checked.get("warnings", [])])


def _count(test: Any) -> int:
    return len(test.get("errors", [])) + len(test.get("warnings", []))


def test_parse_errors_come_with_their_places(second: Instance, tmp_path: Path) -> None:
    """The official service joins them into one text without places."""
    folder = project(tmp_path, second, sync_config=(INPUTS / "errors.yaml").read_text())
    errors = json.loads(run(folder, "validate", "--output", "json").out)["tests"][2]["errors"]
    assert len(errors) >= 10
    assert len(places(errors)) == len(errors)


@pytest.mark.requirement(198)
def test_checks_are_left_out_as_in_the_recordings(second: Instance, tmp_path: Path) -> None:
    folder = project(tmp_path, second)
    for name in ("validate-only-sync-config", "validate-skip-sync-config-json"):
        theirs = recording(name)
        done = run(folder, *theirs.arguments)
        assert done.code == theirs.code, done.text
        outline = [line for line in theirs.out.splitlines() if line[:1] in "✓✗" or '"id"' in line]
        assert [line for line in done.out.splitlines() if line[:1] in "✓✗" or '"id"' in line] == outline
        assert "Test skipped based on input flags." in done.out
    for name in ("validate-unknown-test", "validate-sync-config-file-path-missing"):
        theirs = recording(name)
        done = run(folder, *theirs.arguments)
        assert (done.code, done.out) == (theirs.code, "")
        said = " ".join(theirs.err.replace("Error:", "").replace("See more help with --help", "").split())
        assert said in " ".join(done.err.split())


@pytest.mark.requirement(198)
def test_files_that_cannot_be_used_fail_as_in_the_recordings(second: Instance, tmp_path: Path) -> None:
    folder = project(tmp_path, second)
    service, config = folder / "powersync" / "service.yaml", folder / "powersync" / "sync-config.yaml"
    (folder / "other.yaml").write_text((INPUTS / "errors.yaml").read_text())
    whole = service.read_text()
    failing = {"validate-bad-service-config": "replication: 3\n", "validate-service-yaml-broken": "a: [\n"}
    for name, text in failing.items():
        service.write_text(text)
        done = run(folder, "validate")
        assert done.code == recording(name).code
        assert "✗ Validate Configuration Schema" in done.out
    service.write_text(whole.replace("uri: postgresql", "uri: !env PS_NOT_SET_ANYWHERE # "))
    done = run(folder, "validate")
    assert done.code == recording("validate-service-env-missing").code, done.out
    assert "Not tested: PS_NOT_SET_ANYWHERE not set here." in done.out
    service.write_text(whole)
    done = run(folder, *recording("validate-sync-config-file-path").arguments)
    assert (done.code, "✗ Validate Sync Config" in done.out) == (recording("validate-sync-config-file-path").code, True)
    config.unlink()
    done = run(folder, "validate")
    assert done.code == recording("validate-no-sync-config").code
    assert "  • [error] No sync config content was provided." in done.out


@pytest.mark.requirement(190, 204)
@pytest.mark.parametrize(
    ("name", "key", "token"),
    [
        ("api-key-in-file-right-env-wrong", ADMIN, "wrong"),
        ("api-key-in-file-wrong-env-right", "wrong", ADMIN),
        ("wrong-api-key-status", "wrong", ""),
        ("wrong-api-key-status-json", "wrong", ""),
        ("status-env-not-set", "!env PS_NOT_SET_ANYWHERE", ""),
    ],
)
def test_the_token_of_the_environment_goes_before_that_of_the_file(
    name: str, key: str, token: str, golden: Instance, tmp_path: Path
) -> None:
    theirs = recording(name)
    done = run(project(tmp_path, golden, key=key), *theirs.arguments, PS_ADMIN_TOKEN=token)
    assert done.code == theirs.code, done.text
    assert ("PSYNC_S2101" in done.err) == ("PSYNC_S2101" in theirs.err)
    if theirs.code:
        assert done.out == ""  # errors are texts on standard error, also with --output json
        assert ADMIN not in done.err


@pytest.mark.parametrize("name", ["wrong-api-key-validate", "wrong-api-key-validate-json"])
def test_a_wrong_token_fails_the_check_of_the_sync_config_alone(name: str, golden: Instance, tmp_path: Path) -> None:
    theirs = recording(name)
    done = run(project(tmp_path, golden, key="wrong"), *theirs.arguments)
    assert done.code == theirs.code
    assert "PSYNC_S2101" in done.out
    if "--output" in theirs.arguments:
        assert [test["passed"] for test in json.loads(done.out)["tests"]] == [True, True, False]


@pytest.mark.requirement(204)
def test_the_address_of_the_flag_goes_before_that_of_the_file_before_the_environment(
    golden: Instance, tmp_path: Path
) -> None:
    folder, nowhere = project(tmp_path, golden), f"http://127.0.0.1:{free_port()}"
    for name, flags, environment in (
        ("api-url-env-and-file", (), nowhere),
        ("api-url-flag-and-file", ("--api-url", nowhere), ""),
    ):
        theirs = recording(name)
        done = run(folder, "status", "--output", "json", *flags, API_URL=environment)
        assert done.code == theirs.code, done.text
        assert bool(done.out) != bool(theirs.code)
    (folder / "powersync" / "cli.yaml").write_text("type: self-hosted\n")
    done = run(folder, "status", API_URL=golden.service.base_url, PS_ADMIN_TOKEN=ADMIN)
    assert done.code == 0, done.err
    done = run(folder, "status", "--api-url", golden.service.base_url)
    theirs = recording("status-api-url-flag-no-token")
    assert done.code == theirs.code
    assert "Linking is required before using this command" in done.err


@pytest.mark.parametrize("name", ["unreachable-status", "unreachable-status-json", "unreachable-validate"])
def test_a_service_that_is_not_there(name: str, golden: Instance, tmp_path: Path) -> None:
    theirs = recording(name)
    with socket.socket() as taken:  # bound, so that nobody else gets it, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run(project(tmp_path, golden, url=url), *theirs.arguments)
    assert done.code == theirs.code
    assert "cannot be reached" in (done.out if "validate" in name else done.err)


@pytest.mark.requirement(243)
@pytest.mark.parametrize("name", ["deploy-self-hosted", "pull-instance-self-hosted", "fetch-config-linked"])
def test_what_the_official_one_keeps_for_its_cloud(name: str, second: Instance, tmp_path: Path) -> None:
    """It refuses these on a self-hosted project; ours refuses only to change what the service's own file says."""
    theirs, folder = recording(name), project(tmp_path, second)
    assert (theirs.code, "requires `_type: cloud`" in theirs.err) == (1, True)
    done = run(folder, *theirs.arguments)
    if name == "deploy-self-hosted":
        assert (done.code, "PSYNC_S4105" in done.err, "sync_config.path" in done.err) == (1, True, True)
    else:
        assert done.code == 0, done.err


# A project from nothing


@pytest.mark.requirement(193)
def test_a_project_from_nothing(tmp_path: Path) -> None:
    theirs = recording("init-self-hosted")
    done = run(tmp_path, *theirs.arguments)
    assert done.code == theirs.code, done.text
    assert made(tmp_path) == {*theirs.tree, "new powersync/.gitignore"}
    theirs = recording("init-self-hosted-again")
    done = run(tmp_path, *theirs.arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert 'Directory "powersync" already exists.' in done.err
    theirs = recording("init-self-hosted-directory")
    assert run(tmp_path, *theirs.arguments).code == theirs.code
    assert {*theirs.tree} < made(tmp_path)


def made(folder: Path) -> set[str]:
    """All files below a folder, as the recordings write them."""
    return {f"new {path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}


@pytest.mark.requirement(195)
def test_a_project_is_linked_as_in_the_recordings(tmp_path: Path) -> None:
    for name in ("link-before-init", "link-self-hosted", "link-self-hosted-again"):
        theirs = recording(name)
        done = run(tmp_path, *theirs.arguments)
        assert (done.code, done.out.strip()) == (theirs.code, theirs.out)
        link = yaml.safe_load((tmp_path / "powersync" / "cli.yaml").read_text())
        assert link == {"type": "self-hosted", "api_url": theirs.arguments[-1], "api_key": "!env PS_ADMIN_TOKEN"}
    theirs = recording("link-self-hosted-bad-url")
    assert run(tmp_path, "link", "self-hosted", "--api-url", "not a url").code == theirs.code
    assert yaml.safe_load((tmp_path / "powersync" / "cli.yaml").read_text())["api_url"] == "not a url"
    theirs = recording("link-self-hosted-no-url")
    done = run(tmp_path, *theirs.arguments)
    assert (done.code, "api-url" in done.err) == (theirs.code, True)
    theirs = recording("no-project-link")
    assert run(tmp_path, *theirs.arguments).code == theirs.code


@pytest.mark.requirement(194)
def test_linked_projects_are_listed(tmp_path: Path) -> None:
    for name in ("no-project-fetch-instances", "fetch-instances", "fetch-instances-json"):
        theirs = recording(name)
        done = run(tmp_path, *theirs.arguments)
        assert done.code == theirs.code
        if name == "fetch-instances-json":
            expected = theirs.value["linkedInstances"][0]
            expected["config"]["api_key"] = "***"  # the official one prints it
            assert json.loads(done.out) == theirs.value | {"linkedInstances": [expected]}
        elif theirs.out:
            assert done.out.strip() == theirs.out.strip()
        linked = recording("fetch-instances-json").value["linkedInstances"][0]["config"]
        (tmp_path / "powersync").mkdir(exist_ok=True)
        (tmp_path / "powersync" / "cli.yaml").write_text(yaml.safe_dump(linked))


@pytest.mark.parametrize("name", PROJECT_COMMANDS)
def test_without_a_project_s_folder(name: str, tmp_path: Path) -> None:
    theirs = recording(name)
    done = run(tmp_path, *PROJECT_COMMANDS[name])
    assert (done.code, done.out) == (theirs.code, "")
    assert 'Directory "powersync" not found.' in done.err


@pytest.mark.parametrize("name", ["unknown-command", "unknown-flag"])
def test_a_wrong_command_line(name: str, tmp_path: Path) -> None:
    theirs = recording(name)
    done = run(tmp_path, *theirs.arguments)
    assert (done.code, done.out) == (theirs.code, "")


@pytest.mark.requirement(196)
def test_a_stack_is_written_as_in_the_recordings(tmp_path: Path) -> None:
    theirs = recording("docker-configure")
    assert run(tmp_path, "init").code == 0
    before = made(tmp_path)
    done = run(tmp_path, *theirs.arguments)
    assert done.code == theirs.code, done.text
    assert made(tmp_path) - before == {line for line in theirs.tree if line.startswith("new ")}
    theirs = recording("docker-configure-again")
    done = run(tmp_path, *theirs.arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert "already exists" in done.err


def test_settings_of_an_editor(tmp_path: Path) -> None:
    assert run(tmp_path, "init").code == 0
    assert run(tmp_path, "configure", "ide").code == 0
    written = json.loads((tmp_path / ".vscode" / "settings.json").read_text())
    recorded = json.loads((GOLDEN / "cli" / "configure-ide" / "files" / ".vscode" / "settings.json").read_text())
    assert written["yaml.customTags"] == recorded["yaml.customTags"]
    assert all((tmp_path / path).exists() for path in [*written["yaml.schemas"], *written["yaml.schemas"].values()])
