"""The programs of docs/howto/backend-databases.md take an upload."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import sqlite3
from pathlib import Path

import pytest

from syncline.backend import AuthenticatedUser, SyncBackend
from syncline.protocol.crud import ResultStatus, UploadResponse
from tests.support.mariadb import MARIADB_MISSING, MariaDBServer, mariadb_is_there, run_statements

PAGE = (Path(__file__).parents[3] / "docs/howto/backend-databases.md").read_text("utf-8")
PROGRAMS = dict(re.findall(r"^```python\n# (\S+)\.py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
[CONFLICTS_SQL] = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
LISTS_SQL = "CREATE TABLE lists (id varchar(36) PRIMARY KEY, name varchar(50), owner_id varchar(50))"
UPLOAD = {"transactions": [{"crud": [{"op": "PUT", "table": "lists", "id": "a", "op_data": {"name": "1"}}]}]}


def backend_of(source: str, folder: Path) -> SyncBackend:
    """The `backend` of a program."""
    path = folder / "program.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("program", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.backend, SyncBackend)
    return module.backend


async def upload(backend: SyncBackend) -> None:
    await backend.open()
    try:
        answer = await backend.handle_upload(json.dumps(UPLOAD).encode(), AuthenticatedUser("ann"))
    finally:
        await backend.close()
    assert isinstance(answer, UploadResponse)
    assert [result.status for result in answer.results] == [ResultStatus.SUCCESS]


def test_the_page_has_three_programs() -> None:
    assert sorted(PROGRAMS) == ["engine_backend", "mysql_backend", "sqlite_backend"]


@pytest.mark.parametrize("name", ["sqlite_backend", "engine_backend"])
async def test_the_programs_for_sqlite(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(sqlite3.connect("app.db")) as connection:
        connection.execute(LISTS_SQL)
    backend = backend_of(PROGRAMS[name], tmp_path)
    await upload(backend)
    engine = getattr(backend.persister, "_engine", None)
    if engine is not None:
        await engine.dispose()  # an app's own is left open
    with contextlib.closing(sqlite3.connect("app.db")) as connection:
        assert connection.execute("SELECT id, name, owner_id FROM lists").fetchall() == [("a", "1", "ann")]


@pytest.mark.skipif(not mariadb_is_there(), reason=MARIADB_MISSING)
async def test_the_program_for_mysql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with MariaDBServer() as server:
        url = server.create()
        run_statements(url, LISTS_SQL, CONFLICTS_SQL)
        shown = url.set(drivername="mysql").render_as_string(hide_password=False)
        source = PROGRAMS["mysql_backend"].replace("mysql://app:secret@db.example.com/app", shown)
        await upload(backend_of(source, tmp_path))
        assert run_statements(url, "SELECT id, name, owner_id FROM lists") == [("a", "1", "ann")]
        server.drop(url)
