"""The Python outputs of `generate schema` are run: by the client, by SQLAlchemy, and by the type checker."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.cli.schema_generation.writers import written
from syncline.client import SyncDatabase
from syncline.client.sqlalchemy import create_async_engine
from tests.unit.cli.schema_generation.sources import tables_of

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0
OUTPUTS = (SchemaOutput.PYTHON, SchemaOutput.PYTHON_DATACLASS, SchemaOutput.PYDANTIC, SchemaOutput.SQLALCHEMY)
SOURCE = {
    "lists": "id uuid, name text, done bool, score float8, price numeric, at timestamptz, day date, owner_id uuid",
    "odd": "id text, class text, metadata jsonb, model_x int4, _lead int4, date date, json json, tags text[], words@here text",
    "empty": "id text",
}
STREAMS = """  every:
    auto_subscribe: true
    queries:
      - SELECT * FROM lists
      - SELECT * FROM odd
      - SELECT * FROM empty
  my-lists:
    query: SELECT * FROM lists WHERE owner_id = subscription.parameter('owner') AND score = subscription.parameter('class')
  some_lists:
    query: SELECT * FROM lists WHERE id IN subscription.parameter('ids')
"""
INSERT_LIST = """INSERT INTO lists (id, name, done, score, price, at, day, owner_id)
VALUES ('l1', 'Books', 1, 1.5, '12.50', '2026-01-02T03:04:05.000000Z', '2026-02-03', 'alice')"""
INSERT_ODD = """INSERT INTO odd (id, class, metadata, model_x, _lead, date, json, tags, "words@here")
VALUES ('o1', 'c', '{"a": 1}', 2, 3, '2026-02-03', '[1]', '["x"]', 'w')"""
AT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def source_of(output: SchemaOutput) -> str:
    return written(tables_of(STREAMS, **SOURCE), output).text


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a module of an output."""

    def make(output: SchemaOutput) -> types.ModuleType:
        module = types.ModuleType(f"generated_{output.name.lower()}")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # where annotations are looked up
        exec(compile(source_of(output), module.__name__, "exec", dont_inherit=True), module.__dict__)
        return module

    return make


@pytest.mark.requirement(199)
@pytest.mark.parametrize("output", OUTPUTS)
async def test_a_database_takes_the_schema_and_the_streams(output: SchemaOutput, load: Any, tmp_path: Path) -> None:
    module = load(output)
    async with asyncio.timeout(DEADLINE_S), SyncDatabase(tmp_path / "app.db", schema=module.SCHEMA) as db:
        await db.execute(INSERT_LIST)
        await db.execute(INSERT_ODD)
        await db.execute("INSERT INTO empty (id) VALUES ('e1')")
        [row] = await db.get_all("SELECT name, typeof(score) AS kind FROM lists")
        assert (row["name"], row["kind"]) == ("Books", "real")
        streams = module.Streams(db)
        async with streams.my_lists(owner="alice", class_=1.5).subscribe() as handle:
            assert (handle.name, handle.parameters) == ("my-lists", {"owner": "alice", "class": 1.5})
        stream = streams.some_lists(ids=["l1", "l2"])
        assert (stream.name, stream.parameters) == ("some_lists", {"ids": ["l1", "l2"]})


@pytest.mark.requirement(199)
@pytest.mark.parametrize("output", [SchemaOutput.PYTHON_DATACLASS, SchemaOutput.PYDANTIC])
async def test_rows_are_read_as_the_generated_classes(output: SchemaOutput, load: Any, tmp_path: Path) -> None:
    module = load(output)
    async with asyncio.timeout(DEADLINE_S), SyncDatabase(tmp_path / "app.db", schema=module.SCHEMA) as db:
        await db.execute(INSERT_LIST)
        await db.execute("INSERT INTO lists (id) VALUES ('l2')")
        await db.execute(INSERT_ODD)
        books, nothing = await db.fetch(module.ListsRow, "SELECT * FROM lists ORDER BY id")
        assert (books.name, books.done, books.score, books.price) == ("Books", True, 1.5, Decimal("12.50"))
        assert (books.at, books.day, books.owner_id) == (AT, dt.date(2026, 2, 3), "alice")
        assert (nothing.id, nothing.name, nothing.at, nothing.price) == ("l2", None, None, None)
        sql = "SELECT * FROM odd"
        if output is SchemaOutput.PYTHON_DATACLASS:  # its fields say what to select
            sql = 'SELECT *, "class" AS class_, "words@here" AS words_here FROM odd'
        [odd] = await db.fetch(module.OddRow, sql)
        assert (odd.class_, odd.metadata, odd.date, odd.tags) == ("c", {"a": 1}, dt.date(2026, 2, 3), ["x"])
        assert odd.words_here == "w"
        if output is SchemaOutput.PYDANTIC:
            assert (odd.json_, odd.x, odd.lead) == ([1], 2, 3)
        else:
            assert (odd.json, odd.model_x, odd._lead) == ([1], 2, 3)


@pytest.mark.requirement(199)
async def test_sqlalchemy_reads_and_writes_with_the_generated_models(load: Any, tmp_path: Path) -> None:
    module = load(SchemaOutput.SQLALCHEMY)
    async with asyncio.timeout(DEADLINE_S), SyncDatabase(tmp_path / "app.db", schema=module.SCHEMA) as db:
        await db.execute(INSERT_LIST)
        await db.execute(INSERT_ODD)
        await _use_session(module, db)
        [row] = await db.get_all("SELECT id, done, at, price FROM lists WHERE name = 'Food'")
        assert (row["done"], row["at"], row["price"]) == (0, "2026-01-02T03:04:05.000000Z", "3.10")
        assert len(row["id"]) == 36


async def _use_session(module: Any, db: SyncDatabase) -> None:
    engine = create_async_engine(db)
    async with AsyncSession(engine) as session:
        books = (await session.scalars(select(module.ListsRow))).one()
        assert (books.name, books.done, books.price, books.at) == ("Books", True, Decimal("12.50"), AT)
        odd = (await session.scalars(select(module.OddRow))).one()
        assert (odd.class_, odd.metadata_, odd.json, odd.words_here) == ("c", {"a": 1}, [1], "w")
        session.add(module.ListsRow(name="Food", done=False, at=AT, price=Decimal("3.10")))
        await session.commit()
    await engine.dispose()


@pytest.mark.requirement(199, 218)
def test_the_type_checker_has_nothing_against_them(tmp_path: Path) -> None:
    """In its strict mode, all four in one run."""
    for output in OUTPUTS:
        (tmp_path / f"{output.name.lower()}_output.py").write_text(source_of(output))
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "pythonVersion": "3.12"}')
    checker = Path(sys.executable).parent / "basedpyright"
    done = subprocess.run(
        [checker, "--project", tmp_path, "--pythonpath", sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout
