"""The Textual adapter in an app that runs without a terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static

from syncline.client import Column, Row, Schema, SyncDatabase, Table
from syncline.client.core.status import SyncStatus
from syncline.client.errors import DatabaseNotInitialized
from syncline.client.textual import SynclineMixin, provide_database, use_database
from syncline.testing.waiting import eventually

SCHEMA = Schema([Table("lists", [Column.text("name")])])


class Lists(SynclineMixin, Static):
    def on_mount(self) -> None:
        self.shown: list[list[str]] = []
        self.connected: list[bool] = []
        self.watch_query("SELECT name FROM lists ORDER BY name", self.show, throttle_s=0)
        self.watch_status(self.show_status)

    def show(self, rows: list[Row]) -> None:
        self.shown.append([row["name"] for row in rows])
        self.update(", ".join(self.shown[-1]))

    async def show_status(self, status: SyncStatus) -> None:
        self.connected.append(status.connected)


class ListsApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Lists()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        yield db


@pytest.mark.requirement(79, 212)
async def test_a_widget_shows_rows_and_status_as_they_change(database: SyncDatabase) -> None:
    app = ListsApp()
    provide_database(app, database)
    async with app.run_test():
        lists = app.query_one(Lists)
        assert lists.database is database, "the database itself, no wrapper"
        assert use_database(app) is database
        await eventually(lambda: lists.shown == [[]])
        await eventually(lambda: lists.connected == [False])
        await database.execute("INSERT INTO lists(id, name) VALUES ('l1', 'n')")
        await eventually(lambda: lists.shown == [[], ["n"]])
        await lists.remove()
        await database.execute("INSERT INTO lists(id, name) VALUES ('l2', 'm')")
        await eventually(lambda: not lists.workers or all(worker.is_finished for worker in lists.workers))
        assert lists.shown == [[], ["n"]], "the watch ended with its widget"


@pytest.mark.requirement(80)
async def test_an_app_without_a_database_says_so() -> None:
    async with App[None]().run_test() as pilot:
        with pytest.raises(DatabaseNotInitialized, match="provides no database"):
            use_database(pilot.app)
