"""SQLAlchemy over the client: sessions, Core, types, refusals, and one queue and one set of watches with the database's own calls."""

from __future__ import annotations

import enum
import threading
import uuid
from collections.abc import Generator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from syncline.client import blocking, new_id
from syncline.client.sqlalchemy import create_engine, metadata_from_schema, schema_from_sqlalchemy


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class TaskList(Base):
    __tablename__ = "lists"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    created_at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    due: Mapped[date | None]
    archived: Mapped[bool | None]
    tags: Mapped[list[str] | None] = mapped_column(sa.JSON)
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))
    share: Mapped[float | None]
    count: Mapped[int | None]
    owner_id: Mapped[uuid.UUID | None]
    colour: Mapped[Colour | None]
    tasks: Mapped[list[Task]] = relationship(back_populates="list", cascade="all, delete-orphan")
    __table_args__ = (sa.Index("by_name", "name"),)


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    title: Mapped[str]
    list_id: Mapped[str] = mapped_column(sa.ForeignKey("lists.id"))
    list: Mapped[TaskList] = relationship(back_populates="tasks")


@pytest.fixture
def database(tmp_path: Path) -> Generator[blocking.SyncDatabase]:
    with blocking.SyncDatabase(tmp_path / "app.db", schema=schema_from_sqlalchemy(Base.metadata)) as db:
        yield db


@pytest.fixture
def engine(database: blocking.SyncDatabase) -> Generator[sa.Engine]:
    made = create_engine(database)
    yield made
    made.dispose()


def queued(database: blocking.SyncDatabase) -> list[tuple[str, str, dict[str, Any] | None]]:
    """What waits for its upload, transaction by transaction: table, operation, data."""
    return [(entry.table, entry.op.value, entry.op_data) for tx in database.crud_transactions() for entry in tx.crud]


def count(database: blocking.SyncDatabase, table: str) -> int:
    return int(database.get(f"SELECT count(*) FROM {table}")[0])


@pytest.mark.requirement(97)
def test_objects_are_stored_queued_and_read_again_with_their_types(
    database: blocking.SyncDatabase, engine: sa.Engine
) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    owner = uuid.uuid4()
    with Session(engine) as session:
        made = TaskList(
            name="Shopping",
            created_at=moment,
            due=date(2026, 3, 4),
            archived=False,
            tags=["a", "ü"],
            price=Decimal("12.30"),
            share=0.25,
            count=2**53 + 1,
            owner_id=owner,
            colour=Colour.BLUE,
            tasks=[Task(title="Milk"), Task(title="Bread")],
        )
        session.add(made)
        session.commit()
        key = made.id
    [stored] = database.get_all("SELECT * FROM lists")
    assert stored["created_at"] == "2026-01-02T03:04:05.000678Z", "as the service sends it: texts sort like times"
    assert (stored["due"], stored["archived"], stored["price"]) == ("2026-03-04", 0, "12.30")
    assert (stored["owner_id"], stored["tags"]) == (str(owner), '["a", "\\u00fc"]')
    assert [(table, op) for table, op, _ in queued(database)] == [("lists", "PUT"), ("tasks", "PUT"), ("tasks", "PUT")]
    assert len(list(database.crud_transactions())) == 1, "one session's commit is one transaction of the queue"
    with Session(engine) as session:
        read = session.get_one(TaskList, key)
        assert (read.created_at, read.due, read.archived, read.tags) == (moment, date(2026, 3, 4), False, ["a", "ü"])
        assert (read.price, read.share, read.count) == (Decimal("12.30"), 0.25, 2**53 + 1)
        assert (read.owner_id, read.colour) == (owner, Colour.BLUE)
        assert sorted(task.title for task in read.tasks) == ["Bread", "Milk"]


@pytest.mark.requirement(97)
def test_a_change_is_a_patch_of_the_changed_columns_and_a_delete_reaches_the_children(
    database: blocking.SyncDatabase, engine: sa.Engine
) -> None:
    with Session(engine) as session:
        made = TaskList(name="Shopping", tasks=[Task(title="Milk")])
        session.add(made)
        session.commit()
        for transaction in database.crud_transactions():
            transaction.complete()
        made.name = "Groceries"
        session.commit()
        assert queued(database) == [("lists", "PATCH", {"name": "Groceries"})]
        session.delete(made)
        session.commit()
    assert sorted(entry[:2] for entry in queued(database)[1:]) == [("lists", "DELETE"), ("tasks", "DELETE")]
    assert count(database, "lists") == count(database, "tasks") == 0


def test_what_is_rolled_back_leaves_nothing(database: blocking.SyncDatabase, engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add(TaskList(name="x"))
        session.flush()
        assert session.scalar(sa.select(sa.func.count()).select_from(TaskList)) == 1, "a session sees its own writes"
        assert count_in_thread(database) == 0, "and nobody else does"
        session.rollback()
    connection = engine.connect()
    connection.execute(sa.insert(TaskList).values(name="y"))
    connection.close()  # without a commit
    assert count(database, "lists") == 0
    assert queued(database) == []


def count_in_thread(database: blocking.SyncDatabase) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(count(database, "lists")))
    thread.start()
    thread.join()
    return found[0]


