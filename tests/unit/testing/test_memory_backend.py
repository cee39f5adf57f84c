"""The backend in memory keeps to a table's policy as the ones with databases do: owner, tenants, parent rows, hooks, procedures.

What its verdicts are beside those of the Postgres persister: `tests/conformance/test_memory_persister.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncline.backend import TablePolicy, via
from syncline.backend.hooks import OperationHooks
from syncline.backend.persisters.base import (
    OpenTransaction,
    UnknownFailure,
    UploadIdentity,
    Write,
    WriteContext,
    WriteRefused,
)
from syncline.backend.policies import TableRules
from syncline.client import Column, Schema, Table
from syncline.errors import ConfigError
from syncline.protocol.crud import CrudOperation, ResultStatus, TransactionResult, UpdateType
from syncline.testing.memory_backend import MemoryPersister
from syncline.testing.memory_source import MemorySource
from syncline.testing.memory_tables import source_of

RULES = TableRules(
    {
        "lists": TablePolicy(owner="owner_id"),
        "todos": TablePolicy(owner=via("lists", "list_id")),
        "parts": TablePolicy(owner=via("todos", "todo_id")),
        "notes": TablePolicy(owner=None, tenants={"team": "team"}),
    }
)
COLUMNS = {"lists": ["owner_id"], "todos": ["list_id", "title"], "parts": ["todo_id"], "notes": ["team", "text"]}


@pytest.fixture
def persister() -> MemoryPersister:
    source = MemorySource(COLUMNS)
    with source.transaction() as writer:
        for name in ("ann", "bob"):
            writer.insert("lists", f"of-{name}", owner_id=name)
            writer.insert("todos", f"todo-of-{name}", list_id=f"of-{name}", title="Milk")
            writer.insert("notes", f"note-of-{name}", team=name, text="n")
    return MemoryPersister(source)


async def ann_writes(persister: MemoryPersister, op: UpdateType, table: str, row_id: str, **values: object) -> object:
    """The row as it is afterwards."""
    entry = CrudOperation(op=op, table=table, id=row_id, op_data=values)
    context = WriteContext(user_id="ann", claims={"team": "ann"})
    await persister.apply([RULES.write(0, entry, context)], None)
    return persister._source.get(table, row_id)


async def test_a_row_goes_below_a_parent_of_the_user_s_own(persister: MemoryPersister) -> None:
    put = UpdateType.PUT
    assert await ann_writes(persister, put, "todos", "t", list_id="of-ann") is not None
    assert await ann_writes(persister, put, "parts", "p", todo_id="todo-of-ann") is not None
    for table, parent in (
        ("todos", {"list_id": "of-bob"}),
        ("todos", {"list_id": "absent"}),
        ("todos", {}),
        ("parts", {"todo_id": "todo-of-bob"}),
    ):
        with pytest.raises(WriteRefused) as refused:
            await ann_writes(persister, put, table, "refused", **parent)
        assert refused.value.error_code == "UNAUTHORIZED"


async def test_rows_below_another_s_parent_are_out_of_reach(persister: MemoryPersister) -> None:
    before = persister._source.get("todos", "todo-of-bob")
    assert await ann_writes(persister, UpdateType.PATCH, "todos", "todo-of-bob", title="Poison") == before
    assert await ann_writes(persister, UpdateType.DELETE, "todos", "todo-of-bob") == before
    with pytest.raises(WriteRefused):
        await ann_writes(persister, UpdateType.PUT, "todos", "todo-of-bob", list_id="of-ann")
    with pytest.raises(WriteRefused):
        await ann_writes(persister, UpdateType.PATCH, "todos", "todo-of-ann", list_id="of-bob")
    with pytest.raises(WriteRefused):  # whether the row is there or not: the answer must not tell
        await ann_writes(persister, UpdateType.PATCH, "todos", "absent", list_id="of-bob")
    assert await ann_writes(persister, UpdateType.PATCH, "todos", "absent", title="x") is None
    assert await ann_writes(persister, UpdateType.DELETE, "todos", "todo-of-ann") is None


async def test_tenants_are_set_and_guarded(persister: MemoryPersister) -> None:
    made = await ann_writes(persister, UpdateType.PUT, "notes", "n", text="t", team="bob")
    assert made == {"id": "n", "team": "ann", "text": "t"}
    before = persister._source.get("notes", "note-of-bob")
    assert await ann_writes(persister, UpdateType.PATCH, "notes", "note-of-bob", text="x") == before


def list_put(row_id: str, index: int = 0, **options: Any) -> Write:
    return Write(UpdateType.PUT, "lists", row_id, {}, ("owner_id", "ann"), index, **options)


async def test_a_procedure_writes_in_the_transaction_and_goes_with_it(persister: MemoryPersister) -> None:
    call = UploadIdentity("ann", "calls", 7, 7, "hash")
    claims: list[TransactionResult | None] = []

    async def two_lists(transaction: OpenTransaction) -> None:
        claims.append(await transaction.claim(call, TransactionResult(ResultStatus.SUCCESS)))
        claims.append(await transaction.claim(call, TransactionResult(ResultStatus.SUCCESS)))
        await transaction.write(list_put("new", 1))
        if fails:
            raise WriteRefused("NO", "No.")

    procedure = Write(UpdateType.PUT, "calls", "", {}, None, 1, procedure=two_lists)
    fails = True
    with pytest.raises(WriteRefused, match="No"):
        await persister.apply([list_put("first"), procedure], None)
    assert not {"first", "new"} & {row["id"] for row in persister._source.rows("lists")}
    fails = False
    await persister.apply([procedure], None)
    await persister.apply([procedure], None)
    assert persister._source.get("lists", "new") is not None
    # A claim of a transaction that came to nothing is none; one is known at once, and after the commit.
    assert [claim is not None and claim.deduplicated for claim in claims] == [False, True, False, True, True, True]


async def test_hooks_stand_around_each_row_and_transactions_go_one_by_one(persister: MemoryPersister) -> None:
    called: list[str] = []

    async def before(_: Any, write: Write) -> None:
        called.append(f"before {write.id}")
        await asyncio.sleep(0)

    async def after(_: Any, write: Write) -> None:
        called.append(f"after {write.id}")
        if write.id == "b":
            raise WriteRefused("NOT_TODAY", "No.")

    context = WriteContext(operation_hooks=OperationHooks(before, after))
    results = await asyncio.gather(
        persister.apply([list_put("a", context=context), list_put("b", 1, context=context)], None),
        persister.apply([list_put("c", context=context)], None),
        return_exceptions=True,
    )
    assert isinstance(results[0], WriteRefused)
    assert (results[0].error_code, results[0].operation_index) == ("NOT_TODAY", 1)
    assert called == ["before a", "after a", "before b", "after b", "before c", "after c"]
    assert persister._source.get("lists", "a") is None
    assert persister._source.get("lists", "c") is not None


async def test_what_needs_a_database_is_told_so(persister: MemoryPersister, caplog: pytest.LogCaptureFixture) -> None:
    async def run_sql(connection: Any, _: Write) -> None:
        await connection.execute("SELECT 1")

    async def procedure(transaction: OpenTransaction) -> None:
        await run_sql(transaction.connection, list_put(""))

    context = WriteContext(operation_hooks=OperationHooks(run_sql))
    for write in (list_put("a", context=context), Write(UpdateType.PUT, "calls", "", {}, None, 0, procedure=procedure)):
        caplog.clear()
        with pytest.raises(UnknownFailure) as failed:
            await persister.apply([write], None)
        assert isinstance(failed.value.__cause__, ConfigError)
        assert "no connection to a database: `execute`" in caplog.text
    assert persister.commits == []


def test_the_source_has_what_devices_and_policies_name() -> None:
    schema = Schema(
        [
            Table("lists", [Column.text("listName"), Column.boolean("isDone")]),
            Table("todos", [Column.text("title")]),
            Table("drafts", [Column.text("title")], local_only=True),
        ]
    )
    policies = {
        "lists": TablePolicy(owner="owner_id", table="app_lists", column_names="snake_case", soft_delete="is_gone"),
        "todos": TablePolicy(owner=via("boards", "board_id"), device="device_id"),
        "boards": TablePolicy(owner="owner_id", columns=["name"], tenants={"org_id": "org"}),
    }
    source = source_of(schema, policies)
    assert {table: source.columns(table) for table in source.tables} == {
        "app_lists": ("id", "list_name", "is_done", "owner_id", "is_gone"),
        "todos": ("id", "title", "device_id", "board_id"),
        "boards": ("id", "name", "owner_id", "org_id"),
    }
    assert [column for column in source.columns("app_lists") if source.is_integer("app_lists", column)] == ["is_done"]
