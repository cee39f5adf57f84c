from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncline.backend.conflicts import (
    CLOCK_SKEW_S_MAX,
    CONFLICT,
    IDENTITY_REQUIRED,
    Apply,
    BusinessRules,
    ConflictStrategy,
    CurrentRow,
    Decision,
    Delta,
    InOrder,
    Keep,
    LastWriteWins,
    MergeValues,
    OnStale,
    RecordConflicts,
    Reject,
    ThreeWay,
    Transitions,
    VersionColumn,
    merge_set,
    merge_text,
)
from syncline.backend.conflicts.values import moment, number, same_value, whole_number
from syncline.backend.persisters.base import Write, WriteContext
from syncline.backend.persisters.postgres.times import timestamp_text
from syncline.protocol.crud import UpdateType

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
CONTEXT = WriteContext("ann", {}, "phone", NOW, identified=True)


def write(op: str = "PATCH", previous: dict[str, Any] | None = None, **data: Any) -> Write:
    return Write(UpdateType(op), "todos", "t1", data, None, 0, previous_values=previous, context=CONTEXT)


def applied(decision: Decision) -> dict[str, Any]:
    assert isinstance(decision, Apply), decision
    return dict(decision.write.data)


def code(decision: Decision) -> str:
    assert isinstance(decision, Reject), decision
    return decision.code


@pytest.mark.requirement(157)
def test_by_default_the_last_write_wins_without_a_look_at_the_row() -> None:
    strategy = LastWriteWins()
    entry = write(name="x")
    assert not strategy.needs(entry)
    assert strategy.decide(entry, None) == Apply(entry)


class TestVersionColumn:
    counted = VersionColumn("version")
    read = VersionColumn("version", counted_by_device=False)

    def test_edits_of_one_device_follow_each_other(self) -> None:
        first, second = write(name="a", version=4), write(name="b", version=5)
        assert applied(self.counted.decide(first, {"version": 3, "name": "x"})) == {"name": "a", "version": 4}
        assert applied(self.counted.decide(second, {"version": 4, "name": "a"})) == {"name": "b", "version": 5}

    def test_a_write_on_an_older_version_is_a_conflict(self) -> None:
        decision = self.counted.decide(write(name="mine", version=4), {"version": 4, "name": "theirs"})
        assert code(decision) == CONFLICT
        assert isinstance(decision, Reject)
        assert decision.details == {"columns": ["version"]}
        assert code(self.read.decide(write(name="mine", version=3), {"version": 4, "name": "theirs"})) == CONFLICT
        assert code(self.read.decide(write(previous={"version": 3}, name="m"), {"version": 4, "name": "t"})) == CONFLICT

    def test_a_version_from_the_future_is_a_conflict(self) -> None:
        assert code(self.counted.decide(write(name="mine", version=9), {"version": 4, "name": "theirs"})) == CONFLICT

    def test_the_server_counts_where_the_device_does_not(self) -> None:
        assert applied(self.read.decide(write(name="a", version=3), {"version": 3, "name": "x"}))["version"] == 4
        assert applied(self.read.decide(write("PATCH", {"version": 3}, name="a"), {"version": 3}))["version"] == 4

    def test_a_write_that_arrives_again_is_no_conflict(self) -> None:
        assert self.counted.decide(write(name="a", version=4), {"version": 4, "name": "a"}) == Keep()
        assert self.counted.decide(write("PUT", name="a", version=1), {"version": 1, "name": "a"}) == Keep()
        assert self.read.decide(write(name="a", version=3), {"version": 4, "name": "a"}) == Keep()

    def test_a_change_without_a_version_is_refused(self) -> None:
        decision = self.counted.decide(write(name="a"), {"version": 4})
        assert code(decision) == "VALIDATION_ERROR"
        assert isinstance(decision, Reject)
        assert decision.details == [{"field": "version", "rule": "missing"}]

    def test_a_new_row_has_the_first_version(self) -> None:
        assert applied(self.counted.decide(write("PUT", name="a"), None)) == {"name": "a", "version": 1}
        assert applied(self.counted.decide(write("PUT", version=3), None)) == {"version": 3}
        assert applied(self.read.decide(write("PUT", version=3), None)) == {"version": 1}
        assert applied(self.read.decide(write(name="a"), None)) == {"name": "a"}  # a PATCH of no row has no effect

    def test_a_delete_is_judged_where_it_says_what_it_read(self) -> None:
        assert isinstance(self.counted.decide(write("DELETE"), {"version": 4}), Apply)
        assert isinstance(self.counted.decide(write("DELETE", {"version": 4}), {"version": 4}), Apply)
        assert code(self.counted.decide(write("DELETE", {"version": 3}), {"version": 4})) == CONFLICT


