"""What the web page is told: one JSON document with every device and Postgres. PURE: rows and a status in, the document out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from syncline.client.core.status import SyncStatus
from syncline.client.crud import CrudEntry

__all__ = [
    "CHANGES_SHOWN_MAX",
    "ROWS_SHOWN_MAX",
    "ConflictShown",
    "DemoState",
    "DeviceRows",
    "DeviceState",
    "LetterShown",
    "ListShown",
    "PostgresState",
    "QueuedWrite",
    "RejectionShown",
    "TodoShown",
    "WebSdkState",
    "conflicts_shown",
    "device_state",
    "lists_shown",
    "queue_shown",
]

ROWS_SHOWN_MAX = 200  # rows of a table in the document; the page says how many there are
CHANGES_SHOWN_MAX = 50  # queued writes, rejections, conflicts, dead letters of one panel


class TodoShown(msgspec.Struct, frozen=True):
    """A todo."""

    id: str
    description: str
    completed: bool


class ListShown(msgspec.Struct, frozen=True):
    """A list with its todos. `id` None: todos whose list is not here. `owner` is a first name, where somebody knows it."""

    id: str | None
    name: str
    owner: str | None
    todos: list[TodoShown]


class QueuedWrite(msgspec.Struct, frozen=True):
    """A local write that the backend has not confirmed yet: its crud id, its local transaction, and what it does."""

    id: int
    transaction_id: int | None
    op: str
    table: str
    values: dict[str, Any]


class RejectionShown(msgspec.Struct, frozen=True):
    """A refused transaction, as the device was told by sync."""

    id: str
    code: str
    message: str
    operations: list[str]


class ConflictShown(msgspec.Struct, frozen=True):
    """A text that two devices have changed: what this user wrote, and what stands in Postgres."""

    id: str
    mine: str
    theirs: str


class LetterShown(msgspec.Struct, frozen=True):
    """A dead letter of the backend."""

    id: str
    user: str
    code: str
    message: str
    operations: list[str]


class DeviceState(msgspec.Struct, frozen=True):
    """One phone. `state` is the client's own word (`SyncState`); `last_synced_at` is ISO text in UTC; counts are of all, shown or not."""

    key: str
    name: str
    user: str
    online: bool
    state: str
    last_synced_at: str | None
    error: str | None
    lists: list[ListShown]
    row_count: int
    queue: list[QueuedWrite]
    queue_count: int
    rejections: list[RejectionShown]
    conflicts: list[ConflictShown]


class PostgresState(msgspec.Struct, frozen=True):
    """What the source holds, and the backend's open dead letters."""

    lists: list[ListShown]
    row_count: int
    letters: list[LetterShown]


class WebSdkState(msgspec.Struct, frozen=True):
    """Whether the official web SDK can be served: `absent`, `fetching`, `ready`, or `failed`, and why."""

    state: str
    message: str


class DemoState(msgspec.Struct, frozen=True):
    """The whole page. `number` grows with each document of a run."""

    number: int
    devices: list[DeviceState]
    postgres: PostgresState
    web_sdk: WebSdkState


class DeviceRows(msgspec.Struct, frozen=True):
    """What was read on a device, in one read transaction: rows of its tables, and rows (id, tx_id, data) of its queue."""

    lists: list[Mapping[str, Any]]
    todos: list[Mapping[str, Any]]
    rejections: list[Mapping[str, Any]]
    conflicts: list[Mapping[str, Any]]
    queue: list[tuple[int, int | None, str]]
    row_count: int
    queue_count: int


def device_state(
    *, key: str, name: str, user: str, online: bool, status: SyncStatus, rows: DeviceRows, names: Mapping[str, str]
) -> DeviceState:
    """The document of one device; `names` are first names by user id."""
    error = status.error
    synced = status.last_synced_at
    return DeviceState(
        key=key,
        name=name,
        user=user,
        online=online,
        state=str(status.state),
        last_synced_at=None if synced is None else synced.isoformat(),
        error=None if error is None or not online else str(error),
        lists=lists_shown(rows.lists, rows.todos, names),
        row_count=rows.row_count,
        queue=queue_shown(rows.queue),
        queue_count=rows.queue_count,
        rejections=[
            RejectionShown(row["id"], row["code"], row["message"], operations_of(row["operations"]))
            for row in rows.rejections[:CHANGES_SHOWN_MAX]
        ],
        conflicts=conflicts_shown(rows.conflicts),
    )


def lists_shown(
    lists: Sequence[Mapping[str, Any]], todos: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> list[ListShown]:
    """Lists with their todos, in the order given; todos of no known list come last, under a heading of their own."""
    below: dict[str, list[TodoShown]] = {}
    for row in todos[:ROWS_SHOWN_MAX]:
        todo = TodoShown(row["id"], row["description"] or "", bool(row["completed"]))
        below.setdefault(row["list_id"], []).append(todo)
    shown = [
        ListShown(
            row["id"],
            row["name"] or "",
            names.get(row["owner_id"]) if row["owner_id"] else None,
            below.pop(row["id"], []),
        )
        for row in lists[:ROWS_SHOWN_MAX]
    ]
    if orphans := [todo for each in below.values() for todo in each]:
        shown.append(ListShown(None, "Of a list that is not here", None, orphans))
    return shown


def queue_shown(queue: Iterable[tuple[int, int | None, str]]) -> list[QueuedWrite]:
    """The oldest CHANGES_SHOWN_MAX writes of a queue."""
    shown: list[QueuedWrite] = []
    for crud_id, transaction_id, data in queue:
        if len(shown) == CHANGES_SHOWN_MAX:
            break
        entry = CrudEntry.from_row(crud_id, transaction_id, data)
        shown.append(QueuedWrite(crud_id, transaction_id, str(entry.op), entry.table, entry.op_data or {}))
    return shown


def conflicts_shown(rows: Sequence[Mapping[str, Any]]) -> list[ConflictShown]:
    """Recorded conflicts; the texts stand in JSON objects by column."""
    return [
        ConflictShown(row["id"], _text_of(row["client_data"]), _text_of(row["server_data"]))
        for row in rows[:CHANGES_SHOWN_MAX]
    ]


def operations_of(text: str) -> list[str]:
    """A JSON list of operations as lines: `PUT todos`."""
    return [f"{operation['op']} {operation['table']}" for operation in msgspec.json.decode(text)]


def _text_of(data: str) -> str:
    values: dict[str, Any] = msgspec.json.decode(data)
    return str(values.get("description", data))
