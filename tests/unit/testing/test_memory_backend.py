"""The backend in memory keeps to a table's policy as the ones with databases do: owner, tenants, parent rows."""

from __future__ import annotations

import pytest

from syncline.backend import TablePolicy, via
from syncline.backend.persisters.base import WriteContext, WriteRefused
from syncline.backend.policies import TableRules
from syncline.protocol.crud import CrudOperation, UpdateType
from syncline.testing.memory_backend import MemoryPersister
from syncline.testing.memory_source import MemorySource

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
    assert await ann_writes(persister, UpdateType.PATCH, "todos", "absent", list_id="of-bob") is None
    assert await ann_writes(persister, UpdateType.DELETE, "todos", "todo-of-ann") is None


async def test_tenants_are_set_and_guarded(persister: MemoryPersister) -> None:
    made = await ann_writes(persister, UpdateType.PUT, "notes", "n", text="t", team="bob")
    assert made == {"id": "n", "team": "ann", "text": "t"}
    before = persister._source.get("notes", "note-of-bob")
    assert await ann_writes(persister, UpdateType.PATCH, "notes", "note-of-bob", text="x") == before
