"""Calls of mutators on the device alone: what is queued, what the rows show, and what a failure leaves."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.blocking import SyncDatabase as BlockingDatabase
from syncline.client.mutators import mutations_table
from syncline.client.statements import ThreadTransaction
from syncline.errors import ClientError

SCHEMA = Schema(
    [
        Table("todos", [Column.text("title"), Column.integer("done")]),
        Table("notes", [Column.text("text")], local_only=True),
        mutations_table(),
    ]
)


class Complete(msgspec.Struct):
    id: str
    times: int = 1


class Titled(BaseModel):
    title: str


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        register(db)
        yield db


def register(db: Any) -> None:
    """For either face of the database."""

    @db.mutators.register("complete")
    def complete(tx: ThreadTransaction, args: Complete) -> None:
        tx.execute("UPDATE todos SET done = ? WHERE id = ?", [args.times, args.id])
        tx.execute("INSERT INTO notes(id, text) VALUES (uuid(), 'completed')")

    @db.mutators.register()
    def fails(tx: ThreadTransaction, _args: dict[str, Any]) -> None:
        tx.execute("UPDATE todos SET title = 'lost'")
        raise RuntimeError("no")

    @db.mutators.register()
    def nested(tx: ThreadTransaction, _args: dict[str, Any]) -> None:
        db.mutators.call_within(tx, "complete", {"id": "a"})

    db.mutators.declare("titled", arguments=Titled)


async def queued(db: SyncDatabase) -> list[tuple[str, str, dict[str, Any] | None]]:
    return [
        (entry.op, entry.table, entry.op_data)
        for transaction in await db.get_crud_transactions(50)
        for entry in transaction.crud
    ]


@pytest.mark.requirement(150)
async def test_a_call_is_one_entry_and_its_rows_show_at_once(db: SyncDatabase) -> None:
    await db.execute("INSERT INTO todos(id, title, done) VALUES ('a', 'Milk', 0)")
    call_id = await db.mutators.call("complete", Complete("a"))
    assert (await db.get("SELECT done FROM todos"))["done"] == 1
    assert await db.fetch(str, "SELECT text FROM notes") == ["completed"]
    _, call = await queued(db)
    assert call == ("PUT", "syncline_mutations", {"name": "complete", "args": '{"id":"a","times":1}'})
    last = (await db.get_crud_transactions(5))[-1]
    assert [entry.id for entry in last.crud] == [call_id]
    marked = await db.get_all("SELECT row_type, row_id FROM ps_updated_rows")
    assert [tuple(row) for row in marked] == [("todos", "a")]


async def test_a_call_stands_in_order_with_the_writes_of_its_transaction(db: SyncDatabase) -> None:
    async with db.write_transaction() as tx:
        await tx.execute("INSERT INTO todos(id, title, done) VALUES ('a', 'Milk', 0)")
        await db.mutators.call("complete", Complete("a"), transaction=tx)
        await tx.execute("UPDATE todos SET title = 'Oat milk' WHERE id = 'a'")
    [transaction] = await db.get_crud_transactions(5)
    assert [(entry.op, entry.table) for entry in transaction.crud] == [
        ("PUT", "todos"),
        ("PUT", "syncline_mutations"),
        ("PATCH", "todos"),
    ]


async def test_a_failing_optimistic_part_leaves_nothing_of_itself(db: SyncDatabase) -> None:
    await db.execute("INSERT INTO todos(id, title, done) VALUES ('a', 'Milk', 0)")
    with pytest.raises(RuntimeError):
        await db.mutators.call("fails", {})
    async with db.write_transaction() as tx:
        await tx.execute("UPDATE todos SET done = 1 WHERE id = 'a'")
        with pytest.raises(RuntimeError):
            await db.mutators.call("fails", {}, transaction=tx)
    assert [tuple(row) for row in await db.get_all("SELECT title, done FROM todos")] == [("Milk", 1)]
    assert [entry[:2] for entry in await queued(db)] == [("PUT", "todos"), ("PATCH", "todos")]


async def test_what_cannot_be_called(db: SyncDatabase, tmp_path: Path) -> None:
    secret = "s3cret"
    with pytest.raises(ClientError, match="no mutator 'other'"):
        await db.mutators.call("other")
    with pytest.raises(ClientError, match="do not fit") as refused:
        await db.mutators.call("complete", {"id": "a", "times": secret})
    assert secret not in str(refused.value)
    with pytest.raises(ClientError, match="do not fit"):
        await db.mutators.call("complete")
    with pytest.raises(ClientError, match="do not fit") as refused:
        await db.mutators.call("titled", {"title": [secret]})
    assert secret not in str(refused.value)
    with pytest.raises(ClientError, match="do not fit"):
        await db.mutators.call("titled", ["no", "object"])
    with pytest.raises(ClientError, match="has called another"):
        await db.mutators.call("nested")
    with pytest.raises(ClientError, match="plain function"):

        @db.mutators.register()
        async def wrong(tx: ThreadTransaction, args: Complete) -> None: ...

    assert await queued(db) == []
    async with SyncDatabase(tmp_path / "other.db", schema=Schema([Table("todos", [])])) as without:
        without.mutators.declare("titled")
        with pytest.raises(ClientError, match="no insert-only table"):
            await without.mutators.call("titled", {"title": "x"})


async def test_arguments_may_be_any_object_with_names(db: SyncDatabase) -> None:
    await db.mutators.call("titled", Titled(title="of Pydantic"))
    await db.mutators.call("titled", {"title": "of a mapping"})
    sent = [json.loads(str((data or {})["args"]))["title"] for _, _, data in await queued(db)]
    assert sent == ["of Pydantic", "of a mapping"]


async def test_arguments_above_the_limit_are_refused_here(db: SyncDatabase) -> None:
    from syncline.protocol.mutations import ARGUMENTS_CHARACTERS_MAX

    await db.mutators.call("titled", {"title": "x" * (ARGUMENTS_CHARACTERS_MAX - len('{"title":""}'))})
    with pytest.raises(ClientError, match="do not fit"):
        await db.mutators.call("titled", {"title": "x" * ARGUMENTS_CHARACTERS_MAX})
    assert len(await queued(db)) == 1


def test_the_blocking_face_calls_mutators_too(tmp_path: Path) -> None:
    with BlockingDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        register(db)
        db.execute("INSERT INTO todos(id, title, done) VALUES ('a', 'Milk', 0)")
        db.mutators.call("complete", Complete("a"))
        assert db.get("SELECT done FROM todos")["done"] == 1
        with db.write_transaction() as tx:
            tx.execute("UPDATE todos SET title = 'Oat milk'")
            db.mutators.call("complete", Complete("a", 2), transaction=tx)
        db.run(lambda tx: db.mutators.call_within(tx, "complete", Complete("a", 3)))
        assert [row["data"].partition('"data"')[0][:30] for row in db.get_all("SELECT data FROM ps_crud")] == [
            '{"op":"PUT","id":"a","type":"t',
            '{"op":"PUT","type":"syncline_m',
            '{"op":"PATCH","id":"a","type":',
            '{"op":"PUT","type":"syncline_m',
            '{"op":"PUT","type":"syncline_m',
        ]
        assert db.mutators.names == ["complete", "fails", "nested", "titled"]