class TestOnStale:
    strategy = OnStale("modified_at")

    def test_a_write_older_than_the_row_is_a_conflict(self) -> None:
        current = {"modified_at": "2026-01-02T10:00:00.000001Z"}
        assert code(self.strategy.decide(write(modified_at="2026-01-02 10:00:00Z"), current)) == CONFLICT
        assert applied(self.strategy.decide(write(modified_at="2026-01-02 10:00:01Z"), current)) == {
            "modified_at": "2026-01-02T10:00:01+00:00"
        }

    def test_what_the_device_read_counts_more_than_its_clock(self) -> None:
        current = {"modified_at": "2026-01-02T10:00:00Z"}
        later = {"modified_at": "2026-01-02T11:00:00Z"}
        stale = write("PATCH", {"modified_at": "2026-01-02T09:00:00Z"}, **later)
        assert code(self.strategy.decide(stale, current)) == CONFLICT
        assert applied(self.strategy.decide(write("PATCH", current, **later), current))
        assert applied(self.strategy.decide(stale, later))  # a repeat: the row has this very time

    def test_a_clock_that_is_ahead_wins_nothing_and_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "syncline.backend"):
            for ahead_s in (CLOCK_SKEW_S_MAX, CLOCK_SKEW_S_MAX + 1):
                sent = write(modified_at=(NOW + timedelta(seconds=ahead_s)).isoformat())
                assert applied(self.strategy.decide(sent, {"modified_at": None}))["modified_at"] == NOW.isoformat()
        assert [getattr(record, "event", "") for record in caplog.records] == ["backend.clock_skew"]

    def test_a_write_without_a_time_is_refused_and_a_delete_wins(self) -> None:
        current = {"modified_at": "2026-01-02T10:00:00Z"}
        assert code(self.strategy.decide(write(name="a"), current)) == "VALIDATION_ERROR"
        assert code(self.strategy.decide(write(modified_at="soon"), current)) == "VALIDATION_ERROR"
        assert isinstance(self.strategy.decide(write("DELETE"), current), Apply)
        stale = write("DELETE", {"modified_at": "2026-01-02T09:00:00Z"})
        assert code(self.strategy.decide(stale, current)) == CONFLICT

    def test_times_of_a_new_row_are_taken(self) -> None:
        assert applied(self.strategy.decide(write("PUT", modified_at=1767340800), None)) == {
            "modified_at": "2026-01-02T08:00:00+00:00"
        }


class TestDelta:
    strategy = Delta("quantity", "price")

    @pytest.mark.parametrize(
        ("previous", "new", "current", "expected"),
        [
            (10, 7, 9, 6),
            ("1.10", "1.25", "2.00", "2.15"),
            (None, 3, None, 3),
            (2.0, 5, 4, 7),
            (0.1, 0.3, "0.10", "0.30"),
            (5, None, 9, None),
            (2**60, 2**60 + 1, 1, 2),
        ],
    )
    def test_what_the_device_added_is_added(self, previous: Any, new: Any, current: Any, expected: Any) -> None:
        entry = write("PATCH", {"quantity": previous}, quantity=new, name="x")
        assert applied(self.strategy.decide(entry, {"quantity": current})) == {"quantity": expected, "name": "x"}

    def test_it_must_not_count_twice(self) -> None:
        """Official SDKs send no ids: after a lost answer their repeat would be added again."""
        entry = replace(write("PATCH", {"quantity": 1}, quantity=2), context=WriteContext("ann"))
        assert code(self.strategy.decide(entry, {"quantity": 5})) == IDENTITY_REQUIRED

    def test_without_a_previous_number_nothing_is_added(self) -> None:
        assert code(self.strategy.decide(write(quantity=2), {"quantity": 5})) == "VALIDATION_ERROR"
        assert code(self.strategy.decide(write("PATCH", {"price": 1}, price="many"), {"price": 5})) == "INVALID_DATA"
        assert code(self.strategy.decide(write("PATCH", {"price": 1}, price="NaN"), {"price": 5})) == "INVALID_DATA"

    def test_other_columns_and_new_rows_are_set(self) -> None:
        assert not self.strategy.needs(write(name="x"))
        assert not self.strategy.needs(write("PUT", quantity=1))
        assert applied(self.strategy.decide(write(quantity=1), None)) == {"quantity": 1}


