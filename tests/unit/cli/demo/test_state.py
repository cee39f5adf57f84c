"""The document that the demo's page is told: what a device's rows, queue and status become."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from syncline.cli.demo.model import ALICE, NAMES
from syncline.cli.demo.state import (
    CHANGES_SHOWN_MAX,
    ROWS_SHOWN_MAX,
    ConflictShown,
    DeviceRows,
    DeviceState,
    ListShown,
    QueuedWrite,
    RejectionShown,
    TodoShown,
    conflicts_shown,
    device_state,
    lists_shown,
    queue_shown,
)
from syncline.client.core.status import FULL_SYNC_PRIORITY, PriorityStatus, SyncStatus
from syncline.client.errors import ClientError, ConnectionFailed

SYNCED = SyncStatus(
    connected=True,
    caught_up=True,
    has_synced=True,
    priorities=(PriorityStatus(FULL_SYNC_PRIORITY, datetime(2026, 3, 1, 12, tzinfo=UTC)),),
)


def rows(**changed: Any) -> DeviceRows:
    """What was read on an empty device, but for `changed`."""
    nothing = DeviceRows(lists=[], todos=[], rejections=[], conflicts=[], queue=[], row_count=0, queue_count=0)
    return msgspec.structs.replace(nothing, **changed)


def document(*, online: bool = True, status: SyncStatus = SYNCED, read: DeviceRows | None = None) -> DeviceState:
    return device_state(
        key="alice-phone",
        name="Alice's phone",
        user="Alice",
        online=online,
        status=status,
        rows=read or rows(),
        names=NAMES,
    )


def todo(number: int, *, list_id: str = "l1", completed: int | None = 0) -> dict[str, Any]:
    return {"id": f"t{number}", "list_id": list_id, "description": f"todo {number}", "completed": completed}


def crud(op: str, row_id: str, data: dict[str, Any] | None) -> str:
    return json.dumps({"op": op, "type": "todos", "id": row_id} | ({} if data is None else {"data": data}))


def test_a_synced_phone_says_so_and_when() -> None:
    shown = document()
    assert (shown.state, shown.last_synced_at, shown.error) == ("synced", "2026-03-01T12:00:00+00:00", None)
    assert json.loads(msgspec.json.encode(shown))["key"] == "alice-phone"


@pytest.mark.parametrize(
    ("status", "online", "state", "error"),
    [
        (SyncStatus(), False, "offline", None),
        (SyncStatus(connecting=True), True, "connecting", None),
        (SyncStatus(connected=True), True, "syncing", None),
        (SyncStatus(connected=True, caught_up=True, pending_changes=1), True, "syncing", None),
        (SyncStatus(download_error=ConnectionFailed("no service")), True, "offline", "no service"),
        (SyncStatus(connected=True, upload_error=ClientError("no", hint="do")), True, "error", "no"),
        # In airplane mode nobody wants to hear that there is no network.
        (SyncStatus(download_error=ConnectionFailed("no service")), False, "offline", None),
    ],
)
def test_the_state_is_the_client_s_own_word(status: SyncStatus, online: bool, state: str, error: str | None) -> None:
    shown = document(status=status, online=online)
    assert shown.state == state
    assert (error or "") in (shown.error or "")
    assert (shown.error is None) == (error is None)
    assert shown.last_synced_at is None


def test_todos_stand_below_their_lists_and_those_of_no_list_come_last() -> None:
    lists = [{"id": "l1", "name": "One", "owner_id": ALICE}, {"id": "l2", "name": None, "owner_id": None}]
    todos = [todo(1, completed=1), todo(2, list_id="elsewhere"), todo(3, completed=None)]
    assert lists_shown(lists, todos, NAMES) == [
        ListShown("l1", "One", "Alice", [TodoShown("t1", "todo 1", True), TodoShown("t3", "todo 3", False)]),
        ListShown("l2", "", None, []),
        ListShown(None, "Of a list that is not here", None, [TodoShown("t2", "todo 2", False)]),
    ]


def test_a_long_table_is_cut_and_counted() -> None:
    lists = [{"id": f"l{number}", "name": "", "owner_id": None} for number in range(ROWS_SHOWN_MAX + 1)]
    todos = [todo(number) for number in range(ROWS_SHOWN_MAX + 1)]
    shown = document(read=rows(lists=lists, todos=todos, row_count=2 * len(lists)))
    assert len(shown.lists) == ROWS_SHOWN_MAX
    assert sum(len(each.todos) for each in shown.lists) == ROWS_SHOWN_MAX
    assert shown.row_count == 2 * ROWS_SHOWN_MAX + 2


def test_the_queue_names_each_write_in_order() -> None:
    queue = [
        (4, 2, crud("PUT", "t1", {"description": "x"})),
        (5, 2, crud("PATCH", "t1", {"completed": 1})),
        (6, None, crud("DELETE", "t1", None)),
    ]
    assert queue_shown(queue) == [
        QueuedWrite(4, 2, "PUT", "todos", {"description": "x"}),
        QueuedWrite(5, 2, "PATCH", "todos", {"completed": 1}),
        QueuedWrite(6, None, "DELETE", "todos", {}),
    ]


def test_of_a_long_queue_the_oldest_writes_are_shown() -> None:
    queue = [(number, 1, crud("PATCH", "t1", {"completed": 1})) for number in range(CHANGES_SHOWN_MAX + 1)]
    shown = document(read=rows(queue=queue, queue_count=len(queue)))
    assert [entry.id for entry in shown.queue] == list(range(CHANGES_SHOWN_MAX))
    assert shown.queue_count == CHANGES_SHOWN_MAX + 1


def test_rejections_and_conflicts_are_told_without_their_json() -> None:
    operations = json.dumps(
        [{"op": "PUT", "table": "lists", "id": "l1"}, {"op": "DELETE", "table": "todos", "id": "t1"}]
    )
    rejection = {"id": "r1", "code": "CHECK_VIOLATION", "message": "no", "operations": operations}
    conflict = {"id": "c1", "client_data": '{"description": "mine"}', "server_data": '{"description": "theirs"}'}
    shown = document(read=rows(rejections=[rejection], conflicts=[conflict]))
    assert shown.rejections == [RejectionShown("r1", "CHECK_VIOLATION", "no", ["PUT lists", "DELETE todos"])]
    assert shown.conflicts == [ConflictShown("c1", "mine", "theirs")]


def test_a_conflict_over_another_column_is_shown_as_it_was_recorded() -> None:
    row = {"id": "c1", "client_data": '{"completed": 1}', "server_data": '{"completed": 0}'}
    assert conflicts_shown([row]) == [ConflictShown("c1", '{"completed": 1}', '{"completed": 0}')]
    assert len(conflicts_shown([row] * (CHANGES_SHOWN_MAX + 1))) == CHANGES_SHOWN_MAX
