"""Views capture local writes with plain SQL, from any connection (client SQLite reference, 4 to 6)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import apsw
import pytest

from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.layout import prepare
from syncline.client.schema import COLUMNS_MAX, Column, Schema, Table


def write(connection: apsw.Connection, *statements: str) -> None:
    with write_transaction(connection):
        for sql in statements:
            connection.execute(sql)


def queue(connection: apsw.Connection) -> list[object]:
    return [data for (data,) in connection.execute("SELECT data FROM ps_crud ORDER BY id")]


def gate(connection: apsw.Connection) -> list[object]:
    return [
        key
        for (key,) in connection.execute("SELECT key FROM ps_kv WHERE key GLOB '*_checkpoint_request_id' ORDER BY key")
    ]


@pytest.mark.requirement(24, 27)
def test_writes_queue_puts_patches_and_deletes(connection: apsw.Connection) -> None:
    write(
        connection,
        "INSERT INTO lists(id, name, count, ratio) VALUES ('1', 'é\"', 2, 2.0)",
        "UPDATE lists SET count = NULL, name = 'x' WHERE id = '1'",
        "DELETE FROM lists WHERE id = '1'",
    )
    assert queue(connection) == [
        '{"op":"PUT","id":"1","type":"lists","data":{"count":2,"name":"é\\"","ratio":2.0}}',
        '{"op":"PATCH","id":"1","type":"lists","data":{"count":null,"name":"x"}}',
        '{"op":"DELETE","id":"1","type":"lists"}',
    ]


def test_a_put_leaves_nulls_out_and_the_row_keeps_them_in_schema_order(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO lists(id, count) VALUES ('1', 2)")
    assert queue(connection) == ['{"op":"PUT","id":"1","type":"lists","data":{"count":2}}']
    assert connection.execute("SELECT data FROM ps_data__lists").fetchall() == [
        ('{"name":null,"count":2,"ratio":null}',)
    ]


def test_an_update_that_changes_nothing_is_queued_as_an_empty_patch(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO lists(id, count) VALUES ('1', 2)", "UPDATE lists SET count = 2")
    assert queue(connection)[1] == '{"op":"PATCH","id":"1","type":"lists","data":{}}'


def test_tables_can_ignore_updates_that_change_nothing(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO quiet(id, a) VALUES ('1', 'x')")
    connection.execute("DELETE FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'")
    connection.execute("DELETE FROM ps_updated_rows")
    write(connection, "UPDATE quiet SET a = 'x'")
    assert len(queue(connection)) == 1
    assert gate(connection) == []
    assert connection.execute("SELECT * FROM ps_updated_rows").fetchall() == []
    write(connection, "UPDATE quiet SET a = 'y'")
    assert len(queue(connection)) == 2
    assert gate(connection) == ["target_checkpoint_request_id"]


def test_values_of_json_functions_are_stored_as_text(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO lists(id, name) VALUES ('1', json_array(1, 2))")
    assert queue(connection) == ['{"op":"PUT","id":"1","type":"lists","data":{"name":"[1,2]"}}']
    assert connection.execute("SELECT name, typeof(name) FROM lists").fetchall() == [("[1,2]", "text")]


@pytest.mark.parametrize(
    "statement", ["INSERT", "INSERT OR IGNORE", "INSERT OR REPLACE", "INSERT OR ABORT", "INSERT OR FAIL"]
)
@pytest.mark.parametrize("foreign", [False, True])
def test_a_local_write_closes_the_gate_and_marks_its_row(
    tmp_path: Path, schema: Schema, statement: str, foreign: bool
) -> None:
    connection = open_writer(tmp_path / "app.db")
    prepare(connection, schema)
    for key in ("target", "last_seen", "last_applied"):
        connection.execute("INSERT INTO ps_kv VALUES (?, 5)", (f"{key}_checkpoint_request_id",))
    if foreign:
        other = sqlite3.connect(tmp_path / "app.db")
        with other:
            other.execute(f"{statement} INTO lists(id) VALUES ('1')")
        other.close()
    else:
        write(connection, f"{statement} INTO lists(id) VALUES ('1')")
    assert connection.execute("SELECT key, value FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'").fetchall() == [
        ("target_checkpoint_request_id", 2**63 - 1)
    ]
    assert connection.execute("SELECT * FROM ps_updated_rows").fetchall() == [("lists", "1")]
    connection.close()


def test_insert_or_replace_replaces_the_row_with_one_put(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO lists(id, name) VALUES ('1', 'a')")
    write(connection, "INSERT OR REPLACE INTO lists(id, name) VALUES ('1', 'b')")
    assert connection.execute("SELECT name FROM lists").fetchall() == [("b",)]
    assert queue(connection)[1:] == ['{"op":"PUT","id":"1","type":"lists","data":{"name":"b"}}']


@pytest.mark.requirement(86)
@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("INSERT INTO lists(name) VALUES ('x')", "id is required"),
        ("INSERT INTO lists(id) VALUES (1)", "id should be text"),
        ("UPDATE lists SET id = '2' WHERE id = '1'", "Cannot update id"),
    ],
)
def test_ids_are_text_and_never_change(connection: apsw.Connection, sql: str, message: str) -> None:
    write(connection, "INSERT INTO lists(id) VALUES ('1')")
    with pytest.raises(apsw.ConstraintError, match=message):
        write(connection, sql)
    assert connection.execute("SELECT id FROM lists").fetchall() == [("1",)]


@pytest.mark.requirement(94)
def test_local_only_tables_queue_nothing(connection: apsw.Connection) -> None:
    write(
        connection,
        "INSERT INTO drafts(id, body) VALUES ('1', 'x'), ('2', 'y')",
        "UPDATE drafts SET body = 'z'",
        "DELETE FROM drafts WHERE id = '2'",
    )
    assert connection.execute("SELECT * FROM drafts").fetchall() == [("1", "z")]
    assert queue(connection) == []
    assert gate(connection) == []


@pytest.mark.requirement(95)
def test_insert_only_tables_queue_rows_and_store_none(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO logs(id, message) VALUES ('1', 'x')")
    assert queue(connection) == ['{"op":"PUT","type":"logs","id":"1","data":{"message":"x"}}']
    assert connection.execute("SELECT * FROM logs").fetchall() == []
    assert gate(connection) == []
    with pytest.raises(apsw.SQLError, match="cannot modify logs because it is a view"):
        write(connection, "DELETE FROM logs")


def test_previous_values_and_metadata_are_queued_where_tracked(connection: apsw.Connection) -> None:
    write(
        connection,
        "INSERT INTO tracked(id, a, _metadata) VALUES ('1', 1, 'why')",
        "UPDATE tracked SET a = 2",
        "UPDATE tracked SET _deleted = TRUE, _metadata = 'bye'",
    )
    assert queue(connection) == [
        '{"op":"PUT","id":"1","type":"tracked","data":{"a":1},"metadata":"why"}',
        '{"op":"PATCH","id":"1","type":"tracked","data":{"a":2},"old":{"b":null,"a":1}}',
        '{"op":"DELETE","id":"1","type":"tracked","old":{"b":null,"a":2},"metadata":"bye"}',
    ]
    assert connection.execute("SELECT * FROM tracked").fetchall() == []


def test_the_widest_table_can_be_written() -> None:
    connection = open_writer(":memory:")
    columns = [Column.text(f"c{i}") for i in range(COLUMNS_MAX)]
    prepare(connection, Schema([Table("wide", columns, ignore_empty_updates=True)]))
    write(connection, "INSERT INTO wide(id, c0, c1998) VALUES ('1', 'x', 'y')", "UPDATE wide SET c1000 = 'z'")
    assert queue(connection) == [
        '{"op":"PUT","id":"1","type":"wide","data":{"c0":"x","c1998":"y"}}',
        '{"op":"PATCH","id":"1","type":"wide","data":{"c1000":"z"}}',
    ]
    connection.close()


def test_the_standard_library_writes_through_the_same_triggers(tmp_path: Path, schema: Schema) -> None:
    path = tmp_path / "app.db"
    ours = open_writer(path)
    prepare(ours, schema)
    foreign = sqlite3.connect(path)
    with foreign:
        foreign.execute("INSERT INTO lists(id, name) VALUES ('1', 'x')")
        foreign.execute("UPDATE lists SET name = 'y'")
    foreign.close()
    assert len(queue(ours)) == 2
    assert gate(ours) == ["target_checkpoint_request_id"]
    ours.close()


def test_local_only_tables_take_ids_of_any_type(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO drafts(id, body) VALUES (7, 'x')")
    assert connection.execute("SELECT id, body FROM drafts").fetchall() == [("7", "x")]


def test_the_stored_value_keeps_its_type_and_the_view_reads_the_columns(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO lists(id, count) VALUES ('1', '7')")
    assert connection.execute("SELECT count, typeof(count) FROM lists").fetchall() == [(7, "integer")]
    assert queue(connection) == ['{"op":"PUT","id":"1","type":"lists","data":{"count":"7"}}']


@pytest.mark.parametrize("columns", [1, 60])
def test_binary_values_are_refused(columns: int) -> None:
    connection = open_writer(":memory:")
    prepare(connection, Schema([Table("t", [Column.text(f"c{number}") for number in range(columns)])]))
    with pytest.raises(apsw.SQLError, match="JSON cannot hold BLOB"):
        write(connection, "INSERT INTO t(id, c0) VALUES ('1', x'616263')")
    assert queue(connection) == []
    connection.close()


def test_metadata_of_an_insert_only_row_is_sent() -> None:
    """More than the field's clients do, which drop it."""
    connection = open_writer(":memory:")
    prepare(connection, Schema([Table("logs", [Column.text("a")], insert_only=True, track_metadata=True)]))
    write(connection, "INSERT INTO logs(id, a, _metadata) VALUES ('1', 'x', 'why')")
    assert queue(connection) == ['{"op":"PUT","type":"logs","id":"1","data":{"a":"x"},"metadata":"why"}']
    connection.close()
