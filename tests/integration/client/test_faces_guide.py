"""The code of docs/howto/client-faces.md runs as it stands there."""

from __future__ import annotations

import asyncio
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication

from syncline.client import SyncDatabase
from syncline.testing.waiting import eventually

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "client-faces.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.requirement(81, 96)
async def test_every_block_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # a bare name is one in the folder of the app's data
    window = QCoreApplication.instance() or QCoreApplication([])
    page = types.ModuleType("faces_page")  # SQLAlchemy looks for a model's annotations in its module
    monkeypatch.setitem(sys.modules, page.__name__, page)
    names = page.__dict__
    assert len(BLOCKS) == 6
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec", dont_inherit=True), names)
    del window
    async with asyncio.timeout(60):
        await names["main"]()
        await _run_textual(names)
        await _ask_fastapi(names)
    async with SyncDatabase("app.db", schema=names["schema"]) as db:
        assert sorted(row["title"] for row in await db.get_all("SELECT title FROM todos")) == ["Bread", "Milk"]


async def _run_textual(names: dict[str, Any]) -> None:
    made: list[Any] = []

    class Noted(names["TodoApp"]):
        def on_mount(self) -> None:
            made.append(self)

    names["TodoApp"] = Noted
    running = asyncio.create_task(names["run"]())
    await eventually(lambda: made and "Milk" in str(made[0].query_one(names["Todos"]).render()))
    made[0].exit()
    await running


async def _ask_fastapi(names: dict[str, Any]) -> None:
    from tests.integration.client.test_fastapi_dependency import served

    async with served(names["app"]) as client, client.get("/todos") as answer:
        assert sorted(await answer.json()) == ["Bread", "Milk"]
