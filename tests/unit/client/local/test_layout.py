"""The file follows the app's schema and keeps its data."""

from __future__ import annotations

import apsw
import pytest

from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.layout import NameTaken, client_id, prepare
from syncline.client.schema import Column, Schema, Table
from syncline.errors import ClientError


def names(connection: apsw.Connection, kind: str) -> set[object]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = ?", (kind,))}


def test_preparing_again_with_the_same_schema_writes_nothing(connection: apsw.Connection, schema: Schema) -> None:
    before = connection.pragma("schema_version"), connection.total_changes(), client_id(connection)
    prepare(connection, schema)
    assert (connection.pragma("schema_version"), connection.total_changes(), client_id(connection)) == before


@pytest.mark.requirement(85)
def test_a_new_column_shows_what_rows_have_brought_already(connection: apsw.Connection) -> None:
    connection.execute("""INSERT INTO ps_data__lists VALUES ('1', '{"name":"x","colour":"red"}')""")
    prepare(connection, Schema([Table("lists", [Column.text("name"), Column.text("colour")])]))
    assert connection.execute("SELECT * FROM lists").fetchall() == [("1", "x", "red")]


@pytest.mark.requirement(85)
def test_rows_wait_in_untyped_for_the_table_that_shows_them(connection: apsw.Connection, schema: Schema) -> None:
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id, name) VALUES ('1', 'x')")
        connection.execute("INSERT INTO drafts(id, body) VALUES ('1', 'x')")
    prepare(connection, Schema([]))
    assert names(connection, "view") == set()
    assert connection.execute("SELECT type, id FROM ps_untyped").fetchall() == [("lists", "1")]
    prepare(connection, schema)
    assert connection.execute("SELECT id, name FROM lists").fetchall() == [("1", "x")]
    assert connection.execute("SELECT * FROM ps_untyped").fetchall() == []
    assert connection.execute("SELECT * FROM drafts").fetchall() == []


@pytest.mark.requirement(93)
def test_indexes_follow_the_schema_and_are_used_by_the_view(connection: apsw.Connection) -> None:
    columns = [Column.text("name"), Column.integer("count")]
    prepare(connection, Schema([Table("lists", columns, indexes={"by_name": ["name"], "gone": ["count"]})]))
    [plan] = connection.execute("EXPLAIN QUERY PLAN SELECT id FROM lists WHERE name = 'x'").fetchall()
    assert "USING INDEX ps_data__lists__by_name" in str(plan)
    prepare(connection, Schema([Table("lists", columns, indexes={"by_name": ["name", "-count"]})]))
    texts = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE name GLOB 'ps_data__lists__*'")]
    assert texts == [
        'CREATE INDEX "ps_data__lists__by_name" ON "ps_data__lists"('
        "CAST(json_extract(data, '$.name') as TEXT), CAST(json_extract(data, '$.count') as INTEGER) DESC)"
    ]


def test_a_view_name_renames_the_view_only(connection: apsw.Connection) -> None:
    prepare(connection, Schema([Table("lists", [Column.text("name")], view_name="my_lists")]))
    assert names(connection, "view") == {"my_lists"}
    with write_transaction(connection):
        connection.execute("INSERT INTO my_lists(id) VALUES ('1')")
    assert connection.execute("SELECT data FROM ps_crud").fetchall() == [
        ('{"op":"PUT","id":"1","type":"lists","data":{}}',)
    ]


def test_a_table_of_the_apps_own_is_never_replaced(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE mine(a)")
    with pytest.raises(NameTaken) as caught:
        prepare(connection, Schema([Table("Mine", [])]))
    assert "view_name" in caught.value.hint
    assert {"mine", "ps_data__lists"} <= names(connection, "table")


def test_a_database_without_a_client_id_says_so(connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM ps_kv")  # by another program, while the database is open
    with pytest.raises(ClientError, match="no client id"):
        client_id(connection)


def test_switching_between_local_only_and_synced_begins_with_an_empty_table(connection: apsw.Connection) -> None:
    connection.execute("INSERT INTO drafts(id, body) VALUES ('1', 'x')")
    prepare(connection, Schema([Table("drafts", [Column.text("body")])]))
    assert connection.execute("SELECT * FROM drafts").fetchall() == []
    assert names(connection, "table") >= {"ps_data__drafts"}
    connection.execute("INSERT INTO drafts(id, body) VALUES ('2', 'y')")
    prepare(connection, Schema([Table("drafts", [Column.text("body")], local_only=True)]))
    assert connection.execute("SELECT * FROM drafts").fetchall() == []
    assert connection.execute("SELECT type, id FROM ps_untyped").fetchall() == [("drafts", "2")]


def test_triggers_that_are_not_ours_stay_while_the_view_does(connection: apsw.Connection, schema: Schema) -> None:
    connection.execute("CREATE TABLE log(id)")
    connection.execute("CREATE TRIGGER mine AFTER INSERT ON ps_data__lists BEGIN INSERT INTO log VALUES (NEW.id); END")
    prepare(connection, schema)
    prepare(connection, Schema([Table("lists", [Column.text("colour")])]))  # another view on the same table
    connection.execute("INSERT INTO lists(id) VALUES ('1')")
    assert connection.execute("SELECT * FROM log").fetchall() == [("1",)]


@pytest.mark.requirement(96)
def test_one_schema_serves_several_databases() -> None:
    schema = Schema([Table("lists", [Column.text("name")])])
    for _ in range(2):
        connection = open_writer(":memory:")
        prepare(connection, schema)
        connection.execute("INSERT INTO lists(id) VALUES ('1')")
        assert connection.execute("SELECT id FROM lists").fetchall() == [("1",)]
        connection.close()
