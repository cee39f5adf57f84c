"""Full-text search, cascading deletes, JSON columns and ids, on a real file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import apsw
import pytest

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.cascade import OnDelete, Reference, delete_with_children
from syncline.client.database_search import SEARCH_LIMIT
from syncline.client.full_text import match_query, search_sql
from syncline.client.ids import new_id, new_time_ordered_id
from syncline.client.json_columns import merge_json, parse_json, set_json, to_json
from syncline.client.local.connection import open_writer
from syncline.errors import ClientError

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.text("owner"), Column.text("parent_id")]),
        Table("todos", [Column.text("title"), Column.text("list_id"), Column.text("tag_id"), Column.text("extra")]),
        Table("links", [Column.text("list_id"), Column.text("todo_id")]),
        Table("drafts", [Column.text("body")], local_only=True),
        Table("logs", [Column.text("line")], insert_only=True),
    ]
)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with asyncio.timeout(60), SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


async def add_list(db: SyncDatabase, row_id: str, name: str, owner: str = "") -> None:
    await db.execute("INSERT INTO lists(id, name, owner) VALUES (?, ?, ?)", [row_id, name, owner])


async def found(db: SyncDatabase, text: str, table: str = "lists") -> list[str]:
    return sorted(row["id"] for row in await db.search(table, text))


@dataclass
class Named:
    id: str
    name: str


async def test_search_finds_what_is_there_and_what_changes(db: SyncDatabase) -> None:
    await add_list(db, "a", "Café shopping")
    assert await db.create_full_text_index("lists", ["name", "owner"]) is True
    assert await db.create_full_text_index("lists", ["name", "owner"]) is False
    await add_list(db, "b", "Shops of the town", "Ann Cafe")
    assert await found(db, "cafe") == ["a", "b"]
    assert await found(db, "shop") == ["a", "b"]
    assert await found(db, "cafe shop") == ["a", "b"]
    assert [row["id"] for row in await db.search("lists", "shop", prefix=False)] == []
    assert await db.search("lists", "shopping", row_type=Named) == [Named("a", "Café shopping")]
    await db.execute("UPDATE lists SET name = 'Garden' WHERE id = 'a'")
    assert (await found(db, "cafe"), await found(db, "garden")) == (["b"], ["a"])
    await db.execute("INSERT OR REPLACE INTO lists(id, name) VALUES ('b', 'Other')")
    assert (await found(db, "town"), await found(db, "other")) == ([], ["b"])
    await db.execute("DELETE FROM lists")
    assert await found(db, "garden") == []
    assert await db.fetch(int, "SELECT count(*) FROM fts_lists_ids") == [0]


async def test_the_index_survives_vacuum_reopening_and_other_definitions(db: SyncDatabase, tmp_path: Path) -> None:
    await db.create_full_text_index("lists", ["name"])
    for number in range(20):
        await add_list(db, f"{number:02}", f"name{number:02}")
    await db.execute("DELETE FROM lists WHERE id < '10'")
    await db.close()
    connection = open_writer(tmp_path / "app.db")
    connection.execute("VACUUM").fetchall()
    # As a connection without recursive triggers replaces a row: without its delete trigger.
    connection.execute("PRAGMA recursive_triggers=OFF").fetchall()
    connection.execute("INSERT OR REPLACE INTO lists(id, name) VALUES ('15', 'replaced')").fetchall()
    connection.close()
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as again:
        assert await again.create_full_text_index("lists", ["name"]) is False
        await again.execute("UPDATE lists SET name = 'changed' WHERE id = '12'")
        assert await found(again, "name12") == []
        assert (await found(again, "name15"), await found(again, "replaced")) == ([], ["15"])
        assert await found(again, "changed") == ["12"]
        assert await again.create_full_text_index("lists", ["name"], prefixes=[2], tokenizer="trigram") is True
        assert await found(again, "eplac") == ["15"]
        await again.drop_full_text_index("lists")
        assert await again.fetch(str, "SELECT name FROM sqlite_schema WHERE name GLOB 'fts_*'") == []


async def test_a_search_has_a_limit(db: SyncDatabase) -> None:
    await db.create_full_text_index("lists", ["name"])
    await db.execute_many("INSERT INTO lists(id, name) VALUES (uuid(), ?)", [["same"]] * (SEARCH_LIMIT + 5))
    assert len(await db.search("lists", "same")) == SEARCH_LIMIT
    assert len(await db.search("lists", "same", limit=SEARCH_LIMIT + 10)) == SEARCH_LIMIT + 5


async def test_local_tables_can_be_searched_and_others_are_refused(db: SyncDatabase) -> None:
    await db.create_full_text_index("drafts", ["body"])
    await db.execute("INSERT INTO drafts(id, body) VALUES ('d', 'hello')")
    assert await found(db, "hell", "drafts") == ["d"]
    for table, columns in (("nothing", ["x"]), ("logs", ["line"]), ("lists", ["nothing"]), ("lists", [])):
        with pytest.raises(ClientError):
            await db.create_full_text_index(table, columns)
    with pytest.raises(apsw.SQLError):
        await db.search("lists", "x")


@pytest.mark.parametrize(
    "typed", ['"', "a OR", "NOT b", "col:x", "(", "*", "^x", "a-b", "'", "x NEAR y", "{a}", "", "  "]
)
async def test_whatever_a_person_types_is_a_search(db: SyncDatabase, typed: str) -> None:
    await db.create_full_text_index("lists", ["name"])
    await add_list(db, "a", "something else")
    assert await db.search("lists", typed) == []


def test_words_become_a_query() -> None:
    assert match_query('to "do') == '"to" "do"*'
    assert match_query("to do", prefix=False) == '"to" "do"'
    assert match_query(' "" ') == ""


@pytest.mark.requirement(99)
async def test_a_search_can_be_watched(db: SyncDatabase) -> None:
    await db.create_full_text_index("lists", ["name"])
    watch = db.watch(search_sql("lists", columns="lists.id"), [match_query("hel"), 10], throttle_s=0)
    assert await anext(watch) == []
    await add_list(db, "a", "hello")
    assert [row["id"] for row in await anext(watch)] == ["a"]


LISTS = [
    Reference("todos", "list_id", "lists"),
    Reference("links", "todo_id", "todos"),
    Reference("links", "list_id", "lists"),  # a child of two tables, one of which is a child of the other
    Reference("lists", "parent_id", "lists"),
]


async def fill(db: SyncDatabase) -> None:
    for row_id, parent in (("a", None), ("b", "a"), ("c", "b"), ("other", None)):
        await db.execute("INSERT INTO lists(id, parent_id) VALUES (?, ?)", [row_id, parent])
    for row_id, list_id in (("t1", "a"), ("t2", "c"), ("t3", "other")):
        await db.execute("INSERT INTO todos(id, list_id) VALUES (?, ?)", [row_id, list_id])
    for row_id, todo_id, list_id in (("l1", "t1", "a"), ("l2", "t2", "other"), ("l3", "t3", "other")):
        await db.execute("INSERT INTO links(id, todo_id, list_id) VALUES (?, ?, ?)", [row_id, todo_id, list_id])
    last = [transaction async for transaction in db.crud_transactions()][-1]
    await last.complete()


@pytest.mark.requirement(90)
async def test_a_row_is_deleted_with_all_that_belongs_to_it_in_one_transaction_children_first(db: SyncDatabase) -> None:
    await fill(db)
    deleted = await db.run(lambda tx: delete_with_children(tx, "lists", ["a", "not there"], LISTS))
    assert deleted == {"lists": 3, "todos": 2, "links": 2}
    assert await db.fetch(
        str, "SELECT id FROM lists UNION ALL SELECT id FROM todos UNION ALL SELECT id FROM links"
    ) == [
        "other",
        "t3",
        "l3",
    ]
    [transaction] = [entry async for entry in db.crud_transactions()]
    order = [entry.id for entry in transaction.crud]

    def before(child: str, parent: str) -> bool:
        return order.index(child) < order.index(parent)

    assert before("l1", "t1")
    assert before("l2", "t2")
    assert before("l1", "a")
    assert before("t1", "a")
    assert before("c", "b")
    assert before("b", "a")


@pytest.mark.requirement(90)
async def test_references_can_be_set_to_null_or_forbid_it(db: SyncDatabase) -> None:
    await fill(db)
    set_null = [Reference("todos", "list_id", "lists", OnDelete.SET_NULL)]
    assert await db.run(lambda tx: delete_with_children(tx, "lists", ["other"], set_null)) == {"lists": 1}
    assert await db.fetch(str, "SELECT id FROM todos WHERE list_id IS NULL") == ["t3"]
    restrict = [Reference("todos", "list_id", "lists", OnDelete.RESTRICT)]
    with pytest.raises(ClientError, match='1 rows of "todos"'):
        await db.run(lambda tx: delete_with_children(tx, "lists", ["a"], restrict))
    assert await db.fetch(int, "SELECT count(*) FROM lists WHERE id = 'a'") == [1]
    # What goes along does not stay.
    both = [Reference("lists", "parent_id", "lists"), Reference("lists", "parent_id", "lists", OnDelete.RESTRICT)]
    assert await db.run(lambda tx: delete_with_children(tx, "lists", ["b"], both)) == {"lists": 2}


@pytest.mark.requirement(90)
async def test_circles_end(db: SyncDatabase) -> None:
    circle = [Reference("todos", "list_id", "lists"), Reference("lists", "parent_id", "todos")]
    await db.execute("INSERT INTO lists(id, parent_id) VALUES ('l', 't')")
    await db.execute("INSERT INTO todos(id, list_id) VALUES ('t', 'l')")
    assert await db.run(lambda tx: delete_with_children(tx, "lists", ["l"], circle)) == {"lists": 1, "todos": 1}
    assert await db.run(lambda tx: delete_with_children(tx, "lists", [], circle)) == {}


@pytest.mark.requirement(102)
async def test_places_in_json_columns_are_set_and_merged(db: SyncDatabase) -> None:
    await db.execute("INSERT INTO todos(id, title) VALUES ('t', 'x')")
    assert await db.run(lambda tx: set_json(tx, "todos", "t", "extra", "$.tags", ["a"])) is True
    assert await db.run(lambda tx: set_json(tx, "todos", "t", "extra", "$.tags[#]", "b")) is True
    assert await db.run(lambda tx: merge_json(tx, "todos", "t", "extra", {"colour": "red", "old": 1})) is True
    assert await db.run(lambda tx: merge_json(tx, "todos", "t", "extra", {"old": None})) is True
    assert await db.run(lambda tx: set_json(tx, "todos", "none", "extra", "$.x", 1)) is False
    text = (await db.get("SELECT extra FROM todos"))["extra"]
    assert parse_json(text) == {"tags": ["a", "b"], "colour": "red"}
    assert await db.fetch(str, "SELECT extra ->> '$.colour' FROM todos") == ["red"]
    entries = [entry async for transaction in db.crud_transactions() for entry in transaction.crud]
    assert all(isinstance((entry.op_data or {}).get("extra", ""), str) for entry in entries)


@pytest.mark.requirement(102)
def test_json_text_is_read_as_a_type() -> None:
    assert to_json({"a": UUID(int=1)}) == '{"a":"00000000-0000-0000-0000-000000000001"}'
    assert parse_json(None) is None
    assert parse_json('{"id":"a","name":"x"}', Named) == Named("a", "x")
    with pytest.raises(ClientError, match="Named") as caught:
        parse_json('{"id":"secret"', Named)
    assert "secret" not in str(caught.value)
    with pytest.raises(ClientError, match="object"):
        to_json(object())


@pytest.mark.requirement(88)
def test_ids_are_uuids_and_ordered_by_time_where_wanted() -> None:
    assert (UUID(new_id()).version, UUID(new_time_ordered_id()).version) == (4, 7)
    assert UUID(new_time_ordered_id()).variant == UUID(new_id()).variant
    assert len({new_id() for _ in range(1000)} | {new_time_ordered_id() for _ in range(1000)}) == 2000
    milliseconds = int(new_time_ordered_id().replace("-", "")[:12], 16)
    assert abs(milliseconds - time.time() * 1000) < 60_000
