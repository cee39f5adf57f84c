"""Forgetting what was synced, hard and soft (client SQLite reference, 13)."""

from __future__ import annotations

import apsw
import pytest

from syncline.client.local.clearing import clear, trigger_resync
from syncline.client.local.connection import write_transaction
from syncline.client.local.layout import client_id, prepare
from syncline.client.schema import Schema, Table
from syncline.client.schema_raw import RawTable

SYNCED = ("lists", "ps_crud", "ps_updated_rows", "ps_untyped", "ps_sync_state", "ps_stream_subscriptions")


def rows(connection: apsw.Connection, sql: str) -> list[object]:
    return list(connection.execute(sql))


def synced(connection: apsw.Connection) -> None:
    """A bucket with a row that is applied, and one local write."""
    for sql in (
        "INSERT INTO ps_buckets(name, last_op, last_applied_op, add_checksum, op_checksum) VALUES ('a', 5, 5, 1, 2)",
        "INSERT INTO ps_oplog VALUES (1, 5, 'lists', '1', 'lists/1/null', '{}', 2)",
        "INSERT INTO ps_data__lists VALUES ('1', '{}')",
        "INSERT INTO ps_untyped VALUES ('other', '1', '{}')",
        "INSERT INTO ps_sync_state VALUES (2147483647, 1000)",
        "INSERT INTO ps_stream_subscriptions(stream_name, ttl, last_synced_at) VALUES ('s', 60, 1000)",
    ):
        connection.execute(sql)
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id, name) VALUES ('2', 'x')")
        connection.execute("INSERT INTO drafts(id, body) VALUES ('1', 'x')")


@pytest.mark.requirement(61)
def test_clearing_leaves_the_client_id_and_the_counters(connection: apsw.Connection) -> None:
    synced(connection)
    before = client_id(connection)
    seen: list[str] = []
    connection.set_update_hook(lambda _kind, _database, table, _rowid: seen.append(table))
    with write_transaction(connection):
        clear(connection)
    assert "ps_data__lists" in seen
    for table in (*SYNCED, "ps_buckets", "ps_oplog"):
        assert rows(connection, f"SELECT * FROM {table}") == [], table
    assert client_id(connection) == before
    assert rows(connection, "SELECT key FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'") == []
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id) VALUES ('3')")
    assert rows(connection, "SELECT id, tx_id > 1 FROM ps_crud") == [(2, 1)]


@pytest.mark.requirement(62)
@pytest.mark.parametrize("soft", [False, True])
def test_local_only_rows_stay_unless_they_are_to_go(connection: apsw.Connection, soft: bool) -> None:
    synced(connection)
    with write_transaction(connection):
        clear(connection, soft=soft)
    assert rows(connection, "SELECT id FROM drafts") == [("1",)]
    with write_transaction(connection):
        clear(connection, clear_local=True, soft=soft)
    assert rows(connection, "SELECT id FROM drafts") == []


def test_a_soft_clear_keeps_operations_for_the_next_checkpoint(connection: apsw.Connection) -> None:
    synced(connection)
    with write_transaction(connection):
        clear(connection, soft=True)
    for table in SYNCED:
        assert rows(connection, f"SELECT * FROM {table}") == [], table
    assert rows(connection, "SELECT name, last_op, last_applied_op, add_checksum, op_checksum FROM ps_buckets") == [
        ("a", 5, 0, 1, 2)
    ]
    assert rows(connection, "SELECT op_id FROM ps_oplog") == [(5,)]


def test_what_is_known_about_the_keys_of_operations_stays_known(connection: apsw.Connection, schema: Schema) -> None:
    synced(connection)
    connection.execute("""UPDATE ps_oplog SET key = 'lists/1/"quoted"'""")
    with write_transaction(connection):
        clear(connection, soft=True)
    prepare(connection, schema)
    assert rows(connection, "SELECT key FROM ps_oplog") == [('lists/1/"quoted"',)]


def test_raw_tables_are_cleared_as_their_schema_says_and_nothing_is_captured(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE places(id TEXT PRIMARY KEY, name)")
    connection.execute("CREATE TABLE kept(id TEXT PRIMARY KEY)")
    prepare(
        connection,
        Schema([Table("lists", []), RawTable("places", capture=True, clear="DELETE FROM places"), RawTable("kept")]),
    )
    with write_transaction(connection):
        connection.execute("INSERT INTO places VALUES ('1', 'x')")
        connection.execute("INSERT INTO kept VALUES ('1')")
    with write_transaction(connection):
        clear(connection)
    assert rows(connection, "SELECT * FROM places") == []
    assert rows(connection, "SELECT * FROM kept") == [("1",)]
    assert rows(connection, "SELECT * FROM ps_crud") == []


@pytest.mark.parametrize("clear_progress", [False, True])
def test_a_resync_writes_every_row_again(connection: apsw.Connection, clear_progress: bool) -> None:
    synced(connection)
    with write_transaction(connection, local_writes=False):
        trigger_resync(connection, clear_progress=clear_progress)
    assert rows(connection, "SELECT last_op, last_applied_op FROM ps_buckets") == [(5, 0)]
    assert len(rows(connection, "SELECT * FROM ps_sync_state")) == (0 if clear_progress else 1)
    assert len(rows(connection, "SELECT * FROM ps_crud")) == 1