class TestThreeWay:
    strategy = ThreeWay({"body": merge_text, "tags": merge_set})

    def test_a_column_that_one_side_changed_takes_that_side(self) -> None:
        entry = write("PATCH", {"body": "a", "title": "t"}, body="mine", title="t")
        current = {"body": "a", "title": "theirs"}
        assert applied(self.strategy.decide(entry, current)) == {"body": "mine", "title": "theirs"}

    def test_a_column_that_both_changed_is_merged(self) -> None:
        entry = write("PATCH", {"body": "1\n2\n3\n", "tags": "[1]"}, body="0\n2\n3\n", tags="[1, 2]")
        current = {"body": "1\n2\n4\n", "tags": "[3]"}
        assert applied(self.strategy.decide(entry, current)) == {"body": "0\n2\n4\n", "tags": "[3, 2]"}

    @pytest.mark.parametrize(
        ("previous", "mine", "theirs"),
        [({"title": "a"}, "b", "c"), ({}, "b", "c"), (None, "b", "c"), ({"body": "a"}, "b", "c"), ({"body": "a"}, None, "c")],
    )  # fmt: skip
    def test_what_cannot_be_merged_is_a_conflict_or_the_devices(
        self, previous: dict[str, Any] | None, mine: str | None, theirs: str
    ) -> None:
        name = next(iter(previous or {"title": ""}))
        entry = write("PATCH", previous, **{name: mine})
        decision = self.strategy.decide(entry, {name: theirs})
        assert decision == Reject(
            CONFLICT, "The row of todos has changed since this write was made.", {"columns": [name]}
        )
        mine_wins = replace(self.strategy, otherwise="apply")
        assert applied(mine_wins.decide(entry, {name: theirs})) == {name: mine}

    def test_a_write_that_arrives_again_changes_nothing(self) -> None:
        entry = write("PATCH", {"body": "1\n2\n3\n"}, body="0\n2\n3\n")
        merged = applied(self.strategy.decide(entry, {"body": "1\n2\n4\n"}))
        assert applied(self.strategy.decide(entry, merged)) == merged


def test_states_move_by_allowed_steps_only() -> None:
    strategy = Transitions("status", {"draft": {"sent"}, "sent": {"paid"}}, first={"draft"})
    assert applied(strategy.decide(write(status="sent"), {"status": "draft"}))
    assert applied(strategy.decide(write(status="sent"), {"status": "sent"}))
    assert code(strategy.decide(write(status="paid"), {"status": "draft"})) == "VALIDATION_ERROR"
    assert code(strategy.decide(write(status="draft"), {"status": "paid"})) == "VALIDATION_ERROR"
    assert applied(strategy.decide(write("PUT", status="draft"), None))
    assert code(strategy.decide(write("PUT", status="paid"), None)) == "VALIDATION_ERROR"
    assert not strategy.needs(write(name="x"))
    assert isinstance(strategy.decide(write("DELETE"), None), Apply)


def test_business_rules_see_the_row_and_the_first_refusal_counts() -> None:
    def locked(_: Write, current: CurrentRow | None) -> Reject | None:
        return Reject("LOCKED", "closed") if current is not None and current["closed"] else None

    def never(entry: Write, _: CurrentRow | None) -> Reject | None:
        return Reject("NEVER", "never") if "never" in entry.data else None

    rules = BusinessRules(locked, never, columns=["closed"])
    assert rules.needs(write()) == ("closed",)
    assert code(rules.decide(write(never=1), {"closed": 1})) == "LOCKED"
    assert code(rules.decide(write(never=1), {"closed": 0})) == "NEVER"
    assert applied(rules.decide(write(name="x"), None)) == {"name": "x"}


def test_strategies_in_order_judge_what_the_one_before_made() -> None:
    transitions = Transitions("status", {"draft": {"sent"}}, first={"draft"})
    strategy = InOrder(transitions, VersionColumn("version"), Delta("quantity"))
    entry = write("PATCH", {"quantity": 1}, status="sent", version=2, quantity=3)
    assert set(strategy.needs(entry)) == {"status", "version", "quantity"}
    current = {"status": "draft", "version": 1, "quantity": 10}
    assert applied(strategy.decide(entry, current)) == {"status": "sent", "version": 2, "quantity": 12}
    assert code(strategy.decide(entry, {**current, "version": 7})) == CONFLICT
    assert code(strategy.decide(entry, {**current, "status": "other"})) == "VALIDATION_ERROR"
    assert strategy.decide(entry, {"status": "sent", "version": 2, "quantity": 3}) == Keep()


def test_a_conflict_becomes_a_record_and_the_row_stays() -> None:
    strategy = RecordConflicts(VersionColumn("version"))
    entry = write(name="mine", version=2)
    assert set(strategy.needs(entry)) == {"name", "version"}
    decision = strategy.decide(entry, {"name": "theirs", "version": 5})
    assert isinstance(decision, Keep)
    [record] = decision.records
    assert (record.table, record.op, record.only_new, record.owner) == ("write_conflicts", UpdateType.PUT, True, None)
    assert record.data == {
        "user_id": "ann",
        "table_name": "todos",
        "row_id": "t1",
        "conflict_type": "patch",
        "client_data": '{"name": "mine", "version": 2}',
        "server_data": '{"name": "theirs", "version": 5}',
        "resolved": False,
        "created_at": NOW.isoformat(),
    }
    assert strategy.decide(entry, {"name": "theirs", "version": 5}) == decision  # the same id: no second record
    other = strategy.decide(write(name="more", version=2), {"name": "theirs", "version": 5})
    assert isinstance(other, Keep)
    assert other.records[0].id != record.id


