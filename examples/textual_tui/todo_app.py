"""The screen: lists on the left, their todos on the right, and below them what sync is doing."""

from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker

from syncline.client import BackendConnector, Column, Row, Schema, SyncDatabase, SyncStatus, Table, new_id
from syncline.client.textual import SynclineMixin, provide_database

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name")]),
        Table("todos", [Column.text("list_id"), Column.text("title"), Column.boolean("done")]),
    ]
)
TODOS = "SELECT id, title, done FROM todos WHERE list_id = ? ORDER BY done, title, id"


class TodoApp(SynclineMixin, App[None]):
    """Everything is read from the database on the device and written to it; what sync brings arrives as any other change."""

    AUTO_FOCUS = "#lists"
    CSS = """
    OptionList { width: 1fr; height: 1fr; }
    #lists { max-width: 30; }
    #refused { color: $error; }
    #entry, #refused { display: none; }
    #entry.asked, #refused.any { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("n", "ask('list')", "New list"),
        ("a", "ask('todo')", "New todo"),
        ("d", "delete", "Delete todo"),
        ("o", "offline", "Offline"),
        ("x", "dismiss", "Dismiss refusals"),
        ("escape", "cancel", "Cancel"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, db: SyncDatabase, connector: BackendConnector) -> None:
        super().__init__()
        self._connector = connector
        self._asking = "list"
        self._is_offline = False
        self._todos_watch: Worker[None] | None = None
        self._lists = OptionList(id="lists", markup=False)
        self._todos = OptionList(id="todos", markup=False)
        self._refused = Static(id="refused", markup=False)
        self._entry = Input(id="entry")
        self._status = Static(id="status", markup=False)
        provide_database(self, db)

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._lists
            yield self._todos
        yield self._refused
        yield self._entry
        yield self._status
        yield Footer()

    async def on_mount(self) -> None:
        self.watch_query("SELECT id, name FROM lists ORDER BY name, id", self.show_lists)
        self.watch_status(self.show_status)
        await self.database.connect(self._connector)

    # -- what is shown

    def show_lists(self, rows: list[Row]) -> None:
        fill(self._lists, [(row["id"], row["name"]) for row in rows])
        if not rows:
            self.follow(None)

    def show_todos(self, rows: list[Row]) -> None:
        lines = [(row["id"], f"{'✓' if row['done'] else '·'} {row['title']}") for row in rows]
        fill(self._todos, lines)

    async def show_status(self, status: SyncStatus) -> None:
        at = f"{status.last_synced_at:%H:%M:%S} UTC" if status.last_synced_at else "never"
        waiting = status.pending_changes or 0
        self._status.update(f"{status.state} · {waiting} waiting · last synced {at}")
        letters = await self.database.dead_letters.list(limit=5)
        self._refused.update("\n".join(f"Refused: {letter.refusal.message}" for letter in letters))
        self._refused.set_class(bool(letters), "any")

    @on(OptionList.OptionHighlighted, "#lists")
    def follow_chosen(self, event: OptionList.OptionHighlighted) -> None:
        self.follow(event.option_id)

    def follow(self, list_id: str | None) -> None:
        """Show the todos of another list from now on."""
        if self._todos_watch is not None:
            self._todos_watch.cancel()
        self._todos_watch = self.watch_query(TODOS, self.show_todos, [list_id])

    # -- what is done

    @on(OptionList.OptionSelected, "#todos")
    async def tick_off(self, event: OptionList.OptionSelected) -> None:
        await self.database.execute("UPDATE todos SET done = NOT done WHERE id = ?", [event.option_id])

    async def action_delete(self) -> None:
        if (todo := chosen(self._todos)) is not None:
            await self.database.execute("DELETE FROM todos WHERE id = ?", [todo])

    def action_ask(self, what: str) -> None:
        self._asking = what
        self._entry.placeholder = f"Name of the new {what}"
        self._entry.add_class("asked")
        self._entry.focus()

    def action_cancel(self) -> None:
        self._entry.clear()
        self._entry.remove_class("asked")
        (self._todos if self._asking == "todo" else self._lists).focus()

    @on(Input.Submitted)
    async def add(self, event: Input.Submitted) -> None:
        if self._asking == "list":
            await self.database.execute("INSERT INTO lists (id, name) VALUES (?, ?)", [new_id(), event.value])
        elif (todo_list := chosen(self._lists)) is not None:
            values = [new_id(), todo_list, event.value]
            await self.database.execute("INSERT INTO todos (id, list_id, title, done) VALUES (?, ?, ?, 0)", values)
        self.action_cancel()

    async def action_offline(self) -> None:
        """Stop sync, or begin it again. Reading and writing go on meanwhile."""
        self._is_offline = not self._is_offline
        if self._is_offline:
            await self.database.disconnect()
        else:
            await self.database.connect(self._connector)

    async def action_dismiss(self) -> None:
        await self.database.dead_letters.discard_all()
        await self.show_status(self.database.current_status)


def chosen(options: OptionList) -> str | None:
    """The id of the row that is highlighted."""
    return None if options.highlighted is None else options.get_option_at_index(options.highlighted).id


def fill(options: OptionList, lines: list[tuple[str, str]]) -> None:
    """Show rows, (id, text), and keep the highlight on the row that had it."""
    before = chosen(options)
    options.clear_options()
    options.add_options([Option(text, id=row_id) for row_id, text in lines])
    ids = [row_id for row_id, _ in lines]
    if ids:
        options.highlighted = ids.index(before) if before in ids else 0
