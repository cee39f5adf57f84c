"""Whose a row is: the owner, tenants, the way through parents, the device."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from syncline.backend import TablePolicy
from tests.conformance.persister_suite.uploads import Uploads, delete, patch, put

__all__ = ["GuardSuite"]

LISTS = "SELECT id, name, owner_id FROM lists ORDER BY id"
TODOS = "SELECT id, list_id, name FROM todos ORDER BY id"
ANNS, BOBS = "6c1b3c9e-0000-4000-8000-00000000000a", "6c1b3c9e-0000-4000-8000-00000000000b"
NOWHERE = "6c1b3c9e-0000-4000-8000-00000000000c"
TREE = [("anns todo", "anns list", "1"), ("bobs todo", "bobs list", "1")]
INTO_OR_OUT = (
    put("new", table="todos", list_id="bobs list"),
    put("new", table="todos", list_id="no list"),
    put("new", table="todos", list_id="ANNS LIST"),
    put("new", table="todos", name="no parent"),
    put("new", table="todos", list_id=None),
    put("bobs todo", table="todos", list_id="anns list", name="taken over"),
    put("bobs list", table="app_lists", board_id=ANNS),
    put("new", table="app_lists", board_id=BOBS),
    put("new", table="app_lists", board_id=NOWHERE),
    patch("anns todo", table="todos", list_id="bobs list"),
    patch("anns todo", table="todos", list_id=None),
    patch("anns list", table="app_lists", board_id=BOBS),
)


def foreign_rows(caplog: pytest.LogCaptureFixture) -> int:
    """How often the log says that a write reached for another user's row."""
    return [record.__dict__.get("event") for record in caplog.records].count("backend.foreign_row")


class GuardSuite:
    """No write reaches a row that is not the user's, and no answer tells that there is one."""

    @pytest.mark.requirement(134)
    async def test_a_forged_owner_is_replaced_and_a_patch_gives_nothing_away(self, uploads: Uploads) -> None:
        await uploads.succeed(put("a", name="1", owner_id="bob"))
        await uploads.succeed(patch("a", name="2", owner_id="bob"))
        assert await uploads.rows(LISTS) == [("a", "2", "ann")]

    @pytest.mark.requirement(136)
    async def test_a_put_on_another_users_row_is_refused_and_changes_nothing(self, uploads: Uploads) -> None:
        await uploads.succeed(put("a", name="hers"))
        crud = [put("b", name="his"), put("a", name="taken")]
        assert await uploads.code(*crud, user="bob") == ("UNAUTHORIZED", 1)
        assert await uploads.rows(LISTS) == [("a", "hers", "ann")]

    @pytest.mark.requirement(135)
    async def test_another_users_row_is_out_of_reach_and_the_answer_does_not_tell(
        self, uploads: Uploads, caplog: pytest.LogCaptureFixture
    ) -> None:
        await uploads.succeed(put("a", name="hers"))
        with caplog.at_level(logging.WARNING, "syncline.backend"):
            for attempt in (patch("a", name="his"), delete("a")):
                foreign = await uploads.send([attempt], user="bob")
                missing = await uploads.send([attempt | {"id": "nowhere"}], user="bob")
                assert foreign == missing == [{"status": "success"}]
        assert await uploads.rows(LISTS) == [("a", "hers", "ann")]
        assert foreign_rows(caplog) == 2
        assert "hers" not in caplog.text

    async def test_users_and_rows_are_told_apart_whatever_the_collation_says(self, uploads: Uploads) -> None:
        await uploads.succeed(put("a", name="hers"))
        for user in ("Ann", "ANN", "ann ", "änn"):
            assert await uploads.code(put("a", name="his"), user=user) == ("UNAUTHORIZED", 0), user
            await uploads.succeed(patch("a", name="his"), delete("a"), user=user)
        await uploads.succeed(patch("A", name="another"), delete("A"))
        assert await uploads.rows(LISTS) == [("a", "hers", "ann")]

    async def test_a_row_without_an_owner_belongs_to_nobody(self, uploads: Uploads) -> None:
        await uploads.rows("INSERT INTO lists (id, name) VALUES ('a', 'ours')")
        assert await uploads.code(put("a", name="mine")) == ("UNAUTHORIZED", 0)
        await uploads.succeed(patch("a", name="mine"), delete("a"))
        assert await uploads.rows(LISTS) == [("a", "ours", None)]

    @pytest.mark.requirement(159)
    async def test_the_device_that_wrote_last_is_noted(self, uploads: Uploads) -> None:
        notes = uploads.with_tables(notes=TablePolicy(owner=None, device="device_id"))
        await notes.send([put("n", table="notes", device_id="forged")], client_id="phone")
        assert await uploads.rows("SELECT device_id FROM notes") == [("phone",)]
        await notes.send([patch("n", table="notes", name="x")], client_id="laptop")
        assert await uploads.rows("SELECT device_id FROM notes") == [("laptop",)]

    async def test_a_tenant_sees_and_writes_its_own_rows_only(self, uploads: Uploads) -> None:
        notes = uploads.with_tables(notes=TablePolicy(owner=None, tenants={"org_id": "org"}))
        await notes.succeed(put("n", table="notes", name="ours", org_id=2))
        assert await notes.code(put("n", table="notes", name="theirs"), org=2) == ("UNAUTHORIZED", 0)
        await notes.succeed(patch("n", table="notes", name="theirs"), delete("n", table="notes"), org=2)
        assert await uploads.rows("SELECT name, org_id FROM notes") == [("ours", 1)]

    async def test_a_row_belongs_to_whoever_owns_its_parents_parent(self, uploads: Uploads) -> None:
        await _grow(uploads)
        await uploads.succeed(patch("anns todo", table="todos", name="2"))
        await uploads.succeed(put("anns todo", table="todos", list_id="anns list", name="3"))
        assert await uploads.rows(TODOS) == [("anns todo", "anns list", "3"), TREE[1]]
        await uploads.succeed(delete("anns todo", table="todos"))
        assert await uploads.rows(TODOS) == TREE[1:]

    async def test_no_row_gets_into_or_out_of_another_users_tree(self, uploads: Uploads) -> None:
        await _grow(uploads)
        for attempt in INTO_OR_OUT:
            crud = [patch("anns todo", table="todos", name="changed"), attempt]
            assert await uploads.code(*crud) == ("UNAUTHORIZED", 1), attempt
        assert await uploads.code(put("new", table="todos", list_id="anns list"), org=2) == ("UNAUTHORIZED", 0)
        assert await uploads.rows(TODOS) == TREE

    async def test_rows_below_another_users_parent_are_out_of_reach(
        self, uploads: Uploads, caplog: pytest.LogCaptureFixture
    ) -> None:
        await _grow(uploads)
        attempts: list[dict[str, Any]] = [
            patch("bobs todo", table="todos", name="x"),
            delete("bobs todo", table="todos"),
        ]
        with caplog.at_level(logging.WARNING, "syncline.backend"):
            await uploads.succeed(*attempts, *(attempt | {"id": "nowhere"} for attempt in attempts))
        assert await uploads.rows(TODOS) == TREE
        assert foreign_rows(caplog) == 2


async def _grow(uploads: Uploads) -> None:
    """Ann and Bob each have a board with a list and a todo."""
    for user, board in (("ann", ANNS), ("bob", BOBS)):
        crud = [
            put(board, table="boards", name=user),
            put(f"{user}s list", table="app_lists", board_id=board),
            put(f"{user}s todo", table="todos", list_id=f"{user}s list", name="1"),
        ]
        await uploads.succeed(*crud, user=user)
