"""Copying many rows at once gives what deriving each of them gives: random buckets, both ways, compared after each apply."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncline.client.local import layout
from syncline.client.local.buckets import BucketStore
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.row_copy import COPY_ROWS_MIN, COPY_TYPES_MAX, copy_changed_rows
from syncline.client.local.row_writer import RowWriter
from syncline.client.schema import Column, Schema, Table
from syncline.protocol.lines import DataBatch, OplogEntry
from syncline.protocol.ops import OpType

SCHEMA = Schema([Table("a", [Column.text("v")]), Table("b", [Column.text("v")])])
BUCKETS = ["1#x[]", "1#y[]", "1#z[]"]
NEVER = 10**9


@dataclass(frozen=True)
class Put:
    """An operation of a bucket: a value, or None for a REMOVE. Its id is `gap` rounds above the last one of this bucket."""

    bucket: int
    kind: str
    row: int
    subkey: int
    value: int | None
    gap: int = 1


@dataclass(frozen=True)
class Apply:
    """Everything, or the buckets of these numbers alone."""

    buckets: tuple[int, ...] | None


@dataclass(frozen=True)
class LocalWrite:
    """A local write marks its row: the next full apply derives it again."""

    kind: str
    row: int


rows = st.integers(0, 5)
puts = st.builds(
    Put,
    st.integers(0, 2),
    st.sampled_from(["a", "b", "unknown"]),
    rows,
    st.integers(0, 1),
    st.none() | st.integers(0, 9),
    st.integers(1, 8),
)
applies = st.builds(Apply, st.none() | st.lists(st.integers(0, 2), unique=True, max_size=3).map(tuple))
writes = st.builds(LocalWrite, st.sampled_from(["a", "b"]), rows)


class Device:
    """One file in memory."""

    def __init__(self, *, copy_rows_min: int) -> None:
        self.connection = open_writer(":memory:")
        layout.prepare(self.connection, SCHEMA)
        self.store = BucketStore(self.connection)
        self.copy_rows_min = copy_rows_min
        self.rounds = [0] * len(BUCKETS)

    def put(self, put: Put) -> None:
        self.rounds[put.bucket] += put.gap
        op_id = self.rounds[put.bucket] * len(BUCKETS) + put.bucket  # no two buckets share an id
        entry = OplogEntry(
            str(op_id),
            OpType.REMOVE if put.value is None else OpType.PUT,
            0,
            put.kind,
            f"r{put.row}",
            f"s{put.subkey}",
            None if put.value is None else json.dumps({"v": put.value}),
        )
        with write_transaction(self.connection, local_writes=False):
            self.store.store(DataBatch(BUCKETS[put.bucket], [entry]), 1)

    def write(self, write: LocalWrite) -> None:
        with write_transaction(self.connection):
            self.connection.execute(
                f"INSERT OR REPLACE INTO {write.kind}(id, v) VALUES (?, 'mine')", (f"r{write.row}",)
            )

    def apply(self, apply: Apply) -> None:
        writer = RowWriter(self.connection, copy_rows_min=self.copy_rows_min)
        with write_transaction(self.connection, local_writes=False):
            if apply.buckets is None:
                writer.write_all()
                self.connection.execute("UPDATE ps_buckets SET last_applied_op = last_op")
                self.connection.execute("DELETE FROM ps_updated_rows")
                return
            names = json.dumps([BUCKETS[number] for number in apply.buckets])
            writer.write_buckets(names)
            self.connection.execute(
                "UPDATE ps_buckets SET last_applied_op = last_op WHERE name IN (SELECT value FROM json_each(?))",
                (names,),
            )

    def contents(self) -> dict[str, Any]:
        return {
            table: self.connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("ps_data__a", "ps_data__b", "ps_untyped")
        }


# One row in two buckets: the newest operation was applied before, and an older one arrives with a new bucket.
OLDER_ARRIVES_LATER: list[Put | Apply | LocalWrite] = [Put(0, "a", 0, 0, 1, gap=5), Apply(None), Put(1, "a", 0, 0, 2)]
# The same, where both arrive together and the older one is in the bucket that is read last.
OLDER_IS_READ_LAST: list[Put | Apply | LocalWrite] = [Put(0, "a", 0, 0, 1, gap=5), Put(1, "a", 0, 0, 2)]


@given(st.lists(puts | puts | applies | writes, max_size=25))
@example(OLDER_ARRIVES_LATER)
@example(OLDER_IS_READ_LAST)
@example([LocalWrite("a", 0), Put(0, "b", 0, 0, 1), Apply(None)])
def test_copied_rows_are_those_that_are_derived(steps: list[Put | Apply | LocalWrite]) -> None:
    copying, deriving = Device(copy_rows_min=1), Device(copy_rows_min=NEVER)
    for step in [*steps, Apply(None)]:
        for device in (copying, deriving):
            match step:
                case Put():
                    device.put(step)
                case Apply():
                    device.apply(step)
                case LocalWrite():
                    device.write(step)
        if isinstance(step, Apply):
            assert copying.contents() == deriving.contents()


def filled(kinds: int, operations: int) -> tuple[apsw.Connection, dict[str, str]]:
    """A file with so many operations, dealt out to so many types of rows, and the tables of the types."""
    names = [f"t{number}" for number in range(kinds)]
    connection = open_writer(":memory:")
    layout.prepare(connection, Schema([Table(name, [Column.text("v")]) for name in names]))
    entries = [
        OplogEntry(str(i), OpType.PUT, 0, names[i % kinds], f"r{i}", "s", '{"v":1}') for i in range(1, operations + 1)
    ]
    with write_transaction(connection, local_writes=False):
        BucketStore(connection).store(DataBatch(BUCKETS[0], entries), 1)
    return connection, {name: f'"ps_data__{name}"' for name in names}


@pytest.mark.parametrize(
    ("kinds", "operations", "copied"),
    [
        (1, COPY_ROWS_MIN, True),
        (1, COPY_ROWS_MIN - 1, False),
        (COPY_TYPES_MAX, COPY_ROWS_MIN, True),
        (COPY_TYPES_MAX + 1, COPY_ROWS_MIN, False),
    ],
)
def test_only_many_rows_of_few_tables_are_copied(kinds: int, operations: int, copied: bool) -> None:
    connection, tables = filled(kinds, operations)
    with write_transaction(connection, local_writes=False):
        left = copy_changed_rows(connection, tables, other=(), names=None, rows_min=COPY_ROWS_MIN)
    assert (left is not None) is copied
    count = sum(
        int(str(n))
        for table in tables.values()
        for (n,) in connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    )
    assert count == (operations if copied else 0)
    if left is not None:
        assert connection.execute(*left).fetchall() == []


def test_types_that_others_write_are_left() -> None:
    connection, tables = filled(2, COPY_ROWS_MIN)
    with write_transaction(connection, local_writes=False):
        left = copy_changed_rows(connection, tables, other={"t1"}, names=None, rows_min=COPY_ROWS_MIN)
    assert left is not None
    assert {kind for kind, _ in connection.execute(*left).fetchall()} == {"t1"}
