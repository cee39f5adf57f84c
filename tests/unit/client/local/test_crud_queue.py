"""The upload queue and the gate."""

from __future__ import annotations

import apsw
import pytest

from syncline.client.crud import CrudEntry
from syncline.client.local.connection import write_transaction
from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue
from syncline.errors import ClientError
from syncline.protocol.crud import UpdateType


@pytest.fixture
def queue(connection: apsw.Connection) -> CrudQueue:
    return CrudQueue(connection)


def insert(connection: apsw.Connection, *ids: str) -> None:
    with write_transaction(connection):
        for row_id in ids:
            connection.execute("INSERT INTO lists(id, name) VALUES (?, 'x')", (row_id,))


@pytest.mark.requirement(26)
def test_the_oldest_transaction_comes_with_all_its_entries(connection: apsw.Connection, queue: CrudQueue) -> None:
    assert queue.next_transaction() is None
    insert(connection, "1", "2")
    insert(connection, "3")
    transaction = queue.next_transaction()
    assert transaction is not None
    assert [entry.id for entry in transaction.entries] == ["1", "2"]
    assert (transaction.transaction_id, transaction.last_crud_id) == (1, 2)


@pytest.mark.requirement(27)
def test_entries_have_what_was_written(connection: apsw.Connection, queue: CrudQueue) -> None:
    with write_transaction(connection):
        connection.execute("INSERT INTO tracked(id, a, _metadata) VALUES ('1', 1, 'why')")
        connection.execute("UPDATE tracked SET a = NULL")
        connection.execute("DELETE FROM tracked")
    transaction = queue.next_transaction()
    assert transaction is not None
    assert transaction.entries == [
        CrudEntry(1, "1", UpdateType.PUT, "tracked", {"a": 1}, 1, None, "why"),
        CrudEntry(2, "1", UpdateType.PATCH, "tracked", {"a": None}, 1, {"b": None, "a": 1}, None),
        CrudEntry(3, "1", UpdateType.DELETE, "tracked", None, 1, {"b": None, "a": None}, None),
    ]


@pytest.mark.requirement(28)
def test_entries_without_a_transaction_id_are_a_transaction_each(connection: apsw.Connection, queue: CrudQueue) -> None:
    for row_id in ("1", "2"):
        connection.execute(
            "INSERT INTO ps_crud(data) VALUES (?)", (f'{{"op":"DELETE","id":"{row_id}","type":"lists"}}',)
        )
    transactions = list(queue.transactions(5))
    assert [(t.transaction_id, [entry.id for entry in t.entries]) for t in transactions] == [
        (None, ["1"]),
        (None, ["2"]),
    ]
    assert transactions == list(queue.transactions(5))


def test_no_more_transactions_come_than_asked_for(connection: apsw.Connection, queue: CrudQueue) -> None:
    for row_id in "123":
        insert(connection, row_id)
    assert [t.transaction_id for t in queue.transactions(2)] == [1, 2]
    assert [t.transaction_id for t in queue.transactions(9)] == [1, 2, 3]
    assert list(queue.transactions(0)) == []


@pytest.mark.requirement(29)
def test_completing_removes_exactly_the_prefix(connection: apsw.Connection, queue: CrudQueue) -> None:
    for row_id in "123":
        insert(connection, row_id)
    first = queue.next_transaction()
    assert first is not None
    with write_transaction(connection, local_writes=False):
        queue.complete(first.last_crud_id)
    assert [t.transaction_id for t in queue.transactions(9)] == [2, 3]
    assert queue.target() == TARGET_DIRTY


def test_a_write_checkpoint_opens_the_gate_only_when_nothing_else_waits(
    connection: apsw.Connection, queue: CrudQueue
) -> None:
    insert(connection, "1")
    insert(connection, "2")
    queue.complete(1, write_checkpoint=7)
    assert queue.target() == TARGET_DIRTY
    queue.complete(2, write_checkpoint=8)
    assert queue.target() == 8
    queue.set_target(0)
    assert queue.target() is None


def test_the_sequence_tells_whether_a_write_came_in_between(connection: apsw.Connection, queue: CrudQueue) -> None:
    assert queue.sequence() is None
    insert(connection, "1")
    queue.complete(1)
    assert (queue.sequence(), queue.is_empty()) == (1, True)
    insert(connection, "2")
    assert (queue.sequence(), queue.is_empty()) == (2, False)


def test_stats_count_entries_and_bytes(connection: apsw.Connection, queue: CrudQueue) -> None:
    assert queue.stats() == (0, 0)
    insert(connection, "é")
    [(data,)] = connection.execute("SELECT data FROM ps_crud").fetchall()
    assert queue.stats() == (1, 20 + len(str(data).encode()))


def test_write_checkpoints_are_read_whatever_type_wrote_them(connection: apsw.Connection, queue: CrudQueue) -> None:
    assert queue.last_seen() is None
    connection.execute("INSERT INTO ps_kv VALUES ('last_seen_checkpoint_request_id', '12')")
    connection.execute("INSERT INTO ps_kv VALUES ('target_checkpoint_request_id', '13')")
    assert (queue.last_seen(), queue.target()) == (12, 13)


def test_an_entry_that_is_none_says_which_one(connection: apsw.Connection, queue: CrudQueue) -> None:
    connection.execute("INSERT INTO ps_crud(id, data) VALUES (5, 'secret')")
    with pytest.raises(ClientError, match="Entry 5") as caught:
        queue.next_transaction()
    assert "secret" not in str(caught.value)
