"""Files of other versions of the layout, and what a file is given once (client SQLite reference, 1 and 2)."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from syncline.client.errors import PendingWrites
from syncline.client.local.base_tables import SCHEMA_VERSION
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.layout import client_id, prepare
from syncline.client.local.migrations import DOWN_STATEMENTS_MAX, FileVersionUnsupported, bring_down
from syncline.client.local.seed import write_seed
from syncline.client.local.subkeys import plain_key
from syncline.client.schema import Column, Schema, Table


def rows(connection: apsw.Connection, sql: str) -> list[object]:
    return list(connection.execute(sql))


def newer(connection: apsw.Connection, version: int, *statements: str, text: str | None = None) -> None:
    """Make the file one of a version to come, which added a column to the queue."""
    connection.execute("ALTER TABLE ps_crud ADD COLUMN weight")
    down = json.dumps([{"sql": sql} for sql in statements])
    connection.execute("INSERT INTO ps_migration VALUES (?, ?)", (version, down if text is None else text))


def state(connection: apsw.Connection) -> list[object]:
    return rows(connection, "SELECT name, sql FROM sqlite_master ORDER BY name") + rows(
        connection, "SELECT * FROM ps_migration"
    )


def test_a_newer_file_is_brought_down_by_what_it_carries_for_this(connection: apsw.Connection, schema: Schema) -> None:
    connection.execute("INSERT INTO lists(id, name) VALUES ('1', 'x')")
    before = state(connection)
    newer(
        connection,
        15,
        "SELECT powersync_drop_view('lists')",
        "ALTER TABLE ps_crud DROP COLUMN weight",
        "DELETE FROM ps_migration WHERE id >= 15",
    )
    prepare(connection, schema)
    assert state(connection) == before
    assert rows(connection, "SELECT id, name FROM lists") == [("1", "x")]
    assert len(rows(connection, "SELECT * FROM ps_crud")) == 1


def test_several_newer_versions_are_taken_back_one_by_one(connection: apsw.Connection, schema: Schema) -> None:
    newer(connection, 15, "ALTER TABLE ps_crud DROP COLUMN weight", "DELETE FROM ps_migration WHERE id >= 15")
    connection.execute(
        "INSERT INTO ps_migration VALUES (17, ?)",
        (json.dumps([{"sql": "DELETE FROM ps_migration WHERE id >= ?", "params": [16]}]),),
    )
    prepare(connection, schema)
    assert rows(connection, "SELECT max(id) FROM ps_migration") == [(SCHEMA_VERSION,)]


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        ((), None),
        (("DELETE FROM nowhere",), None),
        (("SELECT 1",), None),  # leads nowhere: the version stays
        (("ALTER TABLE ps_crud DROP COLUMN weight", "SELECT no_such_function()"), None),
        ((), "not json"),
        ((), '[{"statement":"x"}]'),
        (("SELECT 1",) * (DOWN_STATEMENTS_MAX + 1), None),
    ],
)
def test_a_newer_file_that_cannot_be_brought_down_is_refused_untouched(
    connection: apsw.Connection, schema: Schema, statements: tuple[str, ...], text: str | None
) -> None:
    newer(connection, 15, *statements, text=text)
    before = state(connection)
    with pytest.raises(FileVersionUnsupported, match="version 15") as caught:
        prepare(connection, schema)
    assert "Update Syncline" in caught.value.hint
    assert state(connection) == before


@pytest.mark.requirement(85)
@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_going_down_and_up_again_keeps_rows_and_texts(
    connection: apsw.Connection, schema: Schema, version: int
) -> None:
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id, name) VALUES ('1', 'x')")
    connection.execute("INSERT INTO ps_buckets(name, last_op, add_checksum) VALUES ('a', 5, 7)")
    connection.execute("INSERT INTO ps_oplog VALUES (1, 5, 'lists', '2', 'lists/2/null', '{}', -2)")
    connection.execute("UPDATE ps_buckets SET op_checksum = 4294967294")
    before = state(connection)
    with write_transaction(connection, local_writes=False):
        assert bring_down(connection, SCHEMA_VERSION, version) == version
    prepare(connection, schema)
    assert sorted(map(str, state(connection))) == sorted(map(str, before))
    assert rows(connection, "SELECT id, name FROM lists") == [("1", "x")]
    assert rows(connection, "SELECT name, last_op, add_checksum, op_checksum FROM ps_buckets") == [
        ("a", 5, 7, 4294967294)
    ]
    assert rows(connection, "SELECT op_id, row_id, hash FROM ps_oplog") == [(5, "2", -2)]
    assert rows(connection, "SELECT count(*) FROM ps_crud") == [(1,)]
    assert rows(connection, "SELECT value FROM ps_kv WHERE key = 'target_checkpoint_request_id'") == [(2**63 - 1,)]
    # Before version 6 a row without an operation could be left behind: it is derived again.
    assert rows(connection, "SELECT row_type, row_id FROM ps_updated_rows") == [("lists", "1")]


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        ('lists/1/"a"', "lists/1/a"),
        (r'lists/1/"a\"b"', 'lists/1/a"b'),
        ('lists/1/"é/\\u00e9"', "lists/1/é/é"),
        ("lists/1/null", None),
        ("lists/1/a", None),
        ('lists/1/"', None),
        ('lists/"1"/a', None),
        ("", None),
    ],
)
def test_keys_of_older_javascript_clients_become_plain(stored: str, plain: str | None) -> None:
    assert plain_key(stored) == plain


def test_the_keys_of_a_file_become_plain_once(connection: apsw.Connection, schema: Schema) -> None:
    connection.execute("""INSERT INTO ps_oplog VALUES (1, 5, 'lists', '2', 'lists/2/""" + '"a"' + "', '{}', 2)")
    connection.execute("INSERT INTO ps_oplog VALUES (1, 6, 'lists', '2', 'lists/2/null', '{}', 2)")
    connection.execute("DELETE FROM ps_kv WHERE key = 'powersync_js_migrated_subkeys'")
    prepare(connection, schema)
    assert rows(connection, "SELECT key FROM ps_oplog ORDER BY op_id") == [("lists/2/a",), ("lists/2/null",)]
    assert rows(connection, "SELECT value FROM ps_kv WHERE key = 'powersync_js_migrated_subkeys'") == [("1",)]
    connection.execute("""UPDATE ps_oplog SET key = 'lists/2/"b"'""")
    prepare(connection, schema)
    assert rows(connection, "SELECT DISTINCT key FROM ps_oplog") == [('lists/2/"b"',)]