def test_only_conflicts_are_recorded() -> None:
    strategy = RecordConflicts(VersionColumn("version"))
    assert code(strategy.decide(write(name="a"), {"version": 1})) == "VALIDATION_ERROR"
    assert applied(strategy.decide(write(name="a", version=2), {"version": 1})) == {"name": "a", "version": 2}


def test_a_chain_carries_records_along() -> None:
    strategy = InOrder(RecordConflicts(VersionColumn("version")), LastWriteWins())
    decision = strategy.decide(write(name="a", version=1), {"version": 5, "name": "b"})
    assert isinstance(decision, Keep)
    assert len(decision.records) == 1


def maximum_of_each(stored: str, arriving: str) -> str:
    """The smallest CRDT: a counter with a number for each device, of which the largest known one counts."""
    counts: dict[str, int] = {}
    for text in (stored, arriving):
        for part in text.split():
            device, _, count = part.partition("=")
            counts[device] = max(counts.get(device, 0), int(count))
    return " ".join(f"{device}={count}" for device, count in sorted(counts.items()))


def test_payloads_that_merge_themselves_arrive_in_any_order_and_any_number_of_times() -> None:
    strategy = MergeValues({"counts": maximum_of_each})
    arriving = ["a=1", "b=2", "a=3 b=1", "a=3 b=1"]
    for order in (arriving, arriving[::-1], arriving * 2):
        current: dict[str, Any] = {"counts": None}
        for text in order:
            current = applied(strategy.decide(write(counts=text), current))
        assert current == {"counts": "a=3 b=2"}
    assert applied(strategy.decide(write(counts=None), {"counts": "a=1"})) == {"counts": "a=1"}
    assert code(strategy.decide(write(counts="garbage"), {"counts": "a=1"})) == "INVALID_DATA"
    assert applied(strategy.decide(write("PUT", counts="a=1"), None)) == {"counts": "a=1"}
    assert not strategy.needs(write("DELETE"))


class FirstBidWins:
    """The strategy of the package's own description."""

    def needs(self, write: Write) -> list[str]:
        del write
        return ["bidder"]

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        if current is not None and current["bidder"] is not None:
            return Reject("ALREADY_TAKEN", "Somebody was faster.")
        return Apply(write)


def test_a_strategy_of_ones_own_needs_two_functions() -> None:
    strategy: ConflictStrategy = FirstBidWins()
    assert code(strategy.decide(write(bidder="ann"), {"bidder": "bob"})) == "ALREADY_TAKEN"
    assert applied(strategy.decide(write(bidder="ann"), {"bidder": None})) == {"bidder": "ann"}


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [(1, 1.0, True), (1, "1", True), (True, 1, True), (None, 0, False), (None, None, True), ("a", "b", False), (1.5, "1.5", True),
     ("1.10", 1.1, True), ("1.0", "1.00", False), ("2026-01-02 12:00:00Z", "2026-01-02T12:00:00.000000Z", True),
     ("2026-01-02 12:00:00Z", "2026-01-02 12:00:01Z", False), (1767355200, "2026-01-02T12:00:00Z", True),
     ('{"a":1,"b":[2]}', '{"b": [2], "a": 1}', True), ('{"a":1}', '{"a":true}', False), ("[1", "[1,", False),
     ("[" * 9999, "[" * 9998, False), ("20260102", "2026-01-02", False), ("a:b", "b:a", False)],
)  # fmt: skip
def test_values_are_compared_by_what_they_mean(left: Any, right: Any, same: bool) -> None:
    assert same_value(left, right) is same


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02 12:00:00.000Z", NOW),
        ("2026-01-02T14:00:00+02:00", NOW),
        ("2026-01-02T12:00:00", NOW),
        (1767355200, NOW),
        (1767355200000, NOW),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("yesterday", None),
        (True, None),
        (None, None),
        (10**30, None),
        (float("nan"), None),
    ],
)
def test_times_in_every_form_that_arrives(value: Any, expected: datetime | None) -> None:
    assert moment(value) == expected


def test_numbers_are_exact_or_none() -> None:
    assert whole_number("9007199254740993") == 9007199254740993
    assert [whole_number(value) for value in (7.0, 7.5, "x", None, True)] == [7, None, None, None, None]
    assert number(float("inf")) is None


def test_a_number_is_the_same_time_to_strategies_and_to_the_persister() -> None:
    for value in (0, 1_700_000_000, 9_999_999_999, 10_000_000_000, 1_700_000_000_500, -9_999_999_999, -10_000_000_000):
        assert moment(value) == datetime.fromisoformat(timestamp_text(value, zoned=True))
