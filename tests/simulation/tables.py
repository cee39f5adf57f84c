"""What is synced in the simulation, to whom, and an oracle that knows it without any code of the product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncline.client import Column, Schema, Table
from syncline.testing.memory_source import SourceTransaction

__all__ = ["LEVELS", "ROOMS", "SCHEMA", "SYNC_CONFIG", "TEAMS", "History", "Rows", "Snapshot"]

SYNC_CONFIG = """
config:
  edition: 3
streams:
  alerts:  {auto_subscribe: true, priority: 0, query: "SELECT * FROM alerts"}
  tickers: {auto_subscribe: true, priority: 1, query: "SELECT * FROM tickers"}
  notes:   {auto_subscribe: true, query: "SELECT * FROM notes WHERE owner = auth.user_id()"}
  members: {auto_subscribe: true, query: "SELECT * FROM members WHERE user = auth.user_id()"}
  tasks:
    auto_subscribe: true
    query: "SELECT * FROM tasks WHERE team IN (SELECT team FROM members WHERE user = auth.user_id())"
  messages: {query: "SELECT * FROM messages WHERE room = subscription.parameter('room')"}
"""

SCHEMA = Schema(
    [
        Table("alerts", [Column.text("text"), Column.integer("n")]),
        Table("tickers", [Column.integer("n")]),
        Table("notes", [Column.text("owner"), Column.text("text"), Column.integer("n"), Column.real("r")]),
        Table("members", [Column.text("user"), Column.text("team")]),
        Table("tasks", [Column.text("team"), Column.text("text"), Column.integer("n")]),
        Table("messages", [Column.text("room"), Column.text("text")]),
        Table("journal", [Column.text("tag")], insert_only=True),
    ]
)

LEVELS = (("alerts",), ("tickers",), ("notes", "members", "tasks"))
"""Tables by priority, the most urgent first; those of one level appear together. `messages`, by room, belong to the last."""
TEAMS = ("red", "green", "blue")
ROOMS = ("lobby", "kitchen", "attic")

Rows = dict[str, tuple[object, ...]]
Snapshot = dict[str, Rows]
_COLUMNS = {table.name: tuple(column.name for column in table.columns) for table in SCHEMA.tables}


@dataclass(slots=True)
class _View:
    position: int
    tables: Snapshot


class History:
    """Every state that the source ever had, and what of it a user may see."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = [{table: {} for table in _COLUMNS}]
        self._views: dict[tuple[int, str], Snapshot] = {}

    def note(self, transaction: SourceTransaction) -> None:
        """The source has committed."""
        assert transaction.position == len(self.snapshots)
        tables = dict(self.snapshots[-1])
        for change in transaction.changes:
            rows = tables[change.table] = dict(tables[change.table])
            if change.row is None:
                rows.pop(change.row_id, None)
            else:
                rows[change.row_id] = tuple(change.row[name] for name in _COLUMNS[change.table])
        self.snapshots.append(tables)

    @property
    def head(self) -> int:
        """The newest position."""
        return len(self.snapshots) - 1

    def seen_by(self, user: str, position: int) -> Snapshot:
        """What a user may see at a position, messages of all rooms included."""
        view = self._views.get((position, user))
        if view is None:
            view = self._views[position, user] = _seen_by(user, self.snapshots[position])
        return view


def _seen_by(user: str, tables: Mapping[str, Rows]) -> Snapshot:
    members = {key: row for key, row in tables["members"].items() if row[0] == user}
    teams = {row[1] for row in members.values()}
    return {
        "alerts": tables["alerts"],
        "tickers": tables["tickers"],
        "notes": {key: row for key, row in tables["notes"].items() if row[0] == user},
        "members": members,
        "tasks": {key: row for key, row in tables["tasks"].items() if row[0] in teams},
        "messages": tables["messages"],
    }
