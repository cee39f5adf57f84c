"""Consecutive writes that go as one statement have the effect that they have one by one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.backend import SyncBackend, TablePolicy, via
from syncline.backend.limits import GROUP_ROWS_MAX
from syncline.backend.persisters.base import Persister
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.persisters.postgres.pipeline import Command, Pipeline
from syncline.testing.postgres import ScratchDatabase
from tests.integration.backend.conftest import Uploads, delete, make_backend, patch, put

TABLES_SQL = """
CREATE TABLE lists (
  id text PRIMARY KEY, name text CHECK (name <> 'refused'), slug text UNIQUE, numbers integer[] DEFAULT '{7}', owner_id text NOT NULL
);
CREATE TABLE todos (id text PRIMARY KEY, list_id text, title text, done boolean, deleted_at timestamptz);
CREATE TABLE free (id text PRIMARY KEY, name text);
CREATE TABLE tree (id text PRIMARY KEY, parent_id text REFERENCES tree (id));
"""
TABLES = {
    "lists": TablePolicy(owner="owner_id", columns=["name", "slug", "numbers"], put_mode="replace"),
    "todos": TablePolicy(owner=via("lists", "list_id"), soft_delete="deleted_at"),
    "free": TablePolicy(owner=None),
    "tree": TablePolicy(owner=None),
}


class OneByOne:
    """A persister that takes no batches: the meaning that groups must have."""

    def __init__(self, persister: PostgresPersister) -> None:
        self.apply = persister.apply
        self.record_refusal = persister.record_refusal
        self.dead_letters = persister.dead_letters


@pytest.fixture
async def warm(postgres_database: ScratchDatabase) -> AsyncGenerator[Uploads]:
    """A backend that has read the columns of its tables."""
    postgres_database.execute(TABLES_SQL)
    persister = PostgresPersister(postgres_database.dsn)
    backend = SyncBackend(persister=persister, auth=make_backend(persister).auth, tables=TABLES)
    await backend.open()
    uploads = Uploads(backend, persister, postgres_database)
    await uploads.succeed(
        put("l"), put("t", table="todos", list_id="l"), put("f", table="free"), put("x", table="tree")
    )
    postgres_database.execute("DELETE FROM lists; DELETE FROM todos; DELETE FROM free; DELETE FROM tree")
    yield uploads
    await backend.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[Command]]:
    """The commands of each transaction that went through a pipeline."""
    seen: list[list[Command]] = []
    run = Pipeline.run

    async def noted(self: Pipeline, connection: Any, transactions: Any, *, seconds_max: float) -> Any:
        seen.extend(list(transaction.commands) for transaction in transactions)
        return await run(self, connection, transactions, seconds_max=seconds_max)

    monkeypatch.setattr(Pipeline, "run", noted)
    return seen


async def test_rows_of_one_kind_are_one_statement(warm: Uploads, sent: list[list[Command]]) -> None:
    count = GROUP_ROWS_MAX + 5
    rows = [put(f"l{n}", name=f'n"{n}\\', numbers=[n, n + 1]) for n in range(count)]
    await warm.succeed(*rows, *(delete(f"l{n}") for n in range(0, count, 2)), patch("l1", name=None))
    assert len(sent[-1]) == 2 + 1 + 1
    kept: list[tuple[str, Any, list[int]]] = [(f"l{n}", f'n"{n}\\', [n, n + 1]) for n in range(1, count, 2)]
    kept[0] = ("l1", None, [1, 2])
    assert sorted(warm.database.execute("SELECT id, name, numbers FROM lists")) == sorted(kept)


async def test_a_refused_row_within_a_group_is_named(warm: Uploads) -> None:
    rows = [put(f"l{n}", name="refused" if n == 37 else "fine") for n in range(60)]
    assert await warm.code(*rows) == ("CHECK_VIOLATION", 37)
    rows[37] = put("l37", name="fine")
    await warm.succeed(*rows)
    taken = [put(f"l{n}", name="mine") for n in range(55, 65)]
    assert await warm.code(*taken, user="bob") == ("UNAUTHORIZED", 0)
    assert warm.database.execute("SELECT DISTINCT name FROM lists") == [("fine",)]


async def test_a_table_that_refers_to_itself_is_written_row_by_row(warm: Uploads) -> None:
    """One statement would take a child before its parent, and the answer would depend on what came along with it."""
    child_first = [put("child", table="tree", parent_id="root"), put("root", table="tree", parent_id=None)]
    assert await warm.code(*child_first) == ("FOREIGN_KEY_VIOLATION", 0)
    await warm.succeed(*reversed(child_first))


KINDS: list[Callable[[str, str, str], dict[str, Any]]] = [
    lambda n, _of, word: put(f"l{n}", name=word),
    lambda n, _of, word: put(f"l{n}", slug=word),
    lambda n, _of, word: patch(f"l{n}", slug=word),
    lambda n, _of, word: patch(f"l{n}", numbers="oops" if word == "refused" else [len(word)]),
    lambda n, _of, _word: delete(f"l{n}"),
    lambda n, of, _word: put(f"t{n}", table="todos", list_id=f"l{of}", done=1),
    lambda n, of, _word: patch(f"t{n}", table="todos", list_id=f"l{of}"),
    lambda n, _of, word: patch(f"t{n}", table="todos", title=word or None),
    lambda n, _of, _word: delete(f"t{n}", table="todos"),
    lambda n, _of, word: put(f"f{n}", table="free", name=word),
    lambda n, _of, _word: delete(f"f{n}", table="free"),
]


@st.composite
def operations(draw: st.DrawFn) -> dict[str, Any]:
    n, of = draw(st.sampled_from("123")), draw(st.sampled_from("123"))
    return draw(st.sampled_from(KINDS))(n, of, draw(st.sampled_from(["a", "b", "refused", ""])))


TRANSACTIONS = st.lists(st.lists(operations(), min_size=1, max_size=8), min_size=1, max_size=6)


def state(database: ScratchDatabase) -> list[Any]:
    """All rows, marks of deletion by whether they are there."""
    with database.connect() as connection:
        return [
            sorted(connection.execute(query.encode()).fetchall(), key=str)
            for query in (
                "SELECT * FROM lists",
                "SELECT id, list_id, title, done, deleted_at IS NULL FROM todos",
                "SELECT * FROM free",
            )
        ]


@pytest.mark.timeout(900)  # of the deep profile
@given(before=TRANSACTIONS, transactions=TRANSACTIONS, foreign=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_groups_and_pipelines_have_the_meaning_of_single_statements(
    warm: Uploads, before: list[list[dict[str, Any]]], transactions: list[list[dict[str, Any]]], foreign: bool
) -> None:
    single: Persister = OneByOne(warm.persister)  # pyright: ignore[reportAssignmentType]  # what a batch needs of it
    alone = Uploads(SyncBackend(persister=single, auth=warm.backend.auth, tables=TABLES), warm.persister, warm.database)
    found: list[Any] = []
    for uploads in (alone, warm):
        warm.database.execute(
            "DELETE FROM lists; DELETE FROM todos; DELETE FROM free; DELETE FROM syncline_dead_letters"
        )
        await alone.send(*before, user="bob" if foreign else "ann")
        verdicts = await uploads.send(*transactions)
        found.append((verdicts, state(warm.database)))
    assert found[0] == found[1]
