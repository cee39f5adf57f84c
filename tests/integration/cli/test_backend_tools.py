"""`syncline backend types` and `openapi` print what the toolkit's own tests hold against the database and the routes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from syncline.backend.type_table import POSTGRES_TYPES
from syncline.cli.main import TABLE
from tests.support.command_line import run_command_line

ROOT = Path(__file__).parents[3]
APP = """
from pathlib import Path

from syncline.auth.signer import TokenSigner
from syncline.backend import BackendAuth, SyncBackend, TablePolicy
from syncline.backend.metrics import metrics_route
from syncline.backend.persisters.postgres import PostgresPersister

auth = BackendAuth(TokenSigner.from_pem_file(Path(__file__).with_name("key.pem"), create=True), audience="a", service_url="http://a")
backend = SyncBackend(
    persister=PostgresPersister("postgresql://nobody@127.0.0.1:1/none"),
    auth=auth,
    tables={"lists": TablePolicy(owner=None)},
    more_routes=[metrics_route()],
)
"""


@pytest.mark.requirement(256)
def test_the_type_table_is_printed(tmp_path: Path) -> None:
    human = run_command_line(tmp_path, "backend", "types")
    assert human.out == (ROOT / "tests/fixtures/backend_types.md").read_text("utf-8")
    rows = json.loads(run_command_line(tmp_path, "backend", "types", "--output", "json").out)
    assert [row["types"] for row in rows] == [row.types for row in POSTGRES_TYPES]
    assert yaml.safe_load(run_command_line(tmp_path, "backend", "types", "--output", "yaml").out) == rows


@pytest.mark.requirement(149, 260)
def test_the_documents_of_both_apis_are_printed(tmp_path: Path) -> None:
    own = run_command_line(tmp_path, "openapi")
    assert own.out == (ROOT / "docs/reference/write-api.openapi.json").read_text("utf-8")
    service = run_command_line(tmp_path, "openapi", "--service")
    assert json.loads(service.out) == json.loads((ROOT / "docs/reference/openapi.json").read_text("utf-8"))
    assert yaml.safe_load(run_command_line(tmp_path, "openapi", "--output", "yaml").out) == json.loads(own.out)


def test_an_apps_own_routes_are_in_its_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])  # the command adds the folder: that is undone with this
    (tmp_path / "openapi_app.py").write_text(APP)
    done = run_command_line(tmp_path, "openapi", "--backend", "openapi_app:backend")
    assert done.code == 0, done.text
    assert "/metrics" in json.loads(done.out)["paths"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--backend", "nowhere:backend"), 1, "cannot be imported"),
        (("--backend", "json:loads"), 1, "not a SyncBackend"),
        (("--backend", "a:b", "--service"), 2, "exclude each other"),
    ],
)
def test_what_is_no_backend_is_said(words: tuple[str, ...], code: int, says: str, tmp_path: Path) -> None:
    done = run_command_line(tmp_path, "openapi", *words)
    assert (done.code, says in done.err) == (code, True), done.text


@pytest.mark.requirement(147)
@pytest.mark.parametrize(
    ("short", "long"), [("ls", "list"), ("show", "show"), ("retry", "retry"), ("discard", "discard")]
)
def test_dlq_is_another_name_for_dead_letters(short: str, long: str) -> None:
    commands = [TABLE.command(f"dlq {short}"), TABLE.command(f"dead-letters {long}")]
    assert len({command.target for command in commands if command is not None}) == 1
