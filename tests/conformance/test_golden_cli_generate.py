"""Recorded runs of the official command line: `generate schema` byte for byte, `generate token`, `migrate sync-rules`."""

from __future__ import annotations

import base64
import http.client
import json
import random
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncline.embedded.ports import free_port
from syncline.sync_config import SyncPlan, compile_sync_config
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.conformance.golden_cli import INPUTS, RECORDINGS, recording
from tests.conformance.golden_http import GOLDEN
from tests.support.command_line import Outcome, run_command_line
from tests.unit.sync_config.migration.seeing import Connection, SourceRow, World

ADMIN = "golden-admin-token"
START_TIMEOUT_S = 60.0  # seconds, on a busy machine
OUTPUTS = ("dart", "dotNet", "dotNetClass", "js", "jsLegacy", "kotlin", "swift", "ts")
USER = "00000000-0000-4000-8000-000000000001"  # of the source
URL = "http://127.0.0.1:8080"  # of the service that the tokens were recorded for
SECRETS = {"first": b"first-secret-of-the-tests-0123456789", "second": b"second-secret-of-the-tests-012345678"}
AUDIENCES = ["powersync-dev", "second-audience"]


@pytest.fixture(scope="module")
def second(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    """The service of the recordings with `second`; the configs with mistakes were generated from by it too."""
    database = postgres_server.create()
    database.execute((INPUTS / "second.sql").read_text("utf-8"))
    config = (INPUTS / "second.yaml").read_text("utf-8")
    folder = tmp_path_factory.mktemp("second")
    service = ServiceProcess(folder, dsn=database.dsn, sync_config=config, api={"tokens": [ADMIN]})
    service.start(timeout_s=START_TIMEOUT_S)
    yield service
    service.stop()
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def golden_source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    """The source of the recordings with `golden`."""
    database = postgres_server.create()
    text = (GOLDEN / "golden-data.sql").read_text("utf-8")
    database.execute(text.replace("c_xml xml", "c_xml text"))  # the embedded server has no XML
    yield database
    postgres_server.drop(database)


def project(folder: Path, url: str, config: str | None, *, key: str = ADMIN, client_auth: Any = None) -> Path:
    """A project that is linked to a service; the folder that the command line is run in."""
    directory = folder / "powersync"
    directory.mkdir()
    (directory / "cli.yaml").write_text(yaml.safe_dump({"type": "self-hosted", "api_url": url, "api_key": key}))
    service = {"_type": "self-hosted"} | ({} if client_auth is None else {"client_auth": client_auth})
    (directory / "service.yaml").write_text(yaml.safe_dump(service))
    if config is not None:
        (directory / "sync-config.yaml").write_text(config)
    return folder


def run(folder: Path, *arguments: str, **environment: str) -> Outcome:
    return run_command_line(folder, *arguments, **({"PS_ADMIN_TOKEN": ""} | environment))


def input_text(name: str) -> str:
    return (INPUTS / f"{name}.yaml").read_text("utf-8")


# generate schema


@pytest.mark.requirement(166, 199)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_schema_from_the_running_service_is_the_recorded_one(
    output: str, second: ServiceProcess, tmp_path: Path
) -> None:
    theirs = recording(f"generate-schema-second-{output}")
    done = run(project(tmp_path, second.base_url, input_text("second")), *theirs.arguments)
    assert (done.code, done.out.strip()) == (theirs.code, theirs.out), done.err
    assert (tmp_path / "schema.out").read_bytes() == (RECORDINGS / theirs.name / "files/schema.out").read_bytes()


@pytest.mark.requirement(166, 199)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_schema_from_the_source_itself_is_the_recorded_one(
    output: str, golden_source: ScratchDatabase, tmp_path: Path
) -> None:
    theirs = recording(f"generate-schema-golden-{output}")
    folder = project(tmp_path, "", (GOLDEN / "golden-streams.yaml").read_text("utf-8"))
    done = run(folder, *theirs.arguments, "--source-uri", golden_source.dsn)
    assert (done.code, done.out.strip(), done.err) == (theirs.code, theirs.out, "")
    assert (tmp_path / "schema.out").read_bytes() == (RECORDINGS / theirs.name / "files/schema.out").read_bytes()


@pytest.mark.requirement(199)
def test_a_config_with_warnings_gives_the_recorded_schema(second: ServiceProcess, tmp_path: Path) -> None:
    theirs = recording("generate-schema-warnings-ts")
    done = run(project(tmp_path, second.base_url, input_text("warnings")), *theirs.arguments)
    assert (done.code, done.out.strip()) == (theirs.code, theirs.out), done.err
    assert (tmp_path / "schema.out").read_bytes() == (RECORDINGS / theirs.name / "files/schema.out").read_bytes()
    for word in ("user_name", "nosuch", "missing_table"):  # ours tells what it warns of
        assert word in done.err


@pytest.mark.parametrize("name", ["badedition", "badyaml", "errors", "nostreams"])
def test_a_config_that_cannot_be_used_ends_as_recorded(name: str, second: ServiceProcess, tmp_path: Path) -> None:
    theirs = recording(f"generate-schema-{name}-ts")
    done = run(project(tmp_path, second.base_url, input_text(name)), *theirs.arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert "PSYNC_R0001" in done.err
    assert "line " in done.err
    assert not (tmp_path / "schema.out").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("generate-schema-bad-output", "--output"), ("generate-schema-into-missing-folder", "no/such/folder/s.ts")],
)
def test_a_wrong_output_or_path_ends_as_recorded(name: str, says: str, second: ServiceProcess, tmp_path: Path) -> None:
    theirs = recording(name)
    arguments = ["perl" if word == "python" else word for word in theirs.arguments]  # which ours can write
    done = run(project(tmp_path, second.base_url, input_text("second")), *arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert says in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["powersync"]


@pytest.mark.requirement(199)
def test_without_a_local_config_the_running_one_is_used(second: ServiceProcess, tmp_path: Path) -> None:
    theirs = recording("generate-schema-second-kotlin")
    done = run(project(tmp_path, second.base_url, None), *theirs.arguments)
    assert done.code == 0, done.err
    assert (tmp_path / "schema.out").read_bytes() == (RECORDINGS / theirs.name / "files/schema.out").read_bytes()


def test_where_no_config_is_to_be_found_the_run_ends_as_recorded(
    golden_source: ScratchDatabase, tmp_path: Path
) -> None:
    theirs = recording("generate-schema-no-sync-config")
    done = run(project(tmp_path, "", None), *theirs.arguments, "--source-uri", golden_source.dsn)
    assert (done.code, done.out) == (theirs.code, "")
    assert "No active sync config found" in theirs.err
    assert "No active sync config found" in done.err


def test_a_wrong_key_and_a_silent_service_end_as_recorded(second: ServiceProcess, tmp_path: Path) -> None:
    theirs = recording("wrong-api-key-generate-schema")
    done = run(project(tmp_path, second.base_url, input_text("second"), key="wrong"), *theirs.arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert "PSYNC_S2101" in theirs.err
    assert "PSYNC_S2101" in done.err
    assert "wrong" not in done.err
    shutil.rmtree(tmp_path / "powersync")
    theirs = recording("unreachable-generate-schema")
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = run(project(tmp_path, nowhere, input_text("second")), *theirs.arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert nowhere in done.err


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("no-project-generate-schema", ("generate", "schema", "--output", "ts", "--output-path", "s.ts")),
        ("no-project-generate-token", ("generate", "token", "--subject", "u")),
        ("no-project-migrate", ("migrate", "sync-rules")),
    ],
)
def test_without_a_project_a_command_ends_as_recorded(name: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    theirs = recording(name)
    assert theirs.arguments == arguments
    done = run(tmp_path, *arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert 'Directory "powersync" not found' in done.err
    assert list(tmp_path.iterdir()) == []


# generate token


def _keys(*names: str | None) -> dict[str, Any]:
    keys: list[dict[str, str]] = []
    for name in names:
        secret = base64.urlsafe_b64encode(SECRETS[name or "first"]).rstrip(b"=").decode()
        keys.append({"kty": "oct", "alg": "HS256", "k": secret} | ({} if name is None else {"kid": name}))
    return {"jwks": {"keys": keys}}


RSA = {"kty": "RSA", "alg": "RS256", "kid": "public", "n": "AQAB", "e": "AQAB"}
TOKENS: dict[str, Any] = {
    "generate-token-default": _keys("first", "second") | {"audience": AUDIENCES},
    "generate-token-expires": _keys("first", "second") | {"audience": AUDIENCES},
    "generate-token-expires-week": _keys("first") | {"audience": AUDIENCES},
    "generate-token-expires-zero": _keys("first") | {"audience": AUDIENCES},
    "generate-token-key-without-kid": _keys(None) | {"audience": AUDIENCES},
    "generate-token-kid": _keys("first", "second") | {"audience": AUDIENCES},
    "generate-token-no-audience": _keys("first"),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "generate-token-jwks-uri": ({"jwks_uri": "http://127.0.0.1:9/jwks"}, "No usable keys found"),
    "generate-token-no-jwks": ({"audience": AUDIENCES}, "No usable keys found"),
    "generate-token-rs256-only": ({"jwks": {"keys": [RSA]}}, "No usable keys found"),
    "generate-token-template-has-no-key": (None, "No usable keys found"),
    "generate-token-unknown-kid": (_keys("first"), "No key found with the given kid"),
    "generate-token-no-subject": (_keys("first"), "--subject"),
}


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, body))
    return header, claims


@pytest.mark.requirement(119, 200)
@pytest.mark.parametrize("name", TOKENS)
def test_a_token_says_what_the_recorded_one_says(name: str, tmp_path: Path) -> None:
    theirs = recording(name)
    expected = json.loads((RECORDINGS / name / "token.json").read_text("utf-8"))
    done = run(project(tmp_path, URL, None, client_auth=TOKENS[name]), *theirs.arguments)
    assert done.code == theirs.code, done.err
    [token] = done.out.splitlines()  # and nothing else, so that it can be piped
    header, claims = _parts(token)
    assert abs(claims["iat"] - time.time()) < 60
    lifetime_s = int(expected["claims"].pop("exp").removeprefix("<NOW> + "))
    assert claims.pop("exp") == claims["iat"] + lifetime_s
    assert header == expected["header"]
    assert claims == expected["claims"] | {"iat": claims["iat"]}
    assert list(claims) == list(expected["claims"])


@pytest.mark.requirement(200)
@pytest.mark.parametrize("name", REFUSED)
def test_a_token_that_cannot_be_made_ends_as_recorded(name: str, tmp_path: Path) -> None:
    theirs = recording(name)
    client_auth, says = REFUSED[name]
    done = run(project(tmp_path, URL, None, client_auth=client_auth), *theirs.arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert says in done.err
    if says == "No usable keys found":  # both print what to add
        assert [line.strip(" ›") for line in theirs.err.splitlines() if ":" in line][-4:] == [
            line.strip() for line in done.err.splitlines()
        ][-4:]


@pytest.mark.requirement(119, 200)
def test_a_token_of_the_command_opens_a_stream_of_the_service(second: ServiceProcess, tmp_path: Path) -> None:
    folder = project(tmp_path, second.base_url, None)
    shutil.copy(second.folder / "service.yaml", folder / "powersync")
    done = run(folder, "generate", "token", "--subject", USER)
    assert done.code == 0, done.err
    connection = http.client.HTTPConnection("127.0.0.1", second.port, timeout=START_TIMEOUT_S)
    connection.request("POST", "/sync/stream", "{}", {"authorization": f"Token {done.out.strip()}"})
    answer = connection.getresponse()
    first = json.loads(answer.readline())
    connection.close()
    assert answer.status == 200
    assert any(USER in bucket["bucket"] for bucket in first["checkpoint"]["buckets"])


# migrate sync-rules

TAKEN = "migrate-sync-rules-08-json-array"  # refused there: json_each as a table
REFUSED_RULES = {  # with the place in the input; theirs is one inside of a generated text, or none
    "migrate-sync-rules-12-invalid": (1, "line 6, column 9"),
    "migrate-sync-rules-14-mixed-or": (0, "line 3, column 65"),  # no service runs these rules, so nobody can have them
}
MIGRATED = sorted({path.name for path in RECORDINGS.glob("migrate-sync-rules-[01]*")} - REFUSED_RULES.keys())


@pytest.mark.requirement(174)
@pytest.mark.parametrize("name", MIGRATED)
def test_sync_rules_are_migrated_as_recorded_or_better(name: str, tmp_path: Path) -> None:
    """The wording of the streams is ours: tests of the migration compare what users see. Here: codes, texts, files."""
    theirs = recording(name)
    before = (RECORDINGS / name / "in.yaml").read_text("utf-8")
    (tmp_path / "in.yaml").write_text(before)
    done = run(tmp_path, *theirs.arguments)
    assert done.code == (0 if name == TAKEN else theirs.code), done.err
    assert done.out.strip() == (theirs.out or "Wrote out.yaml with migrated sync streams.")
    assert (tmp_path / "in.yaml").read_text() == before
    written = (tmp_path / "out.yaml").read_text()
    document = yaml.safe_load(written)
    assert document["config"]["edition"] == 3
    assert "bucket_definitions" not in document
    compile_sync_config(written)
    assert written.startswith("# a comment at the top\n" if before.startswith("#") else "config:\n")
    assert "token_parameters" not in written  # left as it was there, which no stream knows
    if theirs.code == 0:
        out = (RECORDINGS / name / "files/out.yaml").read_text("utf-8")
        official = yaml.safe_load(out.partition(">")[2])  # two comment lines stand before it without a line's end
        assert _payloads(document) == _payloads(official)
        both = [{stream.get("priority") for stream in found["streams"].values()} for found in (document, official)]
        assert both[0] == both[1]


SOURCE_COLUMNS = (
    *(
        "owner_id",
        "list_id",
        "org_id",
        "team_id",
        "user_id",
        "region",
        "project",
        "editor_id",
        "name",
        "title",
        "what",
        "pic",
        "org",
    ),
    *("archived", "active", "done", "is_admin"),
)
FLAGS = ("archived", "active", "done", "is_admin")


def _source_rows(plan: SyncPlan, rng: random.Random) -> list[SourceRow]:
    """Rows with few different values in every table that the plan reads; `things` stands for what a pattern means."""
    rows: list[SourceRow] = []
    for pattern in plan.table_patterns:
        for _ in range(30):
            values = {
                name: rng.choice([0, 1, None] if name in FLAGS else ["a", "b", "u", None]) for name in SOURCE_COLUMNS
            }
            name = "things" if pattern.name == "%" else pattern.name
            rows.append(SourceRow(name, {"id": rng.choice("abcu"), **values}, pattern.schema))
    return rows


@pytest.mark.requirement(174)
@pytest.mark.parametrize("name", [name for name in MIGRATED if not name.endswith(("json-array", "token-parameters"))])
def test_users_see_the_rows_that_the_recorded_migration_shows_them(name: str, tmp_path: Path) -> None:
    """Left out: what was refused there, and what names something that streams do not have."""
    folder = RECORDINGS / name
    shutil.copy(folder / "in.yaml", tmp_path)
    assert run(tmp_path, *recording(name).arguments).code == 0
    # Their two comment lines stand before the first one without a line's end.
    official = compile_sync_config((folder / "files/out.yaml").read_text("utf-8").partition(">")[2])
    ours = compile_sync_config((tmp_path / "out.yaml").read_text("utf-8"))
    seen = 0
    for seed in range(5):
        rows = _source_rows(official, random.Random(seed))
        user = Connection({"sub": "u", "region": "a", "role": "admin"}, {"project": "b", "who": "a"})
        assert World(ours, rows).sees(user) == World(official, rows).sees(user), f"seed {seed}"
        seen += len(World(ours, rows).sees(user))
    assert seen


def _payloads(document: Any) -> dict[str, list[str]]:
    events = document.get("event_definitions", {})
    return {name: [query.strip() for query in event["payloads"]] for name, event in events.items()}


@pytest.mark.parametrize("name", REFUSED_RULES)
def test_sync_rules_that_are_wrong_are_refused_with_their_place(name: str, tmp_path: Path) -> None:
    theirs = recording(name)
    code, place = REFUSED_RULES[name]
    assert theirs.code == code
    shutil.copy(RECORDINGS / theirs.name / "in.yaml", tmp_path)
    done = run(tmp_path, *theirs.arguments)
    assert (done.code, done.out) == (1, "")
    assert place in done.err
    assert not (tmp_path / "out.yaml").exists()


def test_a_missing_input_ends_as_recorded(tmp_path: Path) -> None:
    theirs = recording("migrate-sync-rules-missing-input")
    done = run(tmp_path, *theirs.arguments)
    assert (done.code, done.out) == (theirs.code, "")
    assert "Sync input file nope.yaml not found." in done.err


def test_without_paths_the_project_s_sync_config_is_overwritten(tmp_path: Path) -> None:
    theirs = recording("migrate-sync-rules-default-overwrites-input")
    rules = (RECORDINGS / "migrate-sync-rules-03-parameter-table" / "in.yaml").read_text("utf-8")
    done = run(project(tmp_path, URL, rules), *theirs.arguments)
    assert done.code == theirs.code, done.err
    assert done.out.strip() == theirs.out.replace("<DIR>/", "")
    document = yaml.safe_load((tmp_path / "powersync/sync-config.yaml").read_text())
    assert [stream["priority"] for stream in document["streams"].values()] == [1]
