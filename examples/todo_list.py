"""A todo list in the terminal: a title adds, a number ticks off, an empty line ends. Needs nothing but syncline.

What is typed is stored at once. The list is printed whenever it changes, by whomever: start a second one with another file,
`python examples/todo_list.py other.db`.
"""

import os
import sys

from syncline.client import HttpConnector, Row, SyncStatus
from syncline.client.blocking import SyncDatabase
from todo_schema import SCHEMA

OPEN = "SELECT id, title FROM todos WHERE NOT done ORDER BY title"


def show(rows: list[Row]) -> None:
    print("\n".join(f"{number}. {row['title']}" for number, row in enumerate(rows, 1)) or "Nothing to do", flush=True)


def show_trouble(status: SyncStatus) -> None:
    if status.error is not None:
        print(f"({status.state}: {status.error})", flush=True)


with SyncDatabase(sys.argv[1] if len(sys.argv) > 1 else "todos.db", schema=SCHEMA) as db:
    db.watch(OPEN, callback=show)
    db.register_listener(show_trouble)
    db.connect(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]))
    for line in iter(sys.stdin.readline, ""):
        if not (text := line.strip()):
            break
        if text.isdecimal():
            ticked = [row["id"] for row in db.get_all(OPEN)][int(text) - 1 : int(text)]
            db.execute("UPDATE todos SET done = 1 WHERE id = ?", ticked)
        else:
            db.execute("INSERT INTO todos (id, title, done) VALUES (uuid(), ?, 0)", [text])
