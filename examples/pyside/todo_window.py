"""The window: lists on the left, the todos of the chosen one in a table, and the status of sync below."""

from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QAction, QCloseEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMainWindow,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from syncline.client import BackendConnector, Column, Row, Schema, SyncStatus, Table, new_id
from syncline.client.blocking import SyncDatabase
from syncline.client.qt import LiveQuery, RowsModel, StatusSignal

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name")]),
        Table("todos", [Column.text("list_id"), Column.text("title"), Column.boolean("done")]),
    ]
)
LISTS = "SELECT id, name FROM lists ORDER BY name, id"
TODOS = "SELECT title, iif(done, 'done', '') AS state, id FROM todos WHERE list_id = ? ORDER BY done, title, id"
ID_COLUMN = 2  # of TODOS; it is not shown
ID_ROLE = Qt.ItemDataRole.UserRole


class TodoWindow(QMainWindow):
    """Follows two queries of the database, and writes to it. It never waits for the network: sync runs in a thread of its own."""

    def __init__(self, db: SyncDatabase, connector: BackendConnector) -> None:
        super().__init__()
        self.setWindowTitle("Todos")
        self._db = db
        self._connector = connector
        self._lists_query = LiveQuery(db, LISTS, parent=self)
        self._todos_query = LiveQuery(db, TODOS, [None], parent=self)
        self._status = StatusSignal(db, self)
        self.lists = QListWidget()
        self.todos = QTableView()
        self.todos.setModel(RowsModel(self._todos_query, self))
        self.todos.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.new_list = QLineEdit(placeholderText="New list")
        self.new_todo = QLineEdit(placeholderText="New todo")
        self.offline = QAction("Offline", self, checkable=True)
        self._lay_out()
        self._lists_query.rows_changed.connect(self._show_lists)
        self._todos_query.rows_changed.connect(self._hide_ids)
        self._status.changed.connect(self._show_status)
        self.lists.currentItemChanged.connect(self._follow_list)
        self.todos.doubleClicked.connect(self.tick_off)
        self.new_list.returnPressed.connect(self._add_list)
        self.new_todo.returnPressed.connect(self._add_todo)
        self.offline.toggled.connect(self._go_offline)
        db.connect(connector)

    def _lay_out(self) -> None:
        left, right, whole = QVBoxLayout(), QVBoxLayout(), QHBoxLayout()
        for column, widgets in ((left, (self.lists, self.new_list)), (right, (self.todos, self.new_todo))):
            for widget in widgets:
                column.addWidget(widget)
        whole.addLayout(left, 1)
        whole.addLayout(right, 3)
        central = QWidget()
        central.setLayout(whole)
        self.setCentralWidget(central)
        self.addToolBar("Sync").addAction(self.offline)
        self.statusBar()

    # -- what is shown

    def _show_lists(self, rows: list[Row]) -> None:
        before = self.list_id
        self.lists.clear()
        for row in rows:
            item = QListWidgetItem(row["name"])
            item.setData(ID_ROLE, row["id"])
            self.lists.addItem(item)
        ids = [row["id"] for row in rows]
        if ids:
            self.lists.setCurrentRow(ids.index(before) if before in ids else 0)

    def _hide_ids(self) -> None:
        self.todos.setColumnHidden(ID_COLUMN, True)

    def _show_status(self, status: SyncStatus) -> None:
        at = f"{status.last_synced_at:%H:%M:%S} UTC" if status.last_synced_at else "never"
        self.statusBar().showMessage(f"{status.state} · {status.pending_changes or 0} waiting · last synced {at}")

    def _follow_list(self) -> None:
        self._todos_query.set_query(TODOS, [self.list_id])

    @property
    def list_id(self) -> str | None:
        """The list that is chosen."""
        chosen = self.lists.selectedItems()
        return chosen[0].data(ID_ROLE) if chosen else None

    # -- what is done

    def tick_off(self, index: QModelIndex) -> None:
        """Tick a todo off, or not; the index is one of the table's."""
        todo = index.siblingAtColumn(ID_COLUMN).data()
        self._db.execute("UPDATE todos SET done = NOT done WHERE id = ?", [todo])

    def _add_list(self) -> None:
        self._db.execute("INSERT INTO lists (id, name) VALUES (?, ?)", [new_id(), self.new_list.text()])
        self.new_list.clear()

    def _add_todo(self) -> None:
        if self.list_id is not None:
            values = [new_id(), self.list_id, self.new_todo.text()]
            self._db.execute("INSERT INTO todos (id, list_id, title, done) VALUES (?, ?, ?, 0)", values)
            self.new_todo.clear()

    def _go_offline(self, offline: bool) -> None:
        if offline:
            self._db.disconnect()
        else:
            self._db.connect(self._connector)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt names it so
        """End what follows the database, before the database is closed."""
        for following in (self._lists_query, self._todos_query, self._status):
            following.close()
        super().closeEvent(event)
