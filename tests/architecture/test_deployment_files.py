"""The files of `deploy/` hold together: with each other, with the command line, the configuration and docs/howto/deploy.md."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from syncline.api.probes import PROBES_FOLDER
from syncline.cli.main import app
from syncline.service.config import load_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs/howto/deploy.md").read_text("utf-8")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
UNIT = (DEPLOY / "syncline.service").read_text("utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
COMMANDS: set[str] = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # the app has several commands, so that typer makes a group of them
UNIT_OPTIONS = {
    "Unit": {"Description", "After", "Wants", "StartLimitIntervalSec"},
    "Service": {
        *("Type", "ExecStart", "EnvironmentFile", "Environment", "DynamicUser", "StateDirectory", "StateDirectoryMode"),
        *("WorkingDirectory", "Restart", "RestartSec", "KillMode", "TimeoutStopSec", "LimitNOFILE", "NoNewPrivileges"),
        *(
            "CapabilityBoundingSet",
            "AmbientCapabilities",
            "ProtectSystem",
            "ProtectHome",
            "ProtectProc",
            "ProtectClock",
        ),
        *("ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"),
        *("ProtectControlGroups", "PrivateTmp", "PrivateDevices", "RestrictAddressFamilies", "RestrictNamespaces"),
        *("RestrictRealtime", "RestrictSUIDSGID", "RemoveIPC", "LockPersonality", "MemoryDenyWriteExecute"),
        *("SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber", "UMask"),
    },
    "Install": {"WantedBy"},
}


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, lines that go on put together."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def arguments(name: str) -> list[str]:
    return [argument for found, argument in instructions() if found == name]


def image_variables() -> dict[str, str]:
    """What ENV of the last stage sets."""
    return dict(pair.split("=", 1) for pair in shlex.split(arguments("ENV")[-1]))


def env_names(text: str) -> set[str]:
    return set(re.findall(r"!env (\w+)", re.sub(r"#.*", "", text)))


@pytest.mark.requirement(188, 229)
def test_the_image_runs_our_command_as_user_901_on_port_8080() -> None:
    known = {
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "ENV",
        "USER",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert {name for name, _ in instructions()} <= known
    [entry] = json.loads(arguments("ENTRYPOINT")[0])
    assert entry in PROJECT["project"]["scripts"]
    assert json.loads(arguments("CMD")[0])[0] in COMMANDS
    assert arguments("USER") == ["901:901"]
    assert arguments("EXPOSE") == ["8080"]
    assert all(" python:3" in f" {image}" and "-slim" in image for image in arguments("FROM"))
    assert image_variables()["SYNCLINE_HOST"] == "0.0.0.0", "a container that listens on itself alone is no use"
    assert image_variables()["XDG_DATA_HOME"] + "/syncline" in arguments("VOLUME")
    writable = next(argument for argument in arguments("RUN") if "chown" in argument)
    assert f"/app/{PROBES_FOLDER}" in writable
    assert "/var/lib/syncline" in writable
    assert arguments("WORKDIR")[-1] == "/app"


def test_what_the_image_copies_is_there_and_is_sent_to_the_builder() -> None:
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    copied = [part for argument in arguments("COPY") if "--from" not in argument for part in argument.split()[:-1]]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in sent] == []
    extra = re.search(r"--extra (\w+)", DOCKERFILE)
    assert extra
    assert extra[1] in PROJECT["project"]["optional-dependencies"]


def test_commands_that_the_page_runs_exist() -> None:
    named = set(re.findall(r"(?:bin/|`|… )syncline ([a-z][a-z-]+)", PAGE)) | {"test-connection", "compact", "teardown"}
    assert named - {"syncline"} <= COMMANDS
    assert all(f"`{name}" in PAGE or f"syncline {name}" in PAGE for name in named)


@pytest.mark.requirement(188)
def test_the_compose_file_has_what_replication_and_the_service_need() -> None:
    services = compose()["services"]
    assert "wal_level=logical" in services["postgres"]["command"]
    service = services["syncline"]
    assert service["command"][0] in COMMANDS
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert service["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "healthcheck" in services["postgres"]
    assert any(port.endswith(":8080:8080") for port in service["ports"])
    for volume in [*service["volumes"], *services["postgres"]["volumes"]]:
        name = volume.split(":")[0]
        assert (DEPLOY / name).exists() if name.startswith(".") else name in compose()["volumes"]
    assert any(mount.startswith(f"/app/{PROBES_FOLDER}") for mount in service["tmpfs"]), "the file system is read-only"
    assert "CREATE PUBLICATION powersync" in (DEPLOY / "postgres/01-syncline.sql").read_text("utf-8")


@pytest.mark.requirement(188)
def test_the_configuration_of_the_compose_file_is_one_with_its_environment() -> None:
    environment = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "environment.example").read_text("utf-8"), re.MULTILINE))
    given = {
        name: re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda found: environment[found[1]], str(value))
        for name, value in compose()["services"]["syncline"]["environment"].items()
    }
    asked = env_names((DEPLOY / "config/service.yaml").read_text("utf-8"))
    assert asked <= given.keys()
    config = load_config(path=DEPLOY / "config/service.yaml", environment=given, working_directory=DEPLOY)
    assert config.notes == ()
    assert config.port == 8080
    assert (config.source.host, config.source.database) == ("postgres", "app")
    assert config.storage_postgres is not None
    assert config.storage_postgres.address.database == "syncline"
    assert config.source.password == environment["POSTGRES_PASSWORD"]
    assert config.settings.api.tokens == [environment["PS_API_TOKEN"]]
    assert "edition" in config.sync_config_text()


def test_every_variable_is_explained() -> None:
    files = (DEPLOY / "compose.yaml").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+)", files)) | env_names((DEPLOY / "config/service.yaml").read_text("utf-8"))
    for service in compose()["services"].values():
        asked |= service["environment"].keys()
    asked |= {name for name in image_variables() if name not in {"PATH", "PYTHONUNBUFFERED"}}
    explained = {
        name for row in re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert sorted(asked - explained) == []
    example = set(re.findall(r"^(\w+)=", (DEPLOY / "environment.example").read_text("utf-8"), re.MULTILINE))
    assert sorted(set(re.findall(r"\$\{(\w+)", files)) - example) == []
    assert sorted(example - set(re.findall(r"\$\{(\w+)", files))) == []


@pytest.mark.requirement(229)
def test_the_port_is_the_configuration_s_and_8080_without_one(tmp_path: Path) -> None:
    """The reference's recipe publishes port 80 of the container, which is right only with `port: 80`."""
    file = tmp_path / "service.yaml"
    text = "replication: {connections: [{type: postgresql, uri: 'postgresql://u:p@db/app', sslmode: disable}]}\n"
    for line, port in (("", 8080), ("port: 80\n", 80)):
        file.write_text(text + line)
        assert load_config(path=file, environment={}, working_directory=tmp_path).port == port
    assert "needs `port: 80`" in PAGE


