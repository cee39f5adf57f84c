"""Connections and transactions of the device's file."""

from __future__ import annotations

import uuid
from pathlib import Path

import apsw
import pytest

from syncline.client.local.connection import open_reader, open_writer, write_transaction
from syncline.client.local.layout import prepare
from syncline.client.schema import Column, Schema, Table

SCHEMA = Schema([Table("lists", [Column.text("name")])])


def insert(connection: apsw.Connection, name: str) -> None:
    connection.execute("INSERT INTO lists(id, name) VALUES (uuid(), ?)", (name,))


def transaction_ids(connection: apsw.Connection) -> list[object]:
    return [tx_id for (tx_id,) in connection.execute("SELECT tx_id FROM ps_crud ORDER BY id")]


@pytest.mark.requirement(88)
@pytest.mark.parametrize("function", ["uuid()", "gen_random_uuid()"])
def test_sql_makes_new_uuids(connection: apsw.Connection, function: str) -> None:
    [(one, two)] = connection.execute(f"SELECT {function}, {function}").fetchall()
    assert one != two
    assert uuid.UUID(str(one)).version == 4


@pytest.mark.requirement(24)
def test_a_rolled_back_write_leaves_no_row_and_no_crud_entry(connection: apsw.Connection) -> None:
    def fail() -> None:
        with write_transaction(connection):
            insert(connection, "x")
            assert transaction_ids(connection) == [1]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not connection.in_transaction
    assert transaction_ids(connection) == []
    assert connection.execute("SELECT * FROM lists").fetchall() == []
    assert connection.execute("SELECT key FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'").fetchall() == []
    with write_transaction(connection):
        insert(connection, "x")
    assert transaction_ids(connection) == [1]


def test_every_transaction_has_an_id_of_its_own(connection: apsw.Connection) -> None:
    for _ in range(2):
        with write_transaction(connection):
            insert(connection, "x")
            insert(connection, "y")
    assert transaction_ids(connection) == [1, 1, 2, 2]


def test_no_transaction_of_ours_joins_that_of_a_foreign_writer(tmp_path: Path) -> None:
    ours = open_writer(tmp_path / "app.db")
    prepare(ours, SCHEMA)
    foreign = apsw.Connection(str(tmp_path / "app.db"))
    groups: list[list[object]] = []
    for _ in range(3):
        foreign.execute("INSERT INTO lists(id, name) VALUES (hex(randomblob(8)), 'foreign')")
        with write_transaction(ours):
            insert(ours, "ours")
        with write_transaction(ours):
            insert(ours, "ours")
        groups.append(transaction_ids(ours))
    assert len(set(groups[-1])) == 9
    assert groups[-1] == sorted(groups[-1], key=str)
    foreign.close()
    ours.close()


def test_sync_takes_no_transaction_id(connection: apsw.Connection) -> None:
    with write_transaction(connection, local_writes=False):
        connection.execute("INSERT INTO ps_untyped VALUES ('a', 'b', 'c')")
    assert connection.execute("SELECT next_tx FROM ps_tx").fetchall() == [(1,)]


def test_a_reader_sees_commits_and_cannot_write(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "app.db")
    prepare(writer, SCHEMA)
    reader = open_reader(tmp_path / "app.db")
    with write_transaction(writer):
        insert(writer, "x")
        assert reader.execute("SELECT name FROM lists").fetchall() == []
    assert reader.execute("SELECT name FROM lists").fetchall() == [("x",)]
    with pytest.raises(apsw.ReadOnlyError):
        insert(reader, "y")
    reader.close()
    writer.close()


def test_the_writer_uses_wal_and_runs_triggers_of_replaced_rows(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "app.db")
    settings = [writer.pragma(name) for name in ("journal_mode", "synchronous", "recursive_triggers", "cache_size")]
    assert settings == ["wal", 1, 1, -51200]
    writer.close()