def test_a_file_that_was_stopped_before_its_first_version_is_made_whole() -> None:
    connection = open_writer(":memory:")
    connection.execute("CREATE TABLE ps_migration(id INTEGER PRIMARY KEY, down_migrations TEXT)")
    prepare(connection, Schema([Table("lists", [])]))
    connection.execute("INSERT INTO lists(id) VALUES ('1')")
    connection.close()


def test_a_copy_that_is_shipped_becomes_a_client_of_its_own(tmp_path: Path) -> None:
    schema = Schema([Table("lists", [Column.text("name")]), Table("drafts", [], local_only=True)])
    first = open_writer(tmp_path / "first.db")
    prepare(first, schema)
    first.execute("""INSERT INTO ps_data__lists VALUES ('1', '{"name":"x"}')""")
    first.execute("INSERT INTO drafts(id) VALUES ('1')")
    first.execute("INSERT INTO ps_sync_state VALUES (2147483647, 1000)")
    first.execute("INSERT INTO ps_kv VALUES ('py_account', 'ann')")
    first.execute("CREATE TABLE private(a)")
    first.execute("INSERT INTO private VALUES (1)")
    write_seed(first, tmp_path / "seed.db", private_tables=["private", "missing"])
    ids = {client_id(first)}
    assert rows(first, "SELECT id FROM drafts") == [("1",)]
    first.close()
    seed = apsw.Connection(str(tmp_path / "seed.db"))
    assert rows(seed, "SELECT key FROM ps_kv") == [("powersync_js_migrated_subkeys",)]
    assert rows(seed, "SELECT * FROM private") == []
    image = seed.serialize("main")
    seed.close()
    for _ in range(2):
        copy = open_writer(":memory:")
        copy.deserialize("main", image)
        prepare(copy, schema)
        ids.add(client_id(copy))
        assert rows(copy, "SELECT id, name FROM lists") == [("1", "x")]
        assert rows(copy, "SELECT id FROM drafts") == []
        assert rows(copy, "SELECT priority FROM ps_sync_state") == [(2147483647,)]
        copy.close()
    assert len(ids) == 3


def test_a_file_with_local_writes_is_not_shipped(connection: apsw.Connection, tmp_path: Path) -> None:
    connection.execute("INSERT INTO lists(id) VALUES ('1')")
    with pytest.raises(PendingWrites):
        write_seed(connection, tmp_path / "seed.db")
    assert not (tmp_path / "seed.db").exists()
