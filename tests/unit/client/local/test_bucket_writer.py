"""The short way of a line of PUTs gives what the long way gives, and operations that wait give what others give."""

from __future__ import annotations

import json
from contextlib import ExitStack, nullcontext
from typing import Any

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncline.client.local import bucket_writer, layout
from syncline.client.local.buckets import BucketStore
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.schema import Schema
from syncline.protocol.lines import DataBatch, OplogEntry
from syncline.protocol.ops import OpType

entries = st.tuples(
    st.sampled_from([OpType.PUT] * 6 + [OpType.REMOVE, OpType.MOVE, OpType.CLEAR]),
    st.none() | st.integers(0, 4),
    st.none() | st.sampled_from(["s1", "s2", "null"]),
    st.integers(-(2**31), 2**32 - 1) | st.integers(-(2**31), 2**32 - 1).map(float),
)
lines = st.lists(st.lists(entries, min_size=1, max_size=5), max_size=5)


def stored(batches: list[list[Any]], *, fast: bool = True, together: bool = False) -> dict[str, Any]:
    """What is in the file after these lines: of two buckets in turns, each line in a transaction of its own, or all together in one."""
    connection = open_writer(":memory:")
    layout.prepare(connection, Schema([]))
    store = BucketStore(connection)
    kept = bucket_writer._rows_of_puts
    if not fast:
        bucket_writer._rows_of_puts = lambda bucket, entries: None
    op_id = 0
    whole = ExitStack()
    try:
        if together:
            whole.enter_context(write_transaction(connection, local_writes=False))
            whole.enter_context(store.gathering())
        for number, batch in enumerate(batches):
            made: list[OplogEntry] = []
            for op, row, subkey, checksum in batch:
                op_id += 1
                kind = None if row is None else "t"
                data = json.dumps({"n": op_id}) if op is OpType.PUT else None
                made.append(
                    OplogEntry(str(op_id), op, checksum, kind, None if row is None else f"r{row}", subkey, data)
                )
            with nullcontext() if together else write_transaction(connection, local_writes=False):
                store.store(DataBatch(f"{number % 2}#a[]", made), 10)
        whole.close()
    finally:
        bucket_writer._rows_of_puts = kept
    return {
        table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("ps_buckets", "ps_oplog", "ps_updated_rows")
    }


@given(lines)
@example([[(OpType.PUT, 0, None, 5), (OpType.PUT, 0, "null", 6)]])  # two ways to write the same key
def test_lines_of_puts_are_stored_as_any_other_line(batches: list[list[Any]]) -> None:
    assert stored(batches, fast=True) == stored(batches, fast=False)


@given(lines)
@example(
    [
        [(OpType.PUT, 0, None, 5)],
        [(OpType.PUT, 0, None, 6)],
        [(OpType.REMOVE, 0, None, 7)],
        [(OpType.CLEAR, None, None, 8)],
    ]
)
def test_lines_that_are_gathered_are_stored_as_those_that_are_not(batches: list[list[Any]]) -> None:
    assert stored(batches, together=True) == stored(batches)


def put(number: int, *, data: str = "{}") -> OplogEntry:
    return OplogEntry(str(number), OpType.PUT, number, "t", f"row {-number:04}", "s", data)


def row_ids(connection: apsw.Connection) -> list[str]:
    return [str(row_id) for (row_id,) in connection.execute("SELECT row_id FROM ps_oplog ORDER BY rowid")]


@pytest.fixture
def store(connection: apsw.Connection) -> BucketStore:
    return BucketStore(connection)


def test_gathered_operations_lie_in_the_order_of_their_keys(connection: apsw.Connection, store: BucketStore) -> None:
    with write_transaction(connection, local_writes=False), store.gathering():
        for start in (1, 4, 7):
            store.store(DataBatch("b", [put(number) for number in range(start, start + 3)]), 1)
        assert row_ids(connection) == []
    assert len(row_ids(connection)) == 9
    assert row_ids(connection) == sorted(row_ids(connection))


@pytest.mark.parametrize(("lines", "entries", "data"), [(6, 1100, "{}"), (9, 1, "x" * (1 << 20))])
def test_no_more_is_gathered_than_the_limits_allow(
    connection: apsw.Connection, store: BucketStore, lines: int, entries: int, data: str
) -> None:
    """In rows, and in bytes of their data."""
    with write_transaction(connection, local_writes=False), store.gathering():
        for line in range(lines):
            numbers = range(line * entries + 1, (line + 1) * entries + 1)
            store.store(DataBatch("b", [put(number, data=data) for number in numbers]), 1)
        written = len(row_ids(connection))
        assert lines * entries - bucket_writer.GATHERED_ROWS_MAX < written <= lines * entries
        assert written > 0
    assert len(row_ids(connection)) == lines * entries


def test_what_was_gathered_is_forgotten_with_its_transaction(connection: apsw.Connection, store: BucketStore) -> None:
    def fail() -> None:
        with write_transaction(connection, local_writes=False), store.gathering():
            store.store(DataBatch("b", [put(1)]), 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with write_transaction(connection, local_writes=False), store.gathering():
        store.store(DataBatch("b", [put(2)]), 1)
    assert row_ids(connection) == [put(2).object_id]
