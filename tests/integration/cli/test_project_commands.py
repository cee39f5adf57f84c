"""Project commands against a running service whose sync config is deployed, and against containers that are only pretended."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import yaml

from syncline.cli.docker import engine as docker_engine
from syncline.cli.docker.engine import PROBE_TIMEOUT_S
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess, free_port
from tests.support.command_line import Outcome, run_command_line
from tests.support.sync_config import LISTS_OF_OWNER

ADMIN = "an-admin-token"
START_TIMEOUT_S = 60.0  # seconds, on a busy machine
OTHER = LISTS_OF_OWNER.replace("WHERE owner_id = auth.user_id()", "")
Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def service(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    """One without a sync config in its file: it takes what is deployed."""
    database = postgres_server.create()
    database.execute("CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text)")
    database.execute("CREATE PUBLICATION powersync FOR TABLE lists")
    folder = tmp_path_factory.mktemp("service")
    process = ServiceProcess(folder, dsn=database.dsn, sync_config="", api={"tokens": [ADMIN]}, sync_config_path=None)
    config = yaml.safe_load((folder / "service.yaml").read_text())
    del config["sync_config"], config["sync_config_path"]
    (folder / "service.yaml").write_text(yaml.safe_dump(config))
    process.start(wait_ready=False)
    process.wait_log("Listening on", START_TIMEOUT_S)
    yield process
    process.stop()
    postgres_server.drop(database)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command line in a new folder, with a home of its own and the right token."""

    def run(*arguments: str, **environment: str) -> Outcome:
        home = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": "", "PS_ADMIN_TOKEN": ADMIN}
        return run_command_line(tmp_path, *arguments, **(home | environment))

    return run


@pytest.mark.requirement(194, 201, 242)
def test_a_sync_config_is_deployed_and_fetched(service: ServiceProcess, run: Run, tmp_path: Path) -> None:
    assert run("link", "self-hosted", "--api-url", service.base_url).code == 0
    path = tmp_path / "powersync" / "sync-config.yaml"
    nothing = run("pull")
    assert (nothing.code, "No sync config is active" in nothing.err) == (1, True)
    path.write_text(LISTS_OF_OWNER.replace("SELECT", "SELEC"))
    assert run("status", "--wait", "0.1").code == 1
    refused = run("deploy")
    assert (refused.code, "Nothing was deployed." in refused.err) == (1, True)
    path.write_text(LISTS_OF_OWNER)
    assert json.loads(run("deploy", "--validate-only", "--output", "json").out) == {"deployed": False, "valid": True}
    deployed = run("deploy", "sync-config", "--deploy-timeout", "60", "--output", "json")
    assert deployed.code == 0, deployed.text
    assert json.loads(deployed.out)["active"] is True
    assert run("status", "--wait", "10").code == 0
    assert "is what the service has" in run("pull").out

    assert "Open streams: 0" in run("users", "connections").out
    unasked = run("users", "revoke", "u1")
    assert (unasked.code, "--yes" in unasked.err) == (1, True)
    assert "0 streams ended" in run("users", "revoke", "u1", "--yes").out
    assert run("users", "revoke", "u1", "--yes", "--until", "tomorrow").code == 1
    closed = run("source", "sql", "SELECT 1")
    assert (closed.code, "debug_api" in closed.err) == (1, True)
    again = run("reprocess", "--yes", "--output", "json")
    assert json.loads(again.out)["slot_name"] != json.loads(deployed.out)["slot_name"]

    path.write_text(OTHER)
    beside = run("pull", "instance")
    assert (beside.code, path.read_text()) == (0, OTHER)
    fetched = path.with_name("sync-config-fetched.yaml")
    assert fetched.read_text() == LISTS_OF_OWNER
    assert run("pull", "--overwrite").code == 0
    assert path.read_text() == LISTS_OF_OWNER
    late = run("deploy", "--deploy-timeout", "0.001")
    assert (late.code, "is not active after 0.001 seconds" in late.err) == (1, True)


@pytest.mark.requirement(203)
def test_a_service_that_runs_already_is_taken_up_from_an_empty_folder(
    service: ServiceProcess, run: Run, tmp_path: Path
) -> None:
    """As docs/howto/link-a-service.md has it. Where the official CLI names an instance by its ids, here it is its address."""
    assert run("link", "self-hosted", "--api-url", service.base_url, "--directory", "first").code == 0
    (tmp_path / "first" / "sync-config.yaml").write_text(LISTS_OF_OWNER)
    assert run("deploy", "--directory", "first", "--deploy-timeout", "60").code == 0

    assert "syncline link self-hosted --api-url" in run("link", "cloud").err
    assert run("link", "self-hosted", "--api-url", service.base_url).code == 0
    pulled = run("pull")
    assert pulled.code == 0, pulled.text
    project = tmp_path / "powersync"
    assert (project / "sync-config.yaml").read_text() == LISTS_OF_OWNER
    assert sorted(path.name for path in project.iterdir()) == ["cli.yaml", "sync-config.yaml"]
    assert ADMIN not in (project / "cli.yaml").read_text()
    assert run("status", "--wait", "10").code == 0
    listed = run("fetch", "instances")
    assert (listed.code, listed.out.count(service.base_url)) == (0, 2), listed.text


