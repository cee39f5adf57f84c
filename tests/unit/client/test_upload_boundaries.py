from __future__ import annotations

from collections.abc import Generator

import apsw
import pytest

from syncline.client import Column, CrudEntry, Schema, Table, UpdateType
from syncline.client.crud import QueuedTransaction
from syncline.client.local import layout
from syncline.client.local.connection import open_writer
from syncline.client.upload_queue import BOUNDARIES_MAX, _add_boundary, _boundaries, _split


@pytest.fixture
def connection() -> Generator[apsw.Connection]:
    opened = open_writer(":memory:")
    layout.prepare(opened, Schema([Table("lists", [Column.text("name")])]))
    yield opened
    opened.close()


def queue(connection: apsw.Connection, *entries: tuple[int, int | None]) -> None:
    connection.executemany("INSERT INTO ps_crud(id, tx_id, data) VALUES (?, ?, '{}')", entries)


def whole(*crud_ids: int) -> QueuedTransaction:
    return QueuedTransaction(7, [CrudEntry(crud_id, "x", UpdateType.PUT, "t", {}, 7) for crud_id in crud_ids])


@pytest.mark.parametrize(
    ("boundaries", "parts"),
    [
        ([], [[3, 4, 6]]),
        ([1, 2, 6, 9], [[3, 4, 6]]),
        ([3], [[3], [4, 6]]),
        ([4], [[3, 4], [6]]),
        ([5], [[3, 4], [6]]),
        ([4, 5], [[3, 4], [6]]),
        ([3, 4], [[3], [4], [6]]),
    ],
)
def test_entries_are_cut_where_a_page_has_ended(boundaries: list[int], parts: list[list[int]]) -> None:
    found = list(_split(whole(3, 4, 6), boundaries))
    assert [[entry.client_id for entry in part.entries] for part in found] == parts
    assert {part.transaction_id for part in found} == {7}


def test_ends_are_forgotten_once_they_separate_nothing(connection: apsw.Connection) -> None:
    queue(connection, (1, 10))
    _add_boundary(connection, 1)
    assert _boundaries(connection) == [1]
    queue(connection, (2, 10))
    _add_boundary(connection, 2)
    assert _boundaries(connection) == [1, 2]
    queue(connection, (3, 11))
    _add_boundary(connection, 3)
    assert _boundaries(connection) == [1, 3]  # 2 and 3 are of different transactions anyway
    connection.execute("DELETE FROM ps_crud WHERE id = 1")
    _add_boundary(connection, 3)
    assert _boundaries(connection) == [3]


def test_entries_without_a_transaction_id_need_no_ends(connection: apsw.Connection) -> None:
    queue(connection, (1, None), (2, None))
    _add_boundary(connection, 1)
    _add_boundary(connection, 2)
    assert _boundaries(connection) == [2]


def test_the_number_of_ends_is_bounded(connection: apsw.Connection) -> None:
    count = BOUNDARIES_MAX + 5
    queue(connection, *((number, 1) for number in range(1, count + 1)))
    connection.execute(
        "INSERT INTO ps_kv(key, value) VALUES ('py_queue_durable', ?)", (" ".join(map(str, range(1, count))),)
    )
    _add_boundary(connection, count)
    assert _boundaries(connection) == list(range(6, count + 1))
