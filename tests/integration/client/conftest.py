from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from tests.support.scripted_service import ScriptedService, serve

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name")]),
        Table("drafts", [Column.text("body")], local_only=True),
    ]
)


@pytest.fixture
async def service() -> AsyncGenerator[ScriptedService]:
    async with serve() as running:
        yield running


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


@pytest.fixture
def connector(service: ScriptedService) -> HttpConnector:
    return HttpConnector(service.url)
