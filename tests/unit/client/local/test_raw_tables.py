"""Synced rows in an app's own tables, and local writes to them (client SQLite reference, 7)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator
from pathlib import Path

import apsw
import pytest

from syncline.client.core.checkpoint import LocalCheckpoint
from syncline.client.local.buckets import BucketStore
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.layout import prepare
from syncline.client.local.local_connection import sync_writes
from syncline.client.local.raw_columns import RawTableInvalid
from syncline.client.schema import Column, Schema, Table
from syncline.client.schema_raw import REST, ROW_ID, RawStatement, RawTable
from syncline.protocol.lines import BucketChecksum, DataBatch, decode_line


@pytest.fixture
def places() -> Generator[apsw.Connection]:
    connection = open_writer(":memory:")
    connection.execute(
        "CREATE TABLE places(id TEXT PRIMARY KEY, name TEXT, count INTEGER, loose, note TEXT DEFAULT 'n')"
    )
    yield connection
    connection.close()


def rows(connection: apsw.Connection, sql: str) -> list[object]:
    return list(connection.execute(sql))


def queue(connection: apsw.Connection) -> list[object]:
    return [data for (data,) in connection.execute("SELECT data FROM ps_crud ORDER BY id")]


def write(connection: apsw.Connection, *statements: str) -> None:
    with write_transaction(connection):
        for sql in statements:
            connection.execute(sql)


class Download:
    """Applies operations on one table, one checkpoint after the other."""

    def __init__(self, connection: apsw.Connection, row_type: str = "places") -> None:
        self.connection = connection
        self.row_type = row_type
        self.op_id = 0

    def apply(self, *operations: tuple[str, str, object], priority: int | None = None) -> None:
        """(op, id, row) each."""
        entries: list[dict[str, object]] = []
        for op, row_id, row in operations:
            self.op_id += 1
            entry: dict[str, object] = {"op_id": str(self.op_id), "op": op, "checksum": 0}
            entry |= {"object_type": self.row_type, "object_id": row_id}
            if row is not None:
                entry["data"] = row if isinstance(row, str) else json.dumps(row)
            entries.append(entry)
        line = {"data": {"bucket": "a", "data": entries, "after": "0", "next_after": "1", "has_more": False}}
        batch = decode_line(json.dumps(line))
        assert isinstance(batch, DataBatch)
        store = BucketStore(self.connection)
        bucket = BucketChecksum(bucket="a", checksum=0, count=1, priority=1)
        with write_transaction(self.connection, local_writes=False):
            store.store(batch, 1)
            store.apply(LocalCheckpoint(self.op_id, None, {"a": bucket}), priority=priority, now_us=1)


def test_statements_are_made_from_the_columns_and_leave_others_alone(places: apsw.Connection) -> None:
    prepare(places, Schema([RawTable("places", synced_columns=["name", "count"])]))
    download = Download(places)
    download.apply(("PUT", "1", {"name": "x", "count": 2, "note": "theirs"}), ("PUT", "2", {"name": "y"}))
    places.execute("UPDATE places SET note = 'mine', loose = 7 WHERE id = '1'")
    download.apply(("PUT", "1", {"name": "z", "count": None}), ("REMOVE", "2", None))
    assert rows(places, "SELECT * FROM places") == [("1", "z", None, 7, "mine")]
    assert rows(places, "SELECT * FROM ps_untyped") == []


def test_a_column_that_the_app_adds_is_written_from_then_on(places: apsw.Connection) -> None:
    prepare(places, Schema([RawTable("places")]))
    download = Download(places)
    download.apply(("PUT", "1", {"name": "x", "colour": "red"}))
    places.execute("ALTER TABLE places ADD COLUMN colour TEXT")
    download.apply(("PUT", "2", {"name": "y", "colour": "blue"}))
    assert rows(places, "SELECT id, colour FROM places ORDER BY id") == [("1", None), ("2", "blue")]


def test_values_are_bound_as_the_field_does(places: apsw.Connection) -> None:
    prepare(places, Schema([RawTable("places")]))
    Download(places).apply(
        ("PUT", "1", {"name": 5, "count": 5, "loose": 5}),
        ("PUT", "2", {"name": None, "count": True, "loose": False}),
        ("PUT", "3", {"count": [1], "loose": {"a": 1}}),
        ("PUT", "4", {"count": 9007199254740993, "loose": "5"}),
    )
    assert rows(places, "SELECT id, name, count, loose, typeof(loose) FROM places ORDER BY id") == [
        ("1", "5.0", 5, 5.0, "real"),
        ("2", None, 1, 0, "integer"),
        ("3", None, None, None, "null"),
        ("4", None, 9007199254740992, "5", "text"),
    ]


def test_own_statements_take_the_id_columns_and_the_rest(places: apsw.Connection) -> None:
    put = RawStatement("INSERT OR REPLACE INTO places(id, name, note) VALUES (?, upper(?), ?)", [ROW_ID, "name", REST])
    delete = RawStatement("UPDATE places SET note = 'gone ' || ? WHERE id = ?", [ROW_ID, ROW_ID])
    prepare(places, Schema([RawTable("spots", table_name="places", put=put, delete=delete)]))
    download = Download(places, "spots")
    download.apply(("PUT", "1", {"name": "x", "z": [1, 2], "a": "é"}), ("PUT", "2", {"name": "y"}))
    assert rows(places, "SELECT id, name, note FROM places ORDER BY id") == [
        ("1", "X", '{"a":"é","z":[1,2]}'),
        ("2", "Y", None),
    ]
    download.apply(("REMOVE", "1", None))
    assert rows(places, "SELECT note FROM places WHERE id = '1'") == [("gone 1",)]


def test_a_partial_checkpoint_writes_to_raw_tables_too(places: apsw.Connection) -> None:
    prepare(places, Schema([RawTable("places")]))
    Download(places).apply(("PUT", "1", {"name": "x"}), priority=1)
    assert rows(places, "SELECT id FROM places") == [("1",)]


@pytest.mark.parametrize(
    ("table", "row", "words"),
    [
        (RawTable("missing"), {}, "no table"),
        (RawTable("missing", table_name="places", synced_columns=["nope"]), {}, 'no column "nope"'),
        (RawTable("missing", table_name="anonymous"), {}, 'no column "id"'),
        (
            RawTable("missing", put=RawStatement("INSERT INTO places(id, name) VALUES (?, ?)", [ROW_ID])),
            {},
            "number of placeholders",
        ),
        (RawTable("missing", put=RawStatement("INSERT INTO nowhere VALUES (?)", [ROW_ID])), {}, "failed"),
        (RawTable("missing", table_name="places"), "[1]", "not a JSON object"),
        (RawTable("missing", table_name="places"), '{"count":1e400}', "not a JSON object"),
    ],
)
def test_what_cannot_be_written_is_said_and_nothing_is_committed(
    places: apsw.Connection, table: RawTable, row: object, words: str
) -> None:
    places.execute("CREATE TABLE anonymous(name)")
    prepare(places, Schema([table]))
    with pytest.raises(RawTableInvalid, match=words) as caught:
        Download(places, "missing").apply(("PUT", "1", row))
    assert caught.value.hint
    assert rows(places, "SELECT * FROM ps_buckets") == []
    assert rows(places, "SELECT * FROM ps_kv WHERE key = 'py_in_sync'") == []
    assert not places.in_transaction


def test_local_writes_are_captured_and_downloads_are_not(places: apsw.Connection) -> None:
    prepare(places, Schema([RawTable("places", synced_columns=["name", "count"], capture=True)]))
    write(
        places,
        "INSERT INTO places(id, name, count, note) VALUES ('1', 'é\"', 2, 'n')",
        "UPDATE places SET name = json_array(1), count = NULL",
        "UPDATE places SET note = 'other'",
    )
    write(places, "DELETE FROM places")
    assert queue(places) == [
        '{"op":"PUT","id":"1","type":"places","data":{"count":2,"name":"é\\""}}',
        '{"op":"PATCH","id":"1","type":"places","data":{"count":null,"name":"[1]"}}',
        '{"op":"DELETE","id":"1","type":"places"}',
    ]
    assert rows(places, "SELECT tx_id FROM ps_crud") == [(1,), (1,), (2,)]
    assert rows(places, "SELECT * FROM ps_updated_rows") == [("places", "1")]
    assert rows(places, "SELECT value FROM ps_kv WHERE key = 'target_checkpoint_request_id'") == [(2**63 - 1,)]
    places.execute("DELETE FROM ps_crud")
    places.execute("DELETE FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'")
    Download(places).apply(("PUT", "2", {"name": "x"}), ("PUT", "3", {"name": "y"}), ("REMOVE", "3", None))
    assert rows(places, "SELECT id FROM places") == [("2",)]
    assert queue(places) == []


def test_a_number_that_is_written_in_another_form_is_no_change(places: apsw.Connection) -> None:
    """As in the native core, which an untyped column showed: 1 and 1.0."""
    places.execute("CREATE TABLE shapes(id TEXT PRIMARY KEY, ratio)")
    prepare(places, Schema([RawTable("shapes", synced_columns=["ratio"], capture=True)]))
    write(places, "INSERT INTO shapes VALUES ('1', 1)")
    places.execute("DELETE FROM ps_crud")
    write(places, "UPDATE shapes SET ratio = 1.0")
    assert queue(places) == []
    write(places, "UPDATE shapes SET ratio = 1.5")
    assert queue(places) == ['{"op":"PATCH","id":"1","type":"shapes","data":{"ratio":1.5}}']


def test_a_rolled_back_write_leaves_nothing_in_the_queue(places: apsw.Connection) -> None:
    prepare(places, Schema([RawTable("places", capture=True)]))
    with pytest.raises(apsw.ConstraintError):
        write(places, "INSERT INTO places(id) VALUES ('1')", "INSERT INTO places(id) VALUES ('1')")
    assert queue(places) == []
    assert rows(places, "SELECT key FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'") == []


def test_captured_tables_track_what_views_do(places: apsw.Connection) -> None:
    table = RawTable(
        "places",
        synced_columns=["name", "count"],
        capture=True,
        track_previous=["name"],
        track_previous_only_when_changed=True,
        ignore_empty_updates=True,
    )
    prepare(places, Schema([table]))
    write(
        places,
        "INSERT INTO places(id, name) VALUES ('1', 'x')",
        "UPDATE places SET name = name",
        "UPDATE places SET count = 1",
        "UPDATE places SET name = NULL",
        "DELETE FROM places",
    )
    assert queue(places)[1:] == [
        '{"op":"PATCH","id":"1","type":"places","data":{"count":1},"old":{}}',
        '{"op":"PATCH","id":"1","type":"places","data":{"name":null},"old":{"name":"x"}}',
        '{"op":"DELETE","id":"1","type":"places","old":{"name":null}}',
    ]


def test_an_insert_only_raw_table_sends_and_waits_for_nothing(places: apsw.Connection) -> None:
    prepare(places, Schema([RawTable("places", synced_columns=["name"], capture=True, insert_only=True)]))
    write(places, "INSERT INTO places(id, name) VALUES ('1', 'x')")
    assert queue(places) == ['{"op":"PUT","type":"places","id":"1","data":{"name":"x"}}']
    assert rows(places, "SELECT key FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'") == []
    for sql in ("UPDATE places SET name = 'y'", "DELETE FROM places"):
        with pytest.raises(apsw.ConstraintError, match="on insert-only table"):
            write(places, sql)


@pytest.mark.parametrize("sql", ["UPDATE places SET id = '2'"])
def test_the_id_of_a_captured_row_never_changes(places: apsw.Connection, sql: str) -> None:
    prepare(places, Schema([RawTable("places", capture=True)]))
    write(places, "INSERT INTO places(id) VALUES ('1')")
    with pytest.raises(apsw.ConstraintError, match="Cannot update id"):
        write(places, sql)


def test_capture_follows_the_schema_and_the_tables_columns(places: apsw.Connection) -> None:
    def triggers() -> list[object]:
        return rows(places, "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name")

    captured = Schema([RawTable("places", capture=True), RawTable("later", capture=True)])
    prepare(places, captured)
    names = [("ps_capture_delete_places",), ("ps_capture_insert_places",), ("ps_capture_update_places",)]
    assert triggers() == names
    version = places.pragma("schema_version")
    prepare(places, captured)
    assert places.pragma("schema_version") == version
    places.execute("ALTER TABLE places ADD COLUMN colour")
    places.execute("CREATE TABLE later(id TEXT PRIMARY KEY)")
    prepare(places, captured)
    assert len(triggers()) == 6
    write(places, "INSERT INTO places(id, colour) VALUES ('1', 'red')")
    assert queue(places) == ['{"op":"PUT","id":"1","type":"places","data":{"colour":"red","note":"n"}}']
    prepare(places, Schema([RawTable("places")]))
    assert triggers() == []


def test_the_recipe_of_the_field_makes_the_same_triggers(places: apsw.Connection) -> None:
    table = RawTable("places", synced_columns=["name"], track_previous=True)
    prepare(places, Schema([table]))
    for event in ("INSERT", "update", "DELETE"):
        with write_transaction(places, local_writes=False):
            places.execute(
                "SELECT powersync_create_raw_table_crud_trigger(?, ?, ?)",
                (json.dumps(table.as_json()), f"mine_{event}", event),
            ).fetchall()
    write(places, "INSERT INTO places(id, name) VALUES ('1', 'x')", "DELETE FROM places")
    assert queue(places) == [
        '{"op":"PUT","id":"1","type":"places","data":{"name":"x"}}',
        '{"op":"DELETE","id":"1","type":"places","old":{"name":"x"}}',
    ]
    with pytest.raises(RawTableInvalid, match="no event"):
        places.execute(
            "SELECT powersync_create_raw_table_crud_trigger('{\"name\":\"places\"}', 'a', 'TRUNCATE')"
        ).fetchall()


def test_an_apps_own_trigger_may_guard_itself_without_a_function(places: apsw.Connection) -> None:
    prepare(places, Schema([RawTable("places")]))
    places.execute("CREATE TABLE log(id)")
    places.execute(
        "CREATE TRIGGER mine AFTER INSERT ON places"
        " WHEN NOT EXISTS (SELECT 1 FROM ps_kv WHERE key = 'py_in_sync') BEGIN INSERT INTO log VALUES (NEW.id); END"
    )
    Download(places).apply(("PUT", "1", {}))
    places.execute("INSERT INTO places(id) VALUES ('2')")
    assert rows(places, "SELECT * FROM log") == [("2",)]
    with write_transaction(places, local_writes=False), sync_writes(places):
        assert rows(places, "SELECT powersync_in_sync_operation()") == [(1,)]
    assert rows(places, "SELECT powersync_in_sync_operation()") == [(0,)]
    assert rows(places, "SELECT * FROM ps_kv WHERE key = 'py_in_sync'") == []


def test_another_connection_cannot_write_to_a_captured_table_unnoticed(tmp_path: Path) -> None:
    ours = open_writer(tmp_path / "app.db")
    ours.execute("CREATE TABLE places(id TEXT PRIMARY KEY)")
    prepare(ours, Schema([RawTable("places", capture=True)]))
    foreign = sqlite3.connect(tmp_path / "app.db")
    with pytest.raises(sqlite3.OperationalError, match="no such function: powersync_in_sync_operation"):
        foreign.execute("INSERT INTO places(id) VALUES ('1')")
    foreign.close()
    ours.close()


def test_the_virtual_tables_can_only_be_inserted_into(places: apsw.Connection) -> None:
    prepare(places, Schema([Table("lists", [Column.text("name")])]))
    for sql in ("SELECT * FROM powersync_crud", "DELETE FROM powersync_crud_", "SELECT * FROM powersync_crud_"):
        with pytest.raises(apsw.SQLError, match="only be inserted into"):
            places.execute(sql).fetchall()
    with pytest.raises(apsw.ConstraintError, match="required"):
        places.execute("INSERT INTO powersync_crud(op, id) VALUES ('PUT', '1')")
    write(places, "INSERT INTO powersync_crud(op, id, type, data, metadata) VALUES ('PUT', '1', 'x', '{}', 'm')")
    assert queue(places) == ['{"op":"PUT","id":"1","type":"x","data":{},"metadata":"m"}']
