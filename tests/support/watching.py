"""What tests of watched queries have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.testing.waiting import eventually

DEADLINE_S = 20.0
SCHEMA = Schema(
    [
        Table("todos", [Column.text("title"), Column.text("list_id")]),
        Table("lists", [Column.text("name")]),
        Table("drafts", [Column.text("body")], local_only=True),
    ]
)
INSERT = "INSERT INTO todos(id, title, list_id) VALUES (?, ?, ?)"
TITLES = "SELECT title FROM todos ORDER BY id"


@dataclass
class Todo:
    id: str
    title: str


class Collected:
    """Reads a watch in a task of its own."""

    def __init__(self, watch: Any) -> None:
        self.results: list[Any] = []
        self.task = asyncio.create_task(self._read(watch))

    async def _read(self, watch: Any) -> None:
        async for result in watch:
            self.results.append(result)

    async def until(self, condition: Callable[[list[Any]], bool], what: str = "") -> None:
        await eventually(lambda: self.results and condition(self.results), timeout_s=DEADLINE_S, what=what)


async def settle(db: SyncDatabase) -> None:
    """Let everything run that a commit has set going: many turns of the loop and of the readers."""
    for _ in range(20):
        await db.fetch(int, "SELECT 1")


def column(rows: list[Any]) -> list[Any]:
    return [row[0] for row in rows]
