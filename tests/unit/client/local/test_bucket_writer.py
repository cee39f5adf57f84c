"""The short way of a line of PUTs gives what the long way gives."""

from __future__ import annotations

import json
from typing import Any

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


def stored(batches: list[list[Any]], *, fast: bool) -> dict[str, Any]:
    """What is in the file after these lines."""
    connection = open_writer(":memory:")
    layout.prepare(connection, Schema([]))
    store = BucketStore(connection)
    kept = bucket_writer._rows_of_puts
    if not fast:
        bucket_writer._rows_of_puts = lambda bucket, entries: None
    op_id = 0
    try:
        for batch in batches:
            made: list[OplogEntry] = []
            for op, row, subkey, checksum in batch:
                op_id += 1
                kind = None if row is None else "t"
                data = json.dumps({"n": op_id}) if op is OpType.PUT else None
                made.append(
                    OplogEntry(str(op_id), op, checksum, kind, None if row is None else f"r{row}", subkey, data)
                )
            with write_transaction(connection, local_writes=False):
                store.store(DataBatch("1#a[]", made), 10)
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