def test_the_unit_s_options_are_known() -> None:
    section, found = "", {name: set[str]() for name in UNIT_OPTIONS}
    for line in UNIT.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            found[section].add(line.partition("=")[0])
    assert found == UNIT_OPTIONS
    command = re.search(r"^ExecStart=/opt/syncline/bin/(\w+) (\w+) -c ", UNIT, re.MULTILINE)
    assert command
    assert command[1] in PROJECT["project"]["scripts"]
    assert command[2] in COMMANDS


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    program = tmp_path / "syncline"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "syncline.service"
    unit.write_text(UNIT.replace("/opt/syncline/bin/syncline", str(program)))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True
    )
    assert rated.returncode == 0, rated.stdout


def test_the_proxies_of_the_page_pass_streams_on() -> None:
    nginx, caddy, traefik = (
        re.search(rf"^```{language}\n(.*?)^```", PAGE[PAGE.index(f"### {name}") :], re.DOTALL | re.MULTILINE)
        for name, language in (("nginx", "nginx"), ("Caddy", "caddyfile"), ("Traefik", "yaml"))
    )
    assert nginx
    assert caddy
    assert traefik
    for directive in (
        "proxy_buffering off",
        "gzip off",
        "proxy_http_version 1.1",
        "http2 on",
        "client_max_body_size 4m",
    ):
        assert f"{directive};" in nginx[1]
    assert "proxy_set_header Upgrade $http_upgrade;" in nginx[1]
    assert nginx[1].count("{") == nginx[1].count("}")
    assert "flush_interval -1" in caddy[1]
    assert caddy[1].count("{") == caddy[1].count("}")
    http = yaml.safe_load(traefik[1])["http"]
    assert http["services"]["syncline"]["loadBalancer"]["responseForwarding"]["flushInterval"] == "-1ms"
    assert http["routers"]["syncline"]["service"] in http["services"]


def engine_runs() -> bool:
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], capture_output=True, timeout=30).returncode == 0
    )


@pytest.mark.requirement(188)
def test_compose_understands_the_file() -> None:
    command = ["docker", "compose", "--env-file", "environment.example", "config", "--quiet"]
    if shutil.which("docker") is None or subprocess.run([*command[:2], "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed here")
    checked = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.requirement(188)
@pytest.mark.timeout(900)
def test_the_image_is_built_where_there_is_an_engine() -> None:
    if not engine_runs():
        pytest.skip("no container engine runs here: the image was not built")
    built = subprocess.run(
        ["docker", "build", "-f", "deploy/Dockerfile", "-t", "syncline-test", "."], cwd=ROOT, capture_output=True
    )
    assert built.returncode == 0, built.stderr
    told = subprocess.run(["docker", "run", "--rm", "syncline-test", "--version"], capture_output=True, text=True)
    assert told.stdout.strip() == PROJECT["project"]["version"]
