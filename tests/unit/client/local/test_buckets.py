"""Data lines into buckets, and checkpoints into the app's tables (client SQLite reference, 8 and 9)."""

from __future__ import annotations

import random

import apsw
import pytest

from syncline.client.core.checkpoint import Applied, Blocked, LocalCheckpoint, Mismatch
from syncline.client.local.buckets import FULL_SYNC_PRIORITY, BucketCounts, BucketStore
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.local.layout import prepare
from syncline.client.local.row_writer import BATCH_BYTES, BATCH_ROWS
from syncline.client.schema import Schema
from syncline.errors import RemoteProtocolError
from syncline.protocol.lines import BucketChecksum, DataBatch, OplogEntry
from syncline.protocol.ops import OpType

PUT, REMOVE, MOVE, CLEAR = OpType.PUT, OpType.REMOVE, OpType.MOVE, OpType.CLEAR
NOW = 1_700_000_000_000_000


@pytest.fixture
def store(connection: apsw.Connection) -> BucketStore:
    return BucketStore(connection)


def op(
    op_id: int, kind: OpType, row: str = "1", *, checksum: float = 1, name: str = "x", table: str = "lists"
) -> OplogEntry:
    if kind in (MOVE, CLEAR):
        return OplogEntry(str(op_id), kind, checksum)
    data = f'{{"name":"{name}"}}' if kind is PUT else None
    return OplogEntry(str(op_id), kind, checksum, table, row, "s", data)


def put(connection: apsw.Connection, store: BucketStore, bucket: str, *ops: OplogEntry) -> None:
    with write_transaction(connection, local_writes=False):
        store.store(DataBatch(bucket, list(ops)), 100)


def apply(
    connection: apsw.Connection,
    store: BucketStore,
    last_op_id: int,
    buckets: dict[str, int | tuple[int, int]],
    *,
    priority: int | None = None,
    write_checkpoint: int | None = None,
) -> object:
    """Apply a checkpoint of buckets with their checksums, or (checksum, priority)."""
    described = {
        name: BucketChecksum(
            name, value if isinstance(value, int) else value[0], 5, 3 if isinstance(value, int) else value[1]
        )
        for name, value in buckets.items()
    }
    with write_transaction(connection, local_writes=False):
        return store.apply(LocalCheckpoint(last_op_id, write_checkpoint, described), priority=priority, now_us=NOW)


def bucket(connection: apsw.Connection, name: str = "b") -> tuple[object, ...]:
    [row] = connection.execute(
        "SELECT last_applied_op, last_op, add_checksum, op_checksum FROM ps_buckets WHERE name = ?", (name,)
    ).fetchall()
    return row


def lists(connection: apsw.Connection) -> dict[object, object]:
    return {row[0]: row[1] for row in connection.execute("SELECT id, name FROM lists")}


def test_a_put_replaces_the_put_of_its_key(connection: apsw.Connection, store: BucketStore) -> None:
    put(connection, store, "b", op(1, PUT, checksum=10), op(2, PUT, checksum=20))
    put(connection, store, "b", op(3, PUT, checksum=40))
    assert connection.execute("SELECT op_id, key, hash FROM ps_oplog").fetchall() == [(3, "lists/1/s", 40)]
    assert bucket(connection) == (0, 3, 30, 40)


def test_checksums_are_the_same_unsigned_signed_or_float(connection: apsw.Connection, store: BucketStore) -> None:
    for name, checksum in (("u", 2**32 - 2), ("s", -2), ("f", float(2**32 - 2))):
        put(connection, store, name, op(1, PUT, checksum=checksum))
        assert bucket(connection, name)[3] == 2**32 - 2
    assert connection.execute("SELECT DISTINCT hash FROM ps_oplog").fetchall() == [(-2,)]


def test_removes_moves_and_clears_are_folded_into_the_checksum(connection: apsw.Connection, store: BucketStore) -> None:
    put(connection, store, "b", op(1, PUT, checksum=1), op(2, REMOVE, checksum=2), op(3, MOVE, checksum=4))
    assert connection.execute("SELECT * FROM ps_oplog").fetchall() == []
    assert bucket(connection) == (0, 3, 7, 0)
    put(connection, store, "b", op(4, CLEAR, checksum=-8), op(5, PUT, checksum=16))
    assert bucket(connection) == (0, 5, 2**32 - 8, 16)


