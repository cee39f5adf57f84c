"""The client in a Textual program: queries and the status as workers of a widget, which end with it.

`pip install "syncline[textual]"`. Textual runs in an event loop, so it is the asynchronous database that it uses.

>>> class Lists(SynclineMixin, Static):
...     def on_mount(self) -> None:
...         self.watch_query("SELECT name FROM lists", self.show)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar, cast

from textual.app import App
from textual.dom import DOMNode
from textual.worker import Worker

from syncline.client.core.status import SyncStatus
from syncline.client.database import SyncDatabase
from syncline.client.errors import DatabaseNotInitialized
from syncline.client.rows import Parameters, Row
from syncline.client.watch import THROTTLE_S

__all__ = ["SynclineMixin", "provide_database", "use_database"]

T = TypeVar("T")

_ATTRIBUTE = "_syncline_database"


def provide_database(app: App[Any], database: SyncDatabase) -> None:
    """Let all widgets of an app find the database, from now on; before the app's first widget asks for it (`App.__init__`, `on_load`)."""
    setattr(app, _ATTRIBUTE, database)


def use_database(app: App[Any]) -> SyncDatabase:
    """The database that an app provides. Raises DatabaseNotInitialized where it provides none."""
    database = getattr(app, _ATTRIBUTE, None)
    if not isinstance(database, SyncDatabase):
        raise DatabaseNotInitialized(
            "The app provides no database.", hint="Call `provide_database(app, db)` before its widgets are mounted."
        )
    return database


class SynclineMixin:
    """For widgets, screens and apps: follow queries and the status for as long as the widget is there."""

    @property
    def database(self) -> SyncDatabase:
        """The database of the app. Raises DatabaseNotInitialized."""
        return use_database(cast("App[Any]", cast("Any", self).app))

    def watch_query(
        self,
        sql: str,
        show: Callable[[list[Row]], Awaitable[object] | object],
        parameters: Parameters | None = None,
        *,
        throttle_s: float = THROTTLE_S,
    ) -> Worker[None]:
        """Call `show` with the rows of a query now, and after each change; a call that is slow gets the latest rows next."""
        database = self.database
        return self._follow(lambda: database.watch(sql, parameters, throttle_s=throttle_s), show)

    def watch_status(self, show: Callable[[SyncStatus], Awaitable[object] | object]) -> Worker[None]:
        """Call `show` with the sync status now, and with each newer one."""
        return self._follow(self.database.status_changes, show)

    def _follow(
        self, source: Callable[[], AsyncIterator[T]], show: Callable[[T], Awaitable[object] | object]
    ) -> Worker[None]:
        async def follow() -> None:
            async for item in source():
                shown = show(item)
                if isawaitable(shown):
                    await shown

        return cast("DOMNode", self).run_worker(follow(), exit_on_error=True)
