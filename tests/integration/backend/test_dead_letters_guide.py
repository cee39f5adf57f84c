"""The code of docs/howto/dead-letters.md runs as it stands there, and does what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncline.backend import AuthenticatedUser, SyncBackend
from syncline.client import SyncDatabase
from syncline.protocol.crud import ResultStatus, UploadResponse
from syncline.sync_config import compile_sync_config
from syncline.testing.postgres import ScratchDatabase

PAGE = Path(__file__).parents[3] / "docs/howto/dead-letters.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
[STREAM] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
SQL = """
CREATE TABLE lists (id text PRIMARY KEY, name text UNIQUE, owner_id text NOT NULL);
CREATE TABLE audit (user_id text, op text, table_name text, row_id text);
"""
ANN = AuthenticatedUser("ann")


@pytest.fixture
async def page(
    postgres_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[dict[str, Any]]:
    """All names of the page, with its backend open."""
    postgres_database.execute(SQL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    names: dict[str, Any] = {}
    assert len(BLOCKS) == 5
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec", dont_inherit=True), names)
    await names["backend"].open()
    yield names
    await names["backend"].close()


async def send(backend: SyncBackend, *crud: dict[str, Any], user: AuthenticatedUser = ANN) -> Any:
    """The verdict over one transaction."""
    answer = await backend.handle_upload(json.dumps({"transactions": [{"crud": crud}]}).encode(), user)
    assert isinstance(answer, UploadResponse)
    return answer.results[0]


def put(row_id: str, table: str = "lists", **data: Any) -> dict[str, Any]:
    return {"op": "PUT", "table": table, "id": row_id, "op_data": data}


@pytest.mark.requirement(147, 235)
async def test_a_refused_write_is_told_kept_and_applied_later(
    page: dict[str, Any], postgres_database: ScratchDatabase, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    backend: SyncBackend = page["backend"]
    postgres_database.execute("INSERT INTO lists VALUES ('z', 'taken', 'bob')")
    refused = await send(backend, put("a", name="taken"))
    assert (refused.status, refused.dead_lettered) == (ResultStatus.FATAL_ERROR, True)
    assert await page["retry_all"]("UNIQUE_VIOLATION") == 0
    postgres_database.execute("DELETE FROM lists")
    assert await page["retry_all"]("UNIQUE_VIOLATION") == 1
    assert postgres_database.execute("SELECT id, name, owner_id FROM lists") == [("a", "taken", "ann")]
    await backend.close()  # its hooks have ended then
    assert "ann: UNIQUE_VIOLATION" in capsys.readouterr().out
    async with SyncDatabase(tmp_path / "app.db", schema=page["schema"]) as db:
        assert await db.get_all("SELECT * FROM powersync_write_results") == []


async def test_the_stream_of_the_page_compiles() -> None:
    plan = compile_sync_config(f"config: {{edition: 3}}\n{STREAM}")
    assert [stream.definition.name for stream in plan.compiled_streams] == ["rejections"]


@pytest.mark.requirement(144, 146)
async def test_hooks_and_mapper_do_what_the_page_says(page: dict[str, Any], postgres_database: ScratchDatabase) -> None:
    hooked: SyncBackend = page["hooked"]
    crud = [put("a", table="shopping", name="1"), put("b", table="drafts"), put("c", name="2")]
    assert (await send(hooked, *crud)).status is ResultStatus.SUCCESS
    assert postgres_database.execute("SELECT id, owner_id FROM lists ORDER BY id") == [("a", "ann"), ("c", "ann")]
    assert postgres_database.execute("SELECT * FROM audit ORDER BY row_id") == [
        ("ann", "PUT", "lists", "a"),
        ("ann", "PUT", "lists", "c"),
    ]
    suspended = AuthenticatedUser("ann", {"suspended": True})
    result = msgspec.to_builtins(await send(hooked, put("d", name="3"), user=suspended))
    assert result["failed_operation"]["error_code"] == "UNAUTHORIZED"


async def test_the_decision_is_left_to_the_device_where_the_page_s_callback_says_so(page: dict[str, Any]) -> None:
    asking: SyncBackend = page["asking"]
    assert (await send(asking, put("a", table="nowhere"))).requires_client_handling is False
    error = page["WriteRefused"]("USER_CONFIRMATION_REQUIRED", "Sure?")
    assert page["ask_the_user"](error, None) is True
