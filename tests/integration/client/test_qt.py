"""The Qt adapter in a program without a window: signals arrive in the thread of the event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, Qt

from syncline.client import Column, Row, Schema, SyncStatus, Table, blocking
from syncline.client.qt import LiveQuery, QtDispatcher, RowsModel, StatusSignal

SCHEMA = Schema([Table("lists", [Column.text("name")])])
WITHIN_S = 20.0


@pytest.fixture(scope="module")
def application() -> QCoreApplication:
    made = QCoreApplication.instance()
    return made if made is not None else QCoreApplication([])


@pytest.fixture
def database(application: QCoreApplication, tmp_path: Path) -> Generator[blocking.SyncDatabase]:
    del application
    with blocking.SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        yield db


def until(condition: Callable[[], bool]) -> None:
    """Run Qt's event loop until the condition holds."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        QCoreApplication.processEvents()


def names(rows: list[Row]) -> list[str]:
    return [row["name"] for row in rows]


@pytest.mark.requirement(212)
def test_rows_arrive_in_the_thread_of_the_window(database: blocking.SyncDatabase) -> None:
    told: list[tuple[list[str], threading.Thread]] = []
    query = LiveQuery(database, "SELECT name FROM lists ORDER BY name", throttle_s=0)

    def show(rows: list[Row]) -> None:
        told.append((names(rows), threading.current_thread()))

    query.rows_changed.connect(show)
    until(lambda: len(told) == 1)
    database.execute("INSERT INTO lists(id, name) VALUES ('l1', 'n')")
    until(lambda: len(told) == 2)
    assert [shown for shown, _ in told] == [[], ["n"]]
    assert {thread for _, thread in told} == {threading.current_thread()}
    assert [row["name"] for row in query.rows] == ["n"]
    query.close()
    query.close()


@pytest.mark.requirement(101)
def test_another_query_takes_the_place_of_the_one_before(database: blocking.SyncDatabase) -> None:
    database.execute("INSERT INTO lists(id, name) VALUES ('l1', 'a'), ('l2', 'b')")
    told: list[list[str]] = []
    query = LiveQuery(database, "SELECT name FROM lists WHERE name = ?", ["a"], throttle_s=0)

    def show(rows: list[Row]) -> None:
        told.append(names(rows))

    query.rows_changed.connect(show)
    query.set_query("SELECT name FROM lists WHERE name = ?", ["b"])
    until(lambda: bool(told))
    assert told == [["b"]]
    query.close()


def test_a_query_that_is_wrong_says_so(database: blocking.SyncDatabase) -> None:
    errors: list[Exception] = []
    query = LiveQuery(database, "SELECT name FROM absent")
    query.failed.connect(errors.append)
    until(lambda: bool(errors))
    assert "no such table" in str(errors[0])


def test_a_table_model_follows_a_query(database: blocking.SyncDatabase) -> None:
    query = LiveQuery(database, "SELECT id, name FROM lists ORDER BY id", throttle_s=0)
    model = RowsModel(query)
    assert (model.rowCount(), model.columnCount()) == (0, 0)
    database.execute("INSERT INTO lists(id, name) VALUES ('l1', 'a'), ('l2', 'b')")
    until(lambda: model.rowCount() == 2)
    assert model.columnCount() == 2
    assert model.headerData(1, Qt.Orientation.Horizontal) == "name"
    assert model.headerData(1, Qt.Orientation.Vertical) == 2
    assert model.data(model.index(1, 1)) == "b"
    assert model.data(model.index(1, 1), Qt.ItemDataRole.DecorationRole) is None
    assert model.row(0)["id"] == "l1"
    query.close()


@pytest.mark.requirement(72)
def test_the_status_is_a_signal(database: blocking.SyncDatabase) -> None:
    told: list[tuple[bool, threading.Thread]] = []
    status = StatusSignal(database)

    def show(now: SyncStatus) -> None:
        told.append((now.connected, threading.current_thread()))

    status.changed.connect(show)
    until(lambda: bool(told))
    assert told[0] == (False, threading.current_thread())
    assert status.current.connected is False
    status.close()


def test_a_dispatcher_serves_other_callbacks(database: blocking.SyncDatabase) -> None:
    threads: list[threading.Thread] = []
    subscription = database.watch(
        "SELECT 1", callback=lambda _: threads.append(threading.current_thread()), dispatcher=QtDispatcher()
    )
    until(lambda: bool(threads))
    assert threads == [threading.current_thread()]
    subscription.close()
