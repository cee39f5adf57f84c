"""Uses the window of examples/pyside as a person would, on no screen. Arguments: the file of its database, the DSN of Postgres."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication, QLineEdit

sys.path.insert(0, str(Path(__file__).parents[2]))

from examples.pyside.todo_window import SCHEMA, TodoWindow

from syncline.client import HttpConnector
from syncline.client.blocking import SyncDatabase

WITHIN_S = 30.0  # seconds for what a machine without other work does in one
LOOK_MS = 20  # milliseconds between two looks at a condition


def until(condition: Callable[[], bool], what: str) -> None:
    """Run Qt's event loop until the condition holds.

    It looks only every some milliseconds: on Python 3.11, PySide 6.12 takes a reference from None with each call that returns it.
    """
    deadline = time.monotonic() + WITHIN_S
    loop, timer = QEventLoop(), QTimer(interval=LOOK_MS)
    timer.timeout.connect(loop.quit)
    timer.start()
    while not condition():
        assert time.monotonic() < deadline, what
        loop.exec()
    timer.stop()


def type_in(field: QLineEdit, text: str) -> None:
    """Type a name and press Enter."""
    field.setText(text)
    field.returnPressed.emit()


def rows_of(window: TodoWindow) -> list[tuple[str, str]]:
    """What the table shows: title and state."""
    model = window.todos.model()
    return [(model.index(row, 0).data(), model.index(row, 1).data()) for row in range(model.rowCount())]


def in_postgres(dsn: str, user_id: str) -> list[tuple[str, bool]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT title, done FROM todos WHERE owner_id = %s ORDER BY 1", (user_id,)).fetchall()


def use(window: TodoWindow, dsn: str, user_id: str) -> None:
    """Write online and offline, and see what others write."""
    type_in(window.new_list, "Food")
    until(lambda: [window.lists.item(row).text() for row in range(window.lists.count())] == ["Food"], "a list")
    type_in(window.new_todo, "Milk")
    until(lambda: rows_of(window) == [("Milk", "")], "a todo")
    assert window.todos.isColumnHidden(2)
    until(lambda: in_postgres(dsn, user_id) == [("Milk", False)], "in Postgres")
    until(lambda: window.statusBar().currentMessage().startswith("synced · 0 waiting"), "synced")

    window.offline.trigger()
    type_in(window.new_todo, "Bread")
    until(lambda: window.statusBar().currentMessage().startswith("offline · 1 waiting"), "offline")
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE todos SET done = true WHERE owner_id = %s", (user_id,))
    window.offline.trigger()
    until(lambda: rows_of(window) == [("Bread", ""), ("Milk", "done")], "what another has written")
    window.tick_off(window.todos.model().index(0, 0))
    until(lambda: in_postgres(dsn, user_id) == [("Bread", True), ("Milk", True)], "ticked off")


def main(path: str, dsn: str) -> None:
    application = QApplication(sys.argv[:1])
    user_id = os.environ["USER_ID"]
    with SyncDatabase(path, schema=SCHEMA) as db:
        window = TodoWindow(db, HttpConnector(os.environ["BACKEND_URL"], user_id=user_id))
        window.show()
        use(window, dsn, user_id)
        window.close()
    del application
    print("The window did all that it should")


if __name__ == "__main__":
    main(*sys.argv[1:])