def test_savepoints_undo_a_part(database: blocking.SyncDatabase, engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add(TaskList(name="kept"))
        part = session.begin_nested()
        session.add(TaskList(name="undone"))
        session.flush()
        part.rollback()
        session.commit()
    assert [row["name"] for row in database.get_all("SELECT name FROM lists")] == ["kept"]


def test_reading_holds_up_no_writer(database: blocking.SyncDatabase, engine: sa.Engine) -> None:
    with engine.connect() as reading:
        assert reading.execute(sa.select(TaskList.name)).all() == []
        writer = threading.Thread(target=lambda: database.execute("INSERT INTO lists(id, name) VALUES ('l1', 'n')"))
        writer.start()
        writer.join(timeout=10)
        assert not writer.is_alive()
        assert reading.execute(sa.select(TaskList.name)).all() == [], "one state until the end"
        reading.rollback()
        assert reading.execute(sa.select(TaskList.name)).scalars().all() == ["n"]


def test_a_result_without_rows_has_its_columns(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        result = connection.execute(sa.text("SELECT id, name FROM lists"))
        assert list(result.keys()) == ["id", "name"]
        assert result.all() == []


def test_with_queries_read_and_write(database: blocking.SyncDatabase, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        read = "WITH named AS (SELECT 'x' AS name) SELECT name FROM named"
        assert connection.execute(sa.text(read)).scalar() == "x"
        written = (
            "WITH named AS (SELECT 'l1' AS id, 'x' AS name) INSERT INTO lists(id, name) SELECT id, name FROM named"
        )
        connection.execute(sa.text(written))
    assert count(database, "lists") == 1


def test_many_rows_go_in_one_call(database: blocking.SyncDatabase, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(TaskList), [{"name": f"n{number}"} for number in range(2500)])
    assert count(database, "lists") == 2500
    with Session(engine) as session:
        session.add_all(Task(title=f"t{number}", list_id="l") for number in range(1500))
        session.commit()
    assert count(database, "tasks") == 1500


def test_autocommit_makes_each_statement_its_own_transaction(
    database: blocking.SyncDatabase, engine: sa.Engine
) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.insert(TaskList).values(name="a"))
        assert count_in_thread(database) == 1
        connection.execute(sa.insert(TaskList).values(name="b"))
    assert len(list(database.crud_transactions())) == 2


def test_a_read_only_engine_refuses_writes(database: blocking.SyncDatabase) -> None:
    engine = create_engine(database, read_only=True)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(Task)).scalar() == 0
        with pytest.raises(exc.NotSupportedError, match="read_only"):
            connection.execute(sa.insert(TaskList).values(name="a"))
    engine.dispose()


@pytest.mark.parametrize("action", ["nothing", "update"])
def test_on_conflict_is_refused_with_what_to_write_instead(engine: sa.Engine, action: str) -> None:
    statement = sqlite_insert(TaskList).values(id="l1", name="n")
    statement = (
        statement.on_conflict_do_nothing()
        if action == "nothing"
        else statement.on_conflict_do_update(index_elements=["id"], set_={"name": "m"})
    )
    with engine.begin() as connection, pytest.raises(exc.CompileError, match=r"session\.merge"):
        connection.execute(statement)


def test_what_the_refusal_names_works(database: blocking.SyncDatabase, engine: sa.Engine) -> None:
    for name in ("first", "second"):
        with Session(engine) as session:
            session.merge(TaskList(id="l1", name=name))
            session.commit()
    with engine.begin() as connection:
        connection.execute(sa.insert(TaskList).prefix_with("OR REPLACE").values(id="l1", name="third"))
    assert [row["name"] for row in database.get_all("SELECT name FROM lists")] == ["third"]


def test_errors_are_those_of_sqlalchemy(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        with pytest.raises(exc.ProgrammingError, match="no such table"):
            connection.execute(sa.text("SELECT * FROM absent"))
        with pytest.raises(exc.OperationalError, match="binary data"):
            connection.execute(sa.text("SELECT :b"), {"b": b"bytes"})


@pytest.mark.requirement(97)
def test_a_commit_of_a_session_reaches_watches(database: blocking.SyncDatabase, engine: sa.Engine) -> None:
    watch = database.watch("SELECT name FROM lists ORDER BY name", throttle_s=0)
    rows = iter(watch)
    assert next(rows) == []
    with Session(engine) as session:
        session.add(TaskList(name="new"))
        session.commit()
    assert [row["name"] for row in next(rows)] == ["new"]
    watch.close()


def test_core_tables_made_from_the_schema(database: blocking.SyncDatabase, engine: sa.Engine) -> None:
    schema = schema_from_sqlalchemy(Base.metadata)
    lists = metadata_from_schema(schema).tables["lists"]
    with engine.begin() as connection:
        connection.execute(sa.insert(lists).values(name="n", archived=True, tags={"k": [1]}))
    with engine.connect() as connection:
        row = connection.execute(sa.select(lists)).one()
    assert (len(row.id), row.archived, row.tags) == (36, True, {"k": [1]})
    assert sa.inspect(engine).has_table("lists")
