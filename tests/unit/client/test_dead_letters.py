from __future__ import annotations

from collections.abc import Generator
from typing import Any

import apsw
import pytest

from syncline.client import Column, Refusal, Schema, Table
from syncline.client.dead_letters import (
    DETAILS_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    DeadLettersFull,
    Refused,
    clear_dead_letters,
    count_dead_letters,
    store_dead_letters,
)
from syncline.client.local import layout
from syncline.client.local.connection import open_writer, write_transaction

SCHEMA = Schema([Table("lists", [Column.text("name")])])


@pytest.fixture
def connection() -> Generator[apsw.Connection]:
    opened = open_writer(":memory:")
    layout.prepare(opened, SCHEMA)
    yield opened
    opened.close()


def insert(connection: apsw.Connection, *row_ids: str) -> None:
    with write_transaction(connection):
        for row_id in row_ids:
            connection.execute("INSERT INTO lists(id, name) VALUES (?, 'x')", (row_id,))


def rows(connection: apsw.Connection, columns: str) -> list[Any]:
    return connection.execute(f"SELECT {columns} FROM syncline_dead_letters ORDER BY id").fetchall()


def test_a_file_without_refusals_has_no_table_for_them(connection: apsw.Connection) -> None:
    """So that the file of an app whose backend refuses nothing is the same as an official SDK's."""
    assert count_dead_letters(connection) == 0
    clear_dead_letters(connection)
    assert store_dead_letters(connection, [], now_us=1) == 0
    assert connection.execute("SELECT 1 FROM sqlite_master WHERE name GLOB 'syncline_*'").fetchall() == []


def test_letters_hold_the_queues_own_text(connection: apsw.Connection) -> None:
    insert(connection, "a", "b")
    [(first,), (second,)] = connection.execute("SELECT data FROM ps_crud ORDER BY id").fetchall()
    assert store_dead_letters(connection, [Refused(1, 2, Refusal("X", "why"))], now_us=77) == 1
    [(created_at, crud, code, message)] = rows(connection, "created_at, json(crud), error_code, message")
    assert (created_at, code, message) == (77, "X", "why")
    texts = connection.execute(
        "SELECT json_extract(crud, '$[0][1]'), json_extract(crud, '$[1][1]') FROM syncline_dead_letters"
    ).fetchall()
    assert texts == [(first, second)]
    assert str(crud).startswith("[[1,")


def test_what_is_queued_no_more_makes_no_letter(connection: apsw.Connection) -> None:
    insert(connection, "a")
    connection.execute("DELETE FROM ps_crud")
    assert store_dead_letters(connection, [Refused(1, 1, Refusal("X"))], now_us=1) == 0


def test_the_number_of_letters_is_bounded(connection: apsw.Connection) -> None:
    for row_id in ("a", "b", "c"):
        insert(connection, row_id)
    refused = [Refused(number, number, Refusal("X")) for number in (1, 2, 3)]
    assert store_dead_letters(connection, refused[:2], now_us=1, letters_max=2) == 2
    with pytest.raises(DeadLettersFull) as raised:
        store_dead_letters(connection, refused[2:], now_us=1, letters_max=2)
    assert "dead_letters" in raised.value.hint
    assert count_dead_letters(connection) == 2


def test_what_a_backend_says_is_kept_up_to_a_length(connection: apsw.Connection) -> None:
    insert(connection, "a", "b")
    long = Refusal("X", "m" * (MESSAGE_CHARACTERS_MAX + 1), details={"trace": "d" * DETAILS_CHARACTERS_MAX})
    fits = Refusal("X", "m" * MESSAGE_CHARACTERS_MAX, details={"field": "name"})
    store_dead_letters(connection, [Refused(1, 1, long), Refused(2, 2, fits)], now_us=1)
    assert rows(connection, "length(message), details") == [
        (MESSAGE_CHARACTERS_MAX, None),
        (MESSAGE_CHARACTERS_MAX, '{"field":"name"}'),
    ]


def test_preparing_the_file_for_another_schema_leaves_the_letters(connection: apsw.Connection) -> None:
    insert(connection, "a")
    store_dead_letters(connection, [Refused(1, 1, Refusal("X"))], now_us=1)
    layout.prepare(connection, Schema([Table("other", [Column.text("name")])]))
    assert count_dead_letters(connection) == 1


def test_clearing_the_letters_empties_the_table(connection: apsw.Connection) -> None:
    insert(connection, "a")
    store_dead_letters(connection, [Refused(1, 1, Refusal("X"))], now_us=1)
    clear_dead_letters(connection)
    assert count_dead_letters(connection) == 0