def test_a_removed_row_leaves_the_table_unless_another_bucket_has_it(
    connection: apsw.Connection, store: BucketStore
) -> None:
    put(connection, store, "a", op(1, PUT, "1", name="a1"), op(2, PUT, "2", name="a2"))
    put(connection, store, "b", op(3, PUT, "1", name="b1"))
    assert apply(connection, store, 3, {"a": 2, "b": 1}) == Applied()
    assert lists(connection) == {"1": "b1", "2": "a2"}
    put(connection, store, "b", op(4, REMOVE, "1"))
    put(connection, store, "a", op(5, REMOVE, "2"))
    assert apply(connection, store, 5, {"a": 3, "b": 2}) == Applied()
    assert lists(connection) == {"1": "a1"}
    assert connection.execute("SELECT * FROM ps_updated_rows").fetchall() == []


def test_a_clear_removes_rows_that_do_not_come_again(connection: apsw.Connection, store: BucketStore) -> None:
    put(connection, store, "b", op(1, PUT, "1"), op(2, PUT, "2"))
    apply(connection, store, 2, {"b": 2})
    put(connection, store, "b", op(3, CLEAR, checksum=0), op(4, PUT, "2", name="y"))
    assert apply(connection, store, 4, {"b": 1}) == Applied()
    assert lists(connection) == {"2": "y"}


def test_a_wrong_checksum_deletes_that_bucket_and_shows_nothing(
    connection: apsw.Connection, store: BucketStore
) -> None:
    put(connection, store, "a", op(1, PUT, "1"))
    put(connection, store, "b", op(2, PUT, "2"))
    assert apply(connection, store, 2, {"a": 1, "b": 9}) == Mismatch(["b"])
    assert lists(connection) == {}
    assert [(position.name, position.after) for position in store.positions()] == [("a", "1")]
    put(connection, store, "b", op(2, PUT, "2"))
    assert apply(connection, store, 2, {"a": 1, "b": 1}) == Applied()
    assert lists(connection) == {"1": "x", "2": "x"}


def test_a_bucket_without_operations_has_checksum_zero(connection: apsw.Connection, store: BucketStore) -> None:
    assert apply(connection, store, 7, {"empty": 0}) == Applied()
    assert store.positions() == []
    assert apply(connection, store, 7, {"empty": 1}) == Mismatch(["empty"])


def test_positions_move_to_the_checkpoint(connection: apsw.Connection, store: BucketStore) -> None:
    put(connection, store, "b", op(1, PUT))
    apply(connection, store, 40, {"b": 1})
    assert [(position.name, position.after) for position in store.positions()] == [("b", "40")]
    assert bucket(connection)[:2] == (40, 40)


def test_rows_of_a_deleted_bucket_stay_until_the_next_full_apply(
    connection: apsw.Connection, store: BucketStore
) -> None:
    put(connection, store, "b", op(1, PUT))
    apply(connection, store, 1, {"b": 1})
    with write_transaction(connection, local_writes=False):
        store.delete_buckets(["b", "unknown"])
    assert lists(connection) == {"1": "x"}
    apply(connection, store, 2, {})
    assert lists(connection) == {}


def test_local_writes_block_a_checkpoint_until_their_write_checkpoint(
    connection: apsw.Connection, store: BucketStore
) -> None:
    queue = CrudQueue(connection)
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id, name) VALUES ('1', 'local')")
    put(connection, store, "b", op(1, PUT, name="remote"))
    assert apply(connection, store, 1, {"b": 1}, write_checkpoint=4) == Blocked("pending_uploads")
    queue.complete(1, write_checkpoint=5)
    assert apply(connection, store, 1, {"b": 1}, write_checkpoint=4) == Blocked("write_checkpoint")
    assert (lists(connection), queue.last_seen(), store.sync_state()) == ({"1": "local"}, 4, [])
    assert apply(connection, store, 1, {"b": 1}, write_checkpoint=5) == Applied()
    assert (lists(connection), queue.last_seen()) == ({"1": "remote"}, 5)


def test_a_local_write_that_the_source_refused_is_taken_back(connection: apsw.Connection, store: BucketStore) -> None:
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id, name) VALUES ('9', 'refused')")
    CrudQueue(connection).complete(1, write_checkpoint=1)
    assert apply(connection, store, 1, {}, write_checkpoint=1) == Applied()
    assert lists(connection) == {}


def test_a_partial_checkpoint_applies_urgent_buckets_only(connection: apsw.Connection, store: BucketStore) -> None:
    put(connection, store, "urgent", op(1, PUT, "1"))
    put(connection, store, "later", op(2, PUT, "2"))
    both: dict[str, int | tuple[int, int]] = {"urgent": (1, 1), "later": (99, 3)}
    assert apply(connection, store, 2, both, priority=1, write_checkpoint=3) == Applied()
    assert lists(connection) == {"1": "x"}
    assert store.sync_state() == [(1, NOW)]
    assert CrudQueue(connection).last_seen() is None
    assert bucket(connection, "later")[0] == 0
    both["later"] = (1, 3)
    assert apply(connection, store, 2, both) == Applied()
    assert lists(connection) == {"1": "x", "2": "x"}
    assert store.sync_state() == [(FULL_SYNC_PRIORITY, NOW)]


