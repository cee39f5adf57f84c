"""A device that calls a mutator offline and is killed: `python -m tests.acceptance.calling_device FILE LIST_ID NAME`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.mutators import mutations_table
from syncline.client.statements import ThreadTransaction

__all__ = ["SCHEMA", "register"]

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.text("owner_id"), Column.integer("renames")]),
        mutations_table(),
    ]
)


def register(db: SyncDatabase) -> None:
    """The optimistic parts; what the server does is in the test."""

    @db.mutators.register("rename")
    def rename(tx: ThreadTransaction, args: dict[str, Any]) -> None:
        tx.execute(
            "UPDATE lists SET name = ?, renames = ifnull(renames, 0) + 1 WHERE id = ?", [args["name"], args["id"]]
        )

    @db.mutators.register("unknown")
    def unknown(tx: ThreadTransaction, args: dict[str, Any]) -> None:
        tx.execute("DELETE FROM lists WHERE id = ?", [args["id"]])
        tx.execute("INSERT INTO lists(id, name) VALUES (uuid(), 'never there')")


async def run(file: str, list_id: str, name: str) -> None:
    async with SyncDatabase(file, schema=SCHEMA) as db:
        register(db)
        await db.mutators.call("rename", {"id": list_id, "name": name})
        print("called", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
