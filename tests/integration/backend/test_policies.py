"""Table policies on a real Postgres: parents, tenants, soft deletes, replacing puts, and the database's own row security."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec
import pytest

from syncline.backend import AuthenticatedUser, TablePolicy
from syncline.backend.ownership import RowSecurity, via
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.testing.postgres import ScratchDatabase
from tests.integration.backend.conftest import Uploads, delete, make_backend, patch, put

TREE_SQL = """
CREATE TABLE boards (id uuid PRIMARY KEY, owner_id text, org_id bigint, name text);
CREATE TABLE "app lists 100%" (id text PRIMARY KEY, board_id uuid REFERENCES boards (id), name text);
CREATE TABLE todos (id text PRIMARY KEY, list_id text, name text);
CREATE TABLE notes (
  id text PRIMARY KEY, org_id bigint, name text, body text DEFAULT 'empty', made_by text DEFAULT 'server',
  deleted_at timestamptz, gone boolean NOT NULL DEFAULT false, device_id text
);
"""
TREE = {
    "boards": TablePolicy(owner="owner_id", tenants={"org_id": "org"}),
    "lists": TablePolicy(owner=via("boards", "board_id"), table="app lists 100%"),
    "todos": TablePolicy(owner=via("lists", "list_id")),
}
ANNS, BOBS = "6c1b3c9e-0000-4000-8000-00000000000a", "6c1b3c9e-0000-4000-8000-00000000000b"
NOWHERE = "6c1b3c9e-0000-4000-8000-00000000000c"


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class Tree:
    """Uploads by users with claims."""

    def __init__(self, uploads: Uploads, tables: Mapping[str, TablePolicy] = TREE) -> None:
        self.uploads, self.database = uploads, uploads.database
        self._backend = make_backend(uploads.persister, dict(tables))

    async def send(self, *crud: dict[str, Any], user: str = "ann", org: int = 1, client_id: str | None = None) -> str:
        body = json.dumps({"transactions": [{"crud": list(crud)}]} | ({"client_id": client_id} if client_id else {}))
        answer = await self._backend.handle_upload(body.encode(), AuthenticatedUser(user, {"org": org}))
        [result] = json.loads(msgspec.json.encode(answer))["results"]
        return result.get("failed_operation", {}).get("error_code") or result["status"]


@pytest.fixture
async def tree(uploads: Uploads) -> Tree:
    """Ann and Bob each have a board with a list and a todo."""
    uploads.database.execute(TREE_SQL)
    tree = Tree(uploads)
    for user, board in (("ann", ANNS), ("bob", BOBS)):
        crud = [
            put(board, table="boards", name=user),
            put(f"{user}s list", table="lists", board_id=board),
            put(f"{user}s todo", table="todos", list_id=f"{user}s list", name="1"),
        ]
        assert await tree.send(*crud, user=user) == "success"
    return tree


def names(tree: Tree) -> list[tuple[Any, ...]]:
    return tree.database.execute("SELECT id, list_id, name FROM todos ORDER BY id")


async def test_a_row_belongs_to_whoever_owns_its_parents_parent(tree: Tree) -> None:
    assert await tree.send(patch("anns todo", table="todos", name="2")) == "success"
    assert await tree.send(put("anns todo", table="todos", list_id="anns list", name="3")) == "success"
    assert names(tree) == [("anns todo", "anns list", "3"), ("bobs todo", "bobs list", "1")]
    assert await tree.send(delete("anns todo", table="todos")) == "success"
    assert names(tree) == [("bobs todo", "bobs list", "1")]


@pytest.mark.parametrize(
    "attempt",
    [
        put("new", table="todos", list_id="bobs list"),
        put("new", table="todos", list_id="no list"),
        put("new", table="todos", name="no parent"),
        put("new", table="todos", list_id=None),
        put("bobs todo", table="todos", list_id="anns list", name="taken over"),
        put("bobs list", table="lists", board_id=ANNS),
        put("new", table="lists", board_id=BOBS),
        put("new", table="lists", board_id=NOWHERE),
        patch("anns todo", table="todos", list_id="bobs list"),
        patch("anns todo", table="todos", list_id=None),
        patch("anns list", table="lists", board_id=BOBS),
    ],
)
async def test_no_row_gets_into_or_out_of_another_users_tree(tree: Tree, attempt: dict[str, Any]) -> None:
    before = names(tree)
    assert await tree.send(patch("anns todo", table="todos", name="changed"), attempt) == "UNAUTHORIZED"
    assert names(tree) == before


@pytest.mark.parametrize("attempt", [patch("bobs todo", table="todos", name="x"), delete("bobs todo", table="todos")])
async def test_rows_below_another_users_parent_are_out_of_reach(
    tree: Tree, attempt: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    before = names(tree)
    with caplog.at_level(logging.WARNING, "syncline.backend"):
        assert await tree.send(attempt) == await tree.send(attempt | {"id": "nowhere"}) == "success"
    assert names(tree) == before
    assert [record.__dict__.get("event") for record in caplog.records].count("backend.foreign_row") == 1


async def test_a_parent_id_that_is_none_is_invalid(tree: Tree) -> None:
    assert await tree.send(put("new", table="lists", board_id="no uuid")) == "INVALID_DATA"
    assert await tree.send(put("new", table="todos", list_id="zero\0")) == "INVALID_DATA"


async def test_a_parent_that_has_been_checked_stays_until_the_end(tree: Tree) -> None:
    """Another transaction takes the board away meanwhile: it has to wait, or the child finds no parent."""

    with tree.database.connect() as other, other.transaction():
        other.execute("DELETE FROM \"app lists 100%\" WHERE id = 'anns list'")
        moving = asyncio.create_task(tree.send(put("new", table="todos", list_id="anns list")))
        async with asyncio.timeout(30):
            while tree.database.execute(WAITING) != [(1,)]:  # noqa: ASYNC110 - the lock is in the database
                await asyncio.sleep(0.005)
        assert not moving.done()
    assert await moving == "UNAUTHORIZED"


async def test_a_tenant_sees_and_writes_its_own_rows_only(tree: Tree) -> None:
    notes = Tree(tree.uploads, {"notes": TablePolicy(owner=None, tenants={"org_id": "org"})})
    assert await notes.send(put("n", table="notes", name="ours", org_id=2), org=1) == "success"
    assert await notes.send(put("n", table="notes", name="theirs"), org=2) == "UNAUTHORIZED"
    assert await notes.send(patch("n", table="notes", name="theirs"), org=2) == "success"
    assert await notes.send(delete("n", table="notes"), org=2) == "success"
    assert notes.database.execute("SELECT name, org_id FROM notes") == [("ours", 1)]
    assert await tree.send(patch(ANNS, table="boards", name="x"), org=2) == "success"
    assert tree.database.execute("SELECT name, org_id FROM boards WHERE owner_id = 'ann'") == [("ann", 1)]
    assert await tree.send(put("new", table="todos", list_id="anns list"), org=2) == "UNAUTHORIZED"


@pytest.mark.requirement(133)
@pytest.mark.parametrize("column", ["deleted_at", "gone"])
async def test_a_soft_delete_marks_the_row_and_a_put_brings_it_back(tree: Tree, column: str) -> None:
    notes = Tree(tree.uploads, {"notes": TablePolicy(owner=None, soft_delete=column)})
    marked = "gone" if column == "gone" else "deleted_at > now() - interval '1 hour' AND deleted_at <= now()"
    query = f"SELECT name, coalesce({marked}, false), deleted_at FROM notes"

    def rows() -> Any:
        return notes.database.execute(query)

    assert await notes.send(put("n", table="notes", name="1", deleted_at="2020-01-01", gone=1)) == "success"
    assert rows()[0][:2] == ("1", False)
    assert await notes.send(delete("n", table="notes"), patch("n", table="notes", name="2")) == "success"
    [(name, is_marked, first)] = rows()
    assert (name, is_marked) == ("1", True)
    assert await notes.send(delete("n", table="notes")) == "success"
    assert rows() == [("1", True, first)]
    assert await notes.send(put("n", table="notes", name="3"), patch("n", table="notes", name="4")) == "success"
    assert rows()[0][:2] == ("4", False)


async def test_a_late_change_of_a_marked_row_is_no_attack(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    notes = Tree(tree.uploads, {"notes": TablePolicy(owner="made_by", soft_delete="deleted_at")})
    with caplog.at_level(logging.WARNING, "syncline.backend"):
        await notes.send(put("n", table="notes"), delete("n", table="notes"), patch("n", table="notes", name="late"))
    assert [record.__dict__.get("event") for record in caplog.records] == []


async def test_a_put_that_replaces_leaves_no_value_of_the_devices_columns(tree: Tree) -> None:
    policy = TablePolicy(owner=None, columns=["name", "body"], put_mode="replace", device="device_id")
    notes = Tree(tree.uploads, {"notes": policy})
    notes.database.execute("INSERT INTO notes (id, name, body, made_by) VALUES ('n', 'old', 'old', 'a person')")
    assert await notes.send(put("n", table="notes", body=None), client_id="phone") == "success"
    columns = "SELECT name, body, made_by, device_id FROM notes"
    assert notes.database.execute(columns) == [(None, None, "a person", "phone")]
    assert await notes.send(put("n", table="notes", name="new"), client_id="laptop") == "success"
    assert notes.database.execute(columns) == [("new", "empty", "a person", "laptop")]


SECURED_SQL = """
CREATE TABLE secured (id text PRIMARY KEY, who text, name text);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
ALTER TABLE secured FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON secured USING (who = {user}) WITH CHECK (who = {user});
GRANT SELECT, INSERT, UPDATE, DELETE ON secured TO "{role}";
"""
USERS = {
    "setting": "current_setting('app.user_id', true)",
    "role": "(current_setting('request.jwt.claims', true)::json ->> 'sub')",
}


@pytest.fixture(params=["setting", "role"])
async def secured(
    request: pytest.FixtureRequest, postgres_database: ScratchDatabase
) -> AsyncGenerator[tuple[Uploads, str]]:
    """A table whose policies the database knows, and a role of its own that they hold for."""
    role = f"{postgres_database.name} {request.param}"
    postgres_database.execute(f'CREATE ROLE "{role}"')
    postgres_database.execute(SECURED_SQL.format(user=USERS[request.param], role=role))
    by_setting = RowSecurity(user_setting="app.user_id", role=role)
    security = by_setting if request.param == "setting" else RowSecurity.as_role(role)
    persister = PostgresPersister(postgres_database.dsn, row_security=security, connections_max=1)
    backend = make_backend(persister, {"secured": TablePolicy(owner=None)})
    await backend.open()
    yield Uploads(backend, persister, postgres_database), role
    await backend.close()
    postgres_database.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


async def test_the_databases_own_policies_decide(secured: tuple[Uploads, str]) -> None:
    uploads, _ = secured
    await uploads.succeed(put("a", table="secured", who="ann", name="1"))
    assert await uploads.code(put("b", table="secured", who="bob", name="forged")) == ("UNAUTHORIZED", 0)
    assert await uploads.code(put("a", table="secured", who="bob", name="x"), user="bob") == ("UNAUTHORIZED", 0)
    await uploads.succeed(patch("a", table="secured", name="x"), delete("a", table="secured"), user="bob")
    assert await uploads.code(patch("a", table="secured", who="bob")) == ("UNAUTHORIZED", 0)
    assert uploads.database.execute("SELECT id, who, name FROM secured") == [("a", "ann", "1")]


async def test_who_asked_is_forgotten_with_the_transaction(secured: tuple[Uploads, str]) -> None:
    """One connection serves all: nothing of a user may be left on it, after a refusal either."""
    uploads, _ = secured
    entry = put("a", table="secured", crud_id=1, who="ann", name="1")
    assert await uploads.send([entry], client_id="phone") == [{"status": "success"}]
    assert await uploads.send([entry], client_id="phone") == [{"status": "success", "deduplicated": True}]
    await uploads.code(put("b", table="secured", who="ann"), user="bob")
    async with (
        uploads.persister._pool.connection() as connection
    ):  # the connection that the upload had: nothing of its role may be left
        cursor = await connection.execute(
            "SELECT current_user = session_user, coalesce(current_setting('app.user_id', true), ''),"
            " coalesce(current_setting('request.jwt.claims', true), '')"
        )
        assert await cursor.fetchone() == (True, "", "")
