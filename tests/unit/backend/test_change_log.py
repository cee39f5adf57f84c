from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from syncline.backend.conflicts import (
    CHANGES_TABLE_SQL,
    NO_SUCH_ROW,
    Apply,
    ChangeLog,
    Delta,
    Keep,
    RecordConflicts,
    Reject,
    Transitions,
    VersionColumn,
)
from syncline.backend.persisters.base import Write, WriteContext
from syncline.protocol.crud import UpdateType

AT = datetime(2026, 1, 2, tzinfo=UTC)


def write(op: str = "PATCH", *, identified: bool = False, **data: Any) -> Write:
    context = WriteContext("ann", {}, "device", AT, identified=identified)
    return Write(UpdateType(op), "todos", "t1", data, None, 3, metadata="change 7", context=context)


def fields(records: tuple[Write, ...]) -> list[tuple[Any, ...]]:
    return [
        tuple(record.data[name] for name in ("field_name", "old_value", "new_value", "status", "error_code"))
        for record in records
    ]


def test_each_field_of_what_was_applied_is_an_entry() -> None:
    log = ChangeLog()
    arriving = write(title="new", done=1)
    assert set(log.needs(arriving)) == {"id", "title", "done"}
    decision = log.decide(arriving, {"id": "t1", "title": "old", "done": None})
    assert isinstance(decision, Apply)
    assert decision.write is arriving
    assert fields(decision.records) == [
        ("done", None, "1", "applied", None),
        ("title", '"old"', '"new"', "applied", None),
    ]
    entry = decision.records[0]
    assert (entry.table, entry.op, entry.only_new, entry.index) == ("field_changes", UpdateType.PUT, True, 3)
    assert (entry.data["change_id"], entry.data["user_id"], entry.data["client_id"]) == ("change 7", "ann", "device")
    assert set(entry.data) | {"id"} == {
        line.split()[0] for line in CHANGES_TABLE_SQL.splitlines() if line.startswith("  ")
    }


def test_a_conflict_fails_the_change_and_nothing_else() -> None:
    log = ChangeLog(VersionColumn("version"))
    decision = log.decide(write(title="mine", version=2), {"id": "t1", "title": "theirs", "version": 5})
    assert isinstance(decision, Keep)
    assert ("title", '"theirs"', '"mine"', "failed", "CONFLICT") in fields(decision.records)


def test_a_row_that_is_not_there_fails_a_change_and_a_deletion_is_one_entry() -> None:
    gone = ChangeLog().decide(write(title="x"), None)
    assert isinstance(gone, Keep)
    assert fields(gone.records) == [("title", None, '"x"', "failed", NO_SUCH_ROW)]
    deleted = ChangeLog().decide(write("DELETE"), {"id": "t1"})
    assert isinstance(deleted, Apply)
    assert fields(deleted.records) == [(None, None, None, "applied", None)]
    made = ChangeLog().decide(write("PUT", title="x"), None)
    assert isinstance(made, Apply)
    assert fields(made.records) == [("title", None, '"x"', "applied", None)]


def test_other_rejections_hold() -> None:
    states = Transitions("status", {"draft": {"sent"}}, first={"draft"})
    decision = ChangeLog(states).decide(write(status="paid"), {"id": "t1", "status": "draft"})
    assert isinstance(decision, Reject)


def test_what_a_strategy_makes_of_a_write_is_what_is_logged() -> None:
    arriving = replace(write(identified=True, quantity=7), previous_values={"quantity": 5})
    decision = ChangeLog(Delta("quantity")).decide(arriving, {"id": "t1", "quantity": 10})
    assert isinstance(decision, Apply)
    assert fields(decision.records) == [("quantity", "10", "12", "applied", None)]
    inner = RecordConflicts(VersionColumn("version"))
    kept = ChangeLog(inner).decide(write(title="a", version=2), {"id": "t1", "title": "b", "version": 9})
    assert isinstance(kept, Keep)
    assert [record.table for record in kept.records] == ["write_conflicts", "field_changes", "field_changes"]


def test_what_was_applied_can_be_left_out() -> None:
    log = ChangeLog(only_failed=True)
    applied = log.decide(write(title="new"), {"id": "t1", "title": "old"})
    assert isinstance(applied, Apply)
    assert applied.records == ()
    failed = log.decide(write(title="new"), None)
    assert isinstance(failed, Keep)
    assert len(failed.records) == 1


def test_a_repeat_names_its_entry_as_the_first_did_and_the_same_change_later_does_not() -> None:
    log, current = ChangeLog(), {"id": "t1", "title": "old"}

    def entry_id(one: Write) -> str:
        decision = log.decide(one, current)
        assert isinstance(decision, Apply)
        return decision.records[0].id

    first = write(title="new")
    later = replace(first, context=replace(first.context, received_at=datetime(2027, 1, 1, tzinfo=UTC)))
    assert entry_id(first) == entry_id(later)  # a client without ids: nobody can tell it from a repeat
    known = replace(first, context=replace(first.context, identified=True))
    known_later = replace(later, context=replace(later.context, identified=True))
    assert entry_id(known) != entry_id(known_later)
