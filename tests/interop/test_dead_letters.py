"""Refused transactions outlive an official SDK that opens the file, writes to it and clears it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from syncline.client import Column, Refusal, Schema, SyncDatabase, Table
from tests.interop.node_sdk import NodeSdk

TABLES = {"lists": {"name": "text"}}
SCHEMA = Schema([Table("lists", [Column.text("name")])])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node() -> AsyncGenerator[NodeSdk]:
    async with NodeSdk() as running:
        yield running


@pytest.mark.requirement(45)
@pytest.mark.asyncio(loop_scope="session")
async def test_an_official_sdk_neither_drops_nor_clears_the_dead_letters(node: NodeSdk, tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('a', 'refused')")
        transaction = await db.get_next_crud_transaction()
        assert transaction is not None
        await transaction.reject(Refusal("CHECK_VIOLATION", "no"))
        before = await db.dead_letters.list()
    await node.ask("open", folder=str(tmp_path), file="app.db", tables=TABLES, counted=["lists"])
    try:
        await node.ask("execute", sql="INSERT INTO lists(id, name) VALUES ('b', 'theirs')")
        assert await node.ask("all", sql="SELECT error_code FROM syncline_dead_letters") == [
            {"error_code": "CHECK_VIOLATION"}
        ]
        await node.ask("disconnectAndClear", soft=False)
        assert await node.ask("all", sql="SELECT id FROM lists") == []
    finally:
        await node.ask("close")
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        assert await db.dead_letters.list() == before
        assert await db.dead_letters.retry(before[0].id)
        [again] = await db.get_crud_transactions(5)
        assert [entry.id for entry in again.crud] == ["a"]
