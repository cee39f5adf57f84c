"""The file follows the app's schema and keeps its data."""

from __future__ import annotations

import apsw
import pytest

from syncline.client.local.connection import write_transaction
from syncline.client.local.layout import FileVersionUnsupported, NameTaken, clear, client_id, prepare
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


@pytest.mark.parametrize(("version", "words"), [(15, "Update Syncline"), (7, "current official SDK")])
def test_a_file_of_another_layout_is_refused_untouched(
    connection: apsw.Connection, schema: Schema, version: int, words: str
) -> None:
    connection.execute("DELETE FROM ps_migration WHERE id > 6")
    connection.execute("INSERT OR REPLACE INTO ps_migration(id) VALUES (?)", (version,))
    with pytest.raises(FileVersionUnsupported) as caught:
        prepare(connection, schema)
    assert words in caught.value.hint


@pytest.mark.requirement(61)
def test_clearing_leaves_the_client_id_and_local_rows(connection: apsw.Connection) -> None:
    before = client_id(connection)
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id, name) VALUES ('1', 'x'), ('2', 'x')")
        connection.execute("INSERT INTO drafts(id, body) VALUES ('1', 'x')")
    seen: list[str] = []
    connection.set_update_hook(lambda _kind, _database, table, _rowid: seen.append(table))
    with write_transaction(connection):
        clear(connection)
    assert "ps_data__lists" in seen
    assert client_id(connection) == before
    for table in ("lists", "ps_crud", "ps_updated_rows", "ps_buckets", "ps_oplog", "ps_sync_state"):
        assert connection.execute(f"SELECT * FROM {table}").fetchall() == []
    assert connection.execute("SELECT key FROM ps_kv").fetchall() == [("client_id",)]
    assert connection.execute("SELECT id FROM drafts").fetchall() == [("1",)]
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id) VALUES ('3')")
    [(crud_id, tx_id)] = connection.execute("SELECT id, tx_id FROM ps_crud").fetchall()
    assert crud_id == 3
    assert isinstance(tx_id, int)
    assert tx_id > 1
    with write_transaction(connection):
        clear(connection, clear_local=True)
    assert connection.execute("SELECT id FROM drafts").fetchall() == []


def test_a_database_without_a_client_id_says_so(connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM ps_kv")
    with pytest.raises(ClientError, match="no client id"):
        client_id(connection)
