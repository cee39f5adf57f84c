"""Todos on the command line: each call is one short run, with or without a network. Needs nothing but syncline."""

import argparse
import os

from syncline.client import Column, HttpConnector, Schema, Table
from syncline.client.blocking import SyncDatabase
from syncline.errors import SynclineError

SYNC_S = 10.0  # seconds that a run waits for the network
SCHEMA = Schema([Table("todos", [Column.text("title"), Column.boolean("done")])])
OPEN = "SELECT id, title FROM todos WHERE NOT done ORDER BY title, id"


def sync(db: SyncDatabase) -> None:
    """Upload and download what there is; without a network everything waits for the next run."""
    try:
        db.sync_once(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]), timeout=SYNC_S)
    except (SynclineError, TimeoutError):
        print("Offline. Waiting for upload:", db.current_status.pending_changes)


def add(db: SyncDatabase, title: str) -> None:
    db.execute("INSERT INTO todos (id, title, done) VALUES (uuid(), ?, 0)", [title])


def tick_off(db: SyncDatabase, title: str) -> None:
    db.execute("UPDATE todos SET done = 1 WHERE title = ? AND NOT done", [title])


def show(db: SyncDatabase) -> None:
    print("\n".join(f"- {row['title']}" for row in db.get_all(OPEN)) or "Nothing to do")


parser = argparse.ArgumentParser(prog="plain_script")
commands = parser.add_subparsers(dest="command", required=True)
for command in ("add", "done"):
    commands.add_parser(command).add_argument("title")
commands.add_parser("list")
asked = parser.parse_args()

with SyncDatabase("todos.db", schema=SCHEMA) as database:
    if asked.command == "add":
        add(database, asked.title)
    elif asked.command == "done":
        tick_off(database, asked.title)
    sync(database)
    show(database)