@pytest.mark.requirement(194)
def test_a_token_is_kept_for_its_service(service: ServiceProcess, run: Run, tmp_path: Path) -> None:
    assert run("link", "self-hosted", "--api-url", service.base_url).code == 0
    link = tmp_path / "powersync" / "cli.yaml"
    link.write_text(yaml.safe_dump({"type": "self-hosted", "api_url": service.base_url}))
    assert run("status", PS_ADMIN_TOKEN="").code == 1
    wrong = run("login", service.base_url, PS_ADMIN_TOKEN="wrong-token")
    assert (wrong.code, "PSYNC_S2101" in wrong.err, "wrong-token" in wrong.text) == (1, True, False)
    assert run("login", service.base_url).code == 0
    [path] = (tmp_path / "home").rglob("logins.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run("status", PS_ADMIN_TOKEN="").code == 0
    assert run("logout", service.base_url).code == 0
    assert run("logout", service.base_url).code == 1
    assert run("status", PS_ADMIN_TOKEN="").code == 1


def test_a_token_may_come_from_standard_input(
    service: ServiceProcess, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line, code in (("\n", 1), ("wrong\n", 1), (f"{ADMIN}\nmore\n", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(line))
        assert run("login", service.base_url, PS_ADMIN_TOKEN="").code == code
    assert run("login", "sync.example.com").code == 1


def test_a_service_that_is_not_there_ends_our_own_commands_with_3(run: Run) -> None:
    assert run("link", "self-hosted", "--api-url", f"http://127.0.0.1:{free_port()}").code == 0
    done = run("pull")
    assert (done.code, "cannot be reached" in done.err) == (3, True)
    assert ADMIN not in done.text


@pytest.mark.requirement(244)
def test_what_the_source_lacks_is_printed(
    service: ServiceProcess, run: Run, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    database = postgres_server.create()
    try:
        (tmp_path / "powersync").mkdir()
        config = yaml.safe_load((service.folder / "service.yaml").read_text())
        config["replication"]["connections"][0]["uri"] = database.dsn
        (tmp_path / "powersync" / "service.yaml").write_text(yaml.safe_dump(config))
        lacking = run("source", "setup", "--missing")
        assert lacking.code == 0, lacking.err
        assert "CREATE PUBLICATION powersync" in lacking.out
        checked = run("validate", "--validate-only", "connections", "--output", "json")
        assert checked.code == 1
        assert "CREATE PUBLICATION powersync" in checked.out
        database.execute("CREATE PUBLICATION powersync FOR ALL TABLES")
        assert "CREATE PUBLICATION" not in run("source", "setup", "--missing").out
        assert run("validate", "--validate-only", "connections").code == 0
    finally:
        postgres_server.drop(database)


@pytest.mark.requirement(244, 245)
def test_a_source_that_was_set_up_as_printed_lacks_nothing(
    service: ServiceProcess, run: Run, tmp_path: Path, postgres_database: ScratchDatabase
) -> None:
    """All but the settings of the server, which other tests use at the same time."""
    printed = run("source", "setup", "--type", "supabase").out
    assert printed.split("-- A role")[1] in run("source", "setup").out
    postgres_database.execute("CREATE TABLE lists (id text PRIMARY KEY)")
    postgres_database.execute(printed)
    try:
        (tmp_path / "powersync").mkdir()
        config = yaml.safe_load((service.folder / "service.yaml").read_text())
        config["replication"]["connections"][0]["uri"] = postgres_database.dsn.replace("postgres@", "syncline@")
        (tmp_path / "powersync" / "service.yaml").write_text(yaml.safe_dump(config))
        checked = run("validate", "--validate-only", "connections", "--output", "json")
        assert checked.code == 0, checked.out
        missing = run("source", "setup", "--missing").out
        assert not [word for word in ("GRANT", "CREATE PUBLICATION", "ROLE") if word in missing], missing
    finally:
        postgres_database.execute("DROP OWNED BY syncline; DROP ROLE syncline")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `docker` that writes down what it is called with; the file that it writes to."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n"
        f"with Path({str(calls)!r}).open('a') as file:\n    print(*sys.argv[1:], file=file)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return calls


@pytest.mark.requirement(196)
def test_a_stack_is_started_and_stopped(engine: Path, run: Run) -> None:
    assert run("init").code == 0
    assert run("docker", "start").code == 1  # nothing is configured
    assert run("docker", "configure").code == 0
    for words in (("start",), ("stop",), ("stop", "--remove"), ("stop", "--remove-volumes", "--yes"), ("reset",)):
        assert run("docker", *words).code == 0
    calls = [
        line.split("--project-name ")[1].split()[1:] for line in engine.read_text().splitlines() if "compose" in line
    ]
    assert calls == [
        ["up", "-d", "--wait"],
        ["stop"],
        ["down"],
        ["down", "--volumes"],
        ["down"],
        ["up", "-d", "--wait"],
    ]
    asked = run("docker", "stop", "--remove-volumes")  # nobody is there to be asked
    assert (asked.code, "--yes" in asked.err) == (1, True)
    assert len([line for line in engine.read_text().splitlines() if "compose" in line]) == len(calls)


@pytest.mark.requirement(196, 202)
@pytest.mark.parametrize("image", ["ours", "official"])
@pytest.mark.parametrize("database", ["postgres", "external", "none"])
def test_every_stack_is_whole(image: str, database: str, run: Run, tmp_path: Path) -> None:
    """All variables that the files ask for are in docker/.env, which is the only one with secrets, and for its owner alone."""
    assert run("init").code == 0
    storage = "postgres" if image == "official" else "none"
    arguments = ("--image", image, "--database", database, "--storage", storage)
    assert run("docker", "configure", *arguments).code == 0
    folder = tmp_path / "powersync" / "docker"
    environment = folder / ".env"
    assert stat.S_IMODE(environment.stat().st_mode) == 0o600
    variables = dict(line.split("=", 1) for line in environment.read_text().splitlines() if not line.startswith("#"))
    compose = yaml.safe_load((folder / "docker-compose.yaml").read_text())
    assert all((folder / module["path"]).exists() for module in compose.get("include", []))
    set_aside = {"PS_SOURCE_URI", "PS_SSLMODE"} if database == "none" else set[str]()
    service = (tmp_path / "powersync" / "service.yaml").read_text()
    asked = {word.strip() for line in service.splitlines() for word in line.split("#")[0].split("!env ")[1:]}
    assert {name.split()[0].strip("]},") for name in asked} - set_aside <= variables.keys()
    long = [value for value in variables.values() if len(value) >= 30]
    for path in [*folder.rglob("*.yaml"), tmp_path / "powersync" / "service.yaml", tmp_path / "powersync" / "cli.yaml"]:
        assert not [value for value in long if value in path.read_text()]
    without = variables | {name: value or "postgresql://a@b.invalid/c" for name, value in variables.items()}
    extra = {"PS_SOURCE_URI": "postgresql://a@b.invalid/c", "PS_SSLMODE": "disable"}
    checked = run("validate", "--offline", **(without | extra))
    assert checked.code == 0, checked.text


def test_settings_of_the_api_are_left_to_the_user(run: Run, tmp_path: Path) -> None:
    assert run("init").code == 0
    path = tmp_path / "powersync" / "service.yaml"
    own = path.read_text().replace(
        "- !env PS_ADMIN_TOKEN", "- !env PS_OTHER\n  parameters:\n    max_concurrent_connections: 7"
    )
    path.write_text(own)
    refused = run("docker", "configure")
    assert (refused.code, "PS_ADMIN_TOKEN" in refused.err, path.read_text()) == (1, True, own)
    assert not (tmp_path / "powersync" / "docker").exists()
    path.write_text(own.replace("PS_OTHER", "PS_ADMIN_TOKEN"))
    assert run("docker", "configure").code == 0
    assert yaml.safe_load(path.read_text().replace("!env ", ""))["api"]["parameters"] == {
        "max_concurrent_connections": 7
    }
    path.write_text("sync_config: {path: sync-config.yaml}\n")
    (tmp_path / "powersync" / "docker").rename(tmp_path / "old")
    assert run("docker", "configure").code == 0
    assert yaml.safe_load(path.read_text().replace("!env ", ""))["api"]["tokens"] == ["PS_ADMIN_TOKEN"]


def test_the_official_service_has_no_sqlite(run: Run) -> None:
    assert run("init").code == 0
    refused = run("docker", "configure", "--image", "official", "--storage", "none")
    assert (refused.code, "SQLite" in refused.err) == (1, True)


def test_an_engine_that_does_not_answer_is_given_up(engine: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("init").code == 0
    assert run("docker", "configure").code == 0
    program = engine.parent / "bin" / "docker"
    program.write_text(f"#!{sys.executable}\nimport signal\nsignal.pause()\n")
    assert PROBE_TIMEOUT_S >= 10
    monkeypatch.setattr(docker_engine, "PROBE_TIMEOUT_S", 0.2)
    done = run("docker", "start")
    assert (done.code, "does not answer" in done.err) == (1, True)


def test_without_an_engine_it_is_said_plainly(run: Run, tmp_path: Path) -> None:
    assert run("init").code == 0
    assert run("docker", "configure").code == 0
    (tmp_path / "empty").mkdir()
    done = run("docker", "start", PATH=str(tmp_path / "empty"))
    assert (done.code, "No container engine runs here" in done.err) == (1, True)