def test_local_writes_block_partial_checkpoints_but_not_priority_zero(
    connection: apsw.Connection, store: BucketStore
) -> None:
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id, name) VALUES ('1', 'local')")
    put(connection, store, "b", op(1, PUT, name="remote"))
    assert apply(connection, store, 1, {"b": (1, 0)}, priority=1) == Blocked("pending_uploads")
    assert apply(connection, store, 1, {"b": (1, 0)}, priority=0) == Applied()
    assert lists(connection) == {"1": "remote"}


def test_counts_of_operations_start_again_with_a_full_apply(connection: apsw.Connection, store: BucketStore) -> None:
    put(connection, store, "b", op(1, PUT), op(2, MOVE))
    assert store.counts() == {"b": BucketCounts(at_last=0, since_last=2)}
    apply(connection, store, 2, {"b": 2})
    assert store.counts() == {"b": BucketCounts(at_last=5, since_last=0)}
    store.reset_counts()
    assert store.counts() == {"b": BucketCounts(at_last=0, since_last=0)}


def test_rows_without_a_table_are_kept_aside(connection: apsw.Connection, store: BucketStore) -> None:
    put(connection, store, "b", op(1, PUT, "1", table="new"), op(2, PUT, "2", table="new"))
    apply(connection, store, 2, {"b": 2})
    put(connection, store, "b", op(3, REMOVE, "1", table="new"))
    apply(connection, store, 3, {"b": 3})
    assert connection.execute("SELECT type, id FROM ps_untyped").fetchall() == [("new", "2")]


def test_an_op_id_that_is_no_number_is_refused(connection: apsw.Connection, store: BucketStore) -> None:
    with pytest.raises(RemoteProtocolError):
        put(connection, store, "b", OplogEntry("x", PUT, 1, "lists", "1", "s", "{}"))
    assert connection.execute("SELECT * FROM ps_buckets").fetchall() == []


def test_more_rows_than_one_batch_are_applied(connection: apsw.Connection, store: BucketStore) -> None:
    count = BATCH_ROWS * 2 + 1
    put(connection, store, "b", *(op(i + 1, PUT, str(i)) for i in range(count)))
    apply(connection, store, count, {"b": count})
    assert len(lists(connection)) == count


def test_rows_are_written_when_the_batch_has_its_bytes(connection: apsw.Connection, store: BucketStore) -> None:
    large = "x" * (BATCH_BYTES // 2 + 1)
    put(connection, store, "b", *(op(i + 1, PUT, str(i), name=large) for i in range(3)), op(4, PUT, "1", table="new"))
    apply(connection, store, 4, {"b": 4})
    assert len(lists(connection)) == 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fresh_keys_max", [10, 10_000])
def test_remembered_keys_change_nothing_about_the_result(schema: Schema, fresh_keys_max: int, seed: int) -> None:
    """With rolled back lines, restarts of the download and CLEARs in between; the writer with 0 never remembers."""
    chance = random.Random(seed)
    connection, plain = open_writer(":memory:"), open_writer(":memory:")
    stores: list[tuple[apsw.Connection, BucketStore]] = []
    for database, limit in ((connection, fresh_keys_max), (plain, 0)):
        prepare(database, schema)
        stores.append((database, BucketStore(database, fresh_keys_max=limit)))
    op_id = 0
    for _ in range(100):
        ops: list[OplogEntry] = []
        for _ in range(chance.randrange(1, 6)):
            op_id += 1
            kind = chance.choices((PUT, REMOVE, CLEAR), (80, 15, 5))[0]
            ops.append(op(op_id, kind, str(chance.randrange(30)), checksum=chance.randrange(2**32)))
        roll_back, delete = chance.random() < 0.2, chance.random() < 0.1
        for database, store in stores:
            database.execute("BEGIN")
            if delete:
                store.delete_buckets(["b"])
            store.store(DataBatch("b", ops), 1)
            database.execute("ROLLBACK" if roll_back else "COMMIT")
    for query in ("SELECT * FROM ps_buckets", "SELECT bucket, op_id, key, hash FROM ps_oplog ORDER BY op_id"):
        assert connection.execute(query).fetchall() == plain.execute(query).fetchall()
    connection.close()
    plain.close()
