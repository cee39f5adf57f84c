"""The client in a Qt program: results and status as signals, which arrive in the thread of the window.

`pip install "syncline[qt]"`. The blocking database does its work in threads of its own, so the window never waits for the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal, Slot

from syncline.client.blocking.callbacks import Subscription
from syncline.client.blocking.database import SyncDatabase
from syncline.client.core.status import SyncStatus
from syncline.client.rows import Parameters, Row
from syncline.client.watch import THROTTLE_S

__all__ = ["LiveQuery", "QtDispatcher", "RowsModel", "StatusSignal"]

_Index = QModelIndex | QPersistentModelIndex
_NO_INDEX = QModelIndex()


class QtDispatcher(QObject):
    """Calls functions in the thread in which it was made: `db.watch(sql, callback=show, dispatcher=QtDispatcher())`."""

    _posted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._posted.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def __call__(self, function: Callable[[], None]) -> None:
        """Take a function; any thread may call."""
        self._posted.emit(function)

    @Slot(object)
    def _run(self, function: Callable[[], None]) -> None:
        function()


class StatusSignal(QObject):
    """The sync status: `changed` is emitted with the status now, and with each newer one."""

    changed = Signal(object)

    def __init__(self, database: SyncDatabase, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._database = database
        self._subscription = database.register_listener(self._tell, dispatcher=QtDispatcher(self))

    @property
    def current(self) -> SyncStatus:
        """The status now."""
        return self._database.current_status

    def close(self) -> None:
        """No signal from now on. Can be called again."""
        self._subscription.close()

    def _tell(self, status: SyncStatus) -> None:
        self.changed.emit(status)


class LiveQuery(QObject):
    """A query whose `rows_changed` is emitted with its rows now, and after each change of one of its tables.

    `failed` is emitted with the error with which it has ended. A program that keeps no reference to it, nor gives it a parent, loses it.
    """

    rows_changed = Signal(list)
    failed = Signal(object)

    def __init__(
        self,
        database: SyncDatabase,
        sql: str,
        parameters: Parameters | None = None,
        *,
        throttle_s: float = THROTTLE_S,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._database = database
        self._throttle_s = throttle_s
        self._dispatcher = QtDispatcher(self)
        self._rows: list[Row] = []
        self._subscription = self._watch(sql, parameters)

    @property
    def rows(self) -> list[Row]:
        """The rows that were told last."""
        return self._rows

    def set_query(self, sql: str, parameters: Parameters | None = None) -> None:
        """Follow another query from now on; no rows of the one before are told any more."""
        self._subscription.close()
        self._subscription = self._watch(sql, parameters)

    def close(self) -> None:
        """No signal from now on. Can be called again."""
        self._subscription.close()

    def _watch(self, sql: str, parameters: Parameters | None) -> Subscription[list[Any]]:
        return self._database.watch(
            sql,
            parameters,
            callback=self._tell,
            dispatcher=self._dispatcher,
            on_error=self.failed.emit,
            throttle_s=self._throttle_s,
        )

    def _tell(self, rows: list[Row]) -> None:
        self._rows = rows
        self.rows_changed.emit(rows)


class RowsModel(QAbstractTableModel):
    """The rows of a live query for a `QTableView`: a column of the query is a column of the view."""

    def __init__(self, query: LiveQuery, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[Row] = []
        self._names: list[str] = []
        query.rows_changed.connect(self._show)
        self._show(query.rows)

    def rowCount(self, parent: _Index = _NO_INDEX) -> int:  # noqa: N802 - Qt names it so
        """How many rows there are."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = _NO_INDEX) -> int:  # noqa: N802 - Qt names it so
        """How many columns there are; none before the first row is."""
        return 0 if parent.isValid() else len(self._names)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """One value."""
        shown = role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole)
        return self._rows[index.row()][index.column()] if shown and index.isValid() else None

    def headerData(  # noqa: N802 - Qt names it so
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The name of a column, the number of a row."""
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        return self._names[section] if orientation is Qt.Orientation.Horizontal else section + 1

    def row(self, number: int) -> Row:
        """One row, by its place in the view."""
        return self._rows[number]

    def _show(self, rows: list[Row]) -> None:
        self.beginResetModel()
        self._rows = rows
        self._names = rows[0].keys() if rows else self._names
        self.endResetModel()
