"""The backend's policies through devices and the service in memory: what a row becomes, and what its devices see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from syncline.backend import TablePolicy, via
from syncline.backend.conflicts import RecordConflicts, VersionColumn
from syncline.client import Column, Schema, Table
from syncline.testing.service import MemoryDevice, MemoryService
from syncline.testing.simulated_loop import simulate

CONFLICT_COLUMNS = "user_id table_name row_id conflict_type client_data server_data resolved created_at"
SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.text("note"), Column.integer("version")]),
        Table("todos", [Column.text("listId"), Column.text("title")]),
        Table("write_conflicts", [Column.text(name) for name in CONFLICT_COLUMNS.split()]),
    ]
)
SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists: {auto_subscribe: true, query: "SELECT * FROM lists WHERE owner_id = auth.user_id() AND deleted_at IS NULL"}
"""
RENAMED_CONFIG = """
config: {edition: 3}
streams:
  lists: {auto_subscribe: true, query: "SELECT * FROM lists WHERE org_id = auth.parameter('org')"}
  todos: {auto_subscribe: true, query: 'SELECT id, list_id AS "listId", title FROM app_todos AS todos'}
"""
CONFLICTS_CONFIG = (
    SYNC_CONFIG
    + '  conflicts: {auto_subscribe: true, query: "SELECT * FROM write_conflicts WHERE user_id = auth.user_id()"}\n'
)
KEPT = {"lists": TablePolicy(owner="owner_id", soft_delete="deleted_at")}

Scenario = Callable[[MemoryService, MemoryDevice, MemoryDevice], Coroutine[Any, Any, None]]


def play(
    scenario: Scenario, folder: Path, policies: Mapping[str, TablePolicy], config: str = SYNC_CONFIG, **claims: Any
) -> None:
    """Two devices of ada, connected."""

    async def main(_: object) -> None:
        async with (
            MemoryService(config, schema=SCHEMA, folder=folder, policies=policies) as service,
            service.device("phone.db", user_id="ada", claims=claims) as phone,
            service.device("laptop.db", user_id="ada", claims=claims) as laptop,
        ):
            await scenario(service, phone, laptop)

    folder.mkdir(exist_ok=True)
    simulate(main, seed=1)


async def names(device: MemoryDevice) -> list[tuple[str, str | None]]:
    rows = await device.db.get_all("SELECT name, note FROM lists ORDER BY name")
    return [(row["name"], row["note"]) for row in rows]


async def write(device: MemoryDevice, *statements: str) -> None:
    for statement in statements:
        await device.db.execute(statement)
    await asyncio.sleep(1)


def test_a_deleted_row_stays_in_the_source_and_a_later_edit_does_not_bring_it_back(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice, laptop: MemoryDevice) -> None:
        await write(phone, "INSERT INTO lists (id, name) VALUES ('l1', 'Food')")
        assert await names(laptop) == [("Food", None)]
        laptop.link.offline = True
        await write(phone, "DELETE FROM lists")
        await write(laptop, "UPDATE lists SET name = 'Drinks'")
        laptop.link.offline = False
        await asyncio.sleep(5)
        assert await names(phone) == await names(laptop) == []
        [row] = service.rows("lists")
        assert (row["name"], row["owner_id"], row["deleted_at"][-1]) == ("Food", "ada", "Z")
        await write(laptop, "INSERT INTO lists (id, name) VALUES ('l1', 'Again')")
        assert await names(phone) == [("Again", None)]
        assert service.rows("lists")[0]["deleted_at"] is None

    play(scenario, tmp_path, KEPT)


def test_a_row_that_comes_again_keeps_or_loses_the_columns_that_it_does_not_bring(tmp_path: Path) -> None:
    async def come_again(service: MemoryService, phone: MemoryDevice, laptop: MemoryDevice) -> None:
        await write(phone, "INSERT INTO lists (id, name, note) VALUES ('l1', 'Food', 'milk')")
        laptop.link.offline = True
        await write(laptop, "DELETE FROM lists", "INSERT INTO lists (id, name) VALUES ('l1', 'Drinks')")
        laptop.link.offline = False
        await asyncio.sleep(5)
        assert await names(phone) == await names(laptop) == [("Drinks", expected)]

    columns = ["name", "note"]
    replacing = TablePolicy(owner="owner_id", soft_delete="deleted_at", columns=columns, put_mode="replace")
    expected: str | None = "milk"  # the row was only marked in between
    play(come_again, tmp_path / "merge", KEPT)
    expected = None
    play(come_again, tmp_path / "replace", {"lists": replacing})


def test_a_conflict_is_recorded_and_synced_back(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice, laptop: MemoryDevice) -> None:
        await write(phone, "INSERT INTO lists (id, name, version) VALUES ('l1', 'Food', 1)")
        laptop.link.offline = True
        await write(laptop, "UPDATE lists SET name = 'late', version = version + 1")
        await write(phone, "UPDATE lists SET name = 'first', version = version + 1")
        laptop.link.offline = False
        await asyncio.sleep(5)
        assert await names(phone) == await names(laptop) == [("first", None)]
        [record] = await laptop.db.get_all("SELECT row_id, client_data FROM write_conflicts")
        assert (record["row_id"], '"late"' in record["client_data"]) == ("l1", True)
        assert laptop.connector.refused == []

    recording = TablePolicy(
        owner="owner_id", soft_delete="deleted_at", conflicts=RecordConflicts(VersionColumn("version"))
    )
    play(scenario, tmp_path, {"lists": recording}, CONFLICTS_CONFIG)


def test_claims_and_names_of_the_database(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice, laptop: MemoryDevice) -> None:
        await write(phone, "INSERT INTO lists (id, name) VALUES ('l1', 'Food')")
        await write(laptop, """INSERT INTO todos (id, "listId", title) VALUES ('t1', 'l1', 'Milk')""")
        assert service.rows("lists")[0]["org_id"] == "north"
        assert service.rows("app_todos") == [{"id": "t1", "list_id": "l1", "title": "Milk"}]
        rows = await phone.db.get_all("SELECT * FROM todos")
        assert [(row["listId"], row["title"]) for row in rows] == [("l1", "Milk")]
        async with service.device("other.db", user_id="bob", claims={"org": "south"}) as other:
            await other.db.execute("INSERT INTO todos (id, \"listId\") VALUES ('t2', 'l1')")
            await asyncio.sleep(1)
            [refused] = other.connector.refused
            assert refused.failed_operation is not None
            assert refused.failed_operation.error_code == "UNAUTHORIZED"

    policies = {
        "lists": TablePolicy(owner=None, tenants={"org_id": "org"}),
        "todos": TablePolicy(owner=via("lists", "list_id"), table="app_todos", column_names="snake_case"),
    }
    play(scenario, tmp_path, policies, RENAMED_CONFIG, org="north")
