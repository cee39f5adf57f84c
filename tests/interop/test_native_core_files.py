"""One file, both engines: texts in `sqlite_master`, migrations up and down, functions and triggers of the official core (C5)."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.local.layout import prepare
from syncline.client.local.local_connection import sync_writes
from syncline.client.schema import Schema
from tests.interop.core_events import Generator
from tests.interop.core_pair import INTERNAL, Images, Pair, rows
from tests.interop.core_schemas import RAW_TABLES_SQL, SCHEMAS
from tests.interop.native_core import NativeCore, core_library

TABLES = Schema([*SCHEMAS[0].tables])  # without raw ones
MASTER = (
    "SELECT type, name, sql FROM sqlite_master WHERE type <> 'trigger' AND name NOT GLOB 'sqlite_*' ORDER BY type, name"
)


@pytest.fixture(scope="module")
def library() -> Path:
    return core_library()


@pytest.fixture(scope="module")
def images(library: Path) -> Images:
    return Images(library)


def fill(core: NativeCore, seed: int) -> None:
    """Buckets with applied and unapplied operations, and a local write."""
    core.control("start", "{}")
    service = Generator(random.Random(seed), wrong=0)
    core.line(service.checkpoint())
    for _ in range(3):
        if service.buckets:
            core.line(service.data())
        core.line(service.diff())
    core.line({"checkpoint_complete": {"last_op_id": str(service.op_id)}})
    if service.buckets:
        core.line(service.data())
    core.control("stop")
    core.connection.execute("INSERT INTO lists(id, name) VALUES ('9', 'local')")


@pytest.mark.parametrize("index", range(len(SCHEMAS)))
def test_tables_indexes_and_views_have_the_texts_of_the_official_core(images: Images, index: int) -> None:
    pair = Pair(images)
    pair.set_schema(SCHEMAS[index])
    assert rows(pair.ours, MASTER) == rows(pair.core.connection, MASTER)
    views = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'ps_view_*' ORDER BY 1"
    assert rows(pair.ours, views) == rows(pair.core.connection, views)
    assert rows(pair.ours, "SELECT id FROM ps_migration") == rows(pair.core.connection, "SELECT id FROM ps_migration")


def test_a_file_goes_back_and_forth_between_the_official_core_and_us(library: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    ours = open_writer(path)
    prepare(ours, TABLES)
    with write_transaction(ours):
        ours.execute("INSERT INTO lists(id, name) VALUES ('1', 'ours')")
    texts = rows(ours, MASTER)
    ours.close()

    core = NativeCore(library, TABLES, path)
    assert rows(core.connection, MASTER) == texts
    core.connection.execute("UPDATE lists SET name = 'theirs' WHERE id = '1'")
    core.connection.close()

    ours = open_writer(path)
    prepare(ours, TABLES)
    assert rows(ours, MASTER) == texts
    with write_transaction(ours):
        ours.execute("UPDATE lists SET count = 3 WHERE id = '1'")
    assert rows(ours, "SELECT name, count FROM lists") == [("theirs", 3)]
    assert [
        (entry.op_data, entry.transaction_id)
        for transaction in CrudQueue(ours).transactions(10)
        for entry in transaction.entries
    ] == [({"name": "ours"}, 1), ({"name": "theirs"}, 2), ({"count": 3}, 3)]
    ours.close()


@pytest.mark.parametrize("version", range(13, 0, -1))
def test_an_older_official_core_takes_a_file_of_ours_back_to_its_version(images: Images, version: int) -> None:
    """The statements in ps_migration, executed by the core itself, lead to the same tables as the core's own statements."""
    pair = Pair(images)
    generator = Generator(random.Random(version), wrong=0)
    for _ in range(40):
        event = generator.next()
        if event.kind in ("checkpoint", "data", "diff", "local", "diff and complete", "subscribe") and pair.play(event):
            pair.start()
            generator.reopened([name for (name,) in rows(pair.ours, "SELECT name FROM ps_buckets")], 0)
    pair.compare()
    pair.core.control("stop")
    ours, theirs = pair.ours, pair.core.connection
    ours.enable_load_extension(True)
    ours.load_extension(str(images.library), "sqlite3_powersync_init")
    for connection in (ours, theirs):
        migrate(connection, version)
    # Not compared: texts of migrations, times, and keys of a table that version does not read.
    hidden = {"down_migrations", "last_synced_at", "expires_at", "tx_id", "next_tx"}
    for (table,) in rows(theirs, "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'ps_*'"):
        columns = table_columns(theirs, table)
        assert columns == table_columns(ours, table), table
        if table != "ps_kv":
            shown = ", ".join(sorted(set(columns) - hidden))
            query = f'SELECT {shown} FROM "{table}" ORDER BY {shown}'
            assert rows(ours, query) == rows(theirs, query), table
    for connection in (ours, theirs):
        migrate(connection, 14)
    for name in ("ps_buckets", "ps_oplog", "ps_updated_rows", "ps_kv"):
        assert rows(ours, INTERNAL[name]) == rows(theirs, INTERNAL[name]), name
    pair.close()


@pytest.mark.parametrize("version", range(13, 0, -1))
def test_a_file_of_an_older_official_core_becomes_what_the_core_makes_of_it(library: Path, version: int) -> None:
    """Both bring the same old file up to date: every table and every text is the same, the data too."""
    old = NativeCore(library, TABLES)
    fill(old, version)
    old.migrate(version)
    if version < 5:
        age_oplog(old.connection, with_checksums=version == 4)
    image = old.connection.serialize("main")
    old.connection.close()

    core = NativeCore(library, TABLES, image=image)
    ours = open_writer(":memory:")
    ours.deserialize("main", image)
    prepare(ours, TABLES)
    theirs = core.connection
    assert rows(ours, MASTER) == rows(theirs, MASTER)
    for name, query in INTERNAL.items():
        if name != "ps_stream_subscriptions":
            assert rows(ours, query) == rows(theirs, query), name
    for table in TABLES.tables:
        query = f"SELECT * FROM {table.internal_name} ORDER BY id"
        assert rows(ours, query) == rows(theirs, query)
    assert rows(ours, "SELECT * FROM ps_tx") == rows(theirs, "SELECT * FROM ps_tx")
    assert rows(ours, "SELECT id FROM ps_migration") == rows(theirs, "SELECT id FROM ps_migration")
    assert CrudQueue(ours).target() == 2**63 - 1
    ours.close()


def age_oplog(connection: apsw.Connection, *, with_checksums: bool) -> None:
    """What clients of 2023 kept besides live operations: removed and superseded ones, with their checksums."""
    bucket = rows(connection, "SELECT name FROM ps_buckets WHERE name <> '$local' LIMIT 1")[0][0]
    connection.executemany(
        "INSERT INTO ps_oplog(bucket, op_id, op, row_type, row_id, key, data, hash, superseded)"
        " VALUES (?, ?, ?, 'lists', ?, ?, ?, ?, ?)",
        [
            (bucket, 500, 3, "old", "lists/old/null", "{}", 2**31 + 5, 1),
            (bucket, 501, 3, "old", "lists/old/null", "{}", 7, 0),
            (bucket, 502, 4, "gone", "lists/gone/null", None, -9, 0),
            (bucket, 503, 4, "gone", "lists/gone/null", None, 2**32 - 1, 1),
            ("$local", 1, 4, "mine", None, None, 0, 0),
        ],
    )
    if with_checksums:
        connection.execute(
            "UPDATE ps_buckets SET op_checksum = (SELECT sum(hash) & 0xffffffff FROM ps_oplog WHERE bucket = ?)"
            " WHERE name = ?",
            (bucket, bucket),
        )
    connection.execute("INSERT INTO ps_data__lists(id, data) VALUES ('dangling', '{}')")


def table_columns(connection: apsw.Connection, table: str) -> list[str]:
    return [str(name) for (name,) in rows(connection, f"SELECT name FROM pragma_table_info('{table}') ORDER BY 1")]


def migrate(connection: apsw.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("SELECT powersync_test_migration(?)", (version,)).fetchall()
    connection.execute("COMMIT")


def test_the_functions_of_the_official_core_answer_alike(library: Path) -> None:
    core, ours = NativeCore(library, TABLES).connection, open_writer(":memory:")
    chance = random.Random(1)
    values: list[Any] = [
        "x",
        "é\u2028\n\x01",
        None,
        1,
        1.0,
        2.5,
        True,
        False,
        [1, {"b": 2, "a": 1}],
        {"b": [], "a": None},
        -7,
    ]

    def some() -> str:
        keys = chance.sample(["a", "b", "c", "é", "A"], chance.randrange(5))
        return json.dumps({key: chance.choice(values) for key in keys}, ensure_ascii=chance.random() < 0.5)

    for _ in range(300):
        for sql, bindings in (
            ("SELECT powersync_diff(?, ?)", (some(), some())),
            ("SELECT powersync_strip_subtype(?)", (chance.choice(["x", 1, 1.5, None]),)),
            ("SELECT json_object('a', powersync_strip_subtype(json_array(?)))", (1,)),
        ):
            assert ours.execute(sql, bindings).fetchall() == core.execute(sql, bindings).fetchall(), bindings
    for key in ('lists/1/"a"', 'lists/1/"a\\"b"', "lists/1/null", "lists/1/a", 'a/b/c/"é"', 'lists/"1"/"2"', 'x/1/"'):
        sql = "SELECT powersync_remove_duplicate_key_encoding(?)"
        assert ours.execute(sql, (key,)).fetchall() == core.execute(sql, (key,)).fetchall(), key
    merge = "SELECT powersync_json_merge('{\"a\":1}', '{\"b\":[1,2]}')"
    assert rows(ours, merge) == rows(core, merge) == [('{"a":1,"b":[1,2]}',)]
    ours.close()


def test_views_of_a_file_that_the_official_core_made_can_be_written_through_without_being_made_again(
    library: Path, tmp_path: Path
) -> None:
    """Their triggers use functions and virtual tables, which our connection has: before and without `prepare`."""
    path = tmp_path / "app.db"
    core = NativeCore(library, TABLES, path)
    statements = (
        "INSERT INTO lists(id, name, count, ratio) VALUES ('1', 'é\"', 2, 2.0)",
        "UPDATE lists SET count = NULL, name = json_array(1) WHERE id = '1'",
        "INSERT INTO logs(id, message) VALUES ('1', 'x')",
        "INSERT INTO tracked(id, a, _metadata) VALUES ('1', 1, 'why')",
        "UPDATE tracked SET a = a",
        "UPDATE tracked SET a = 2, b = 'x'",
        "UPDATE tracked SET _deleted = TRUE, _metadata = 'bye'",
        "INSERT INTO changed(id, a, b) VALUES ('1', 1, 'x')",
        "UPDATE changed SET a = 2, b = 'y'",
        "INSERT INTO wide(id, c3) VALUES ('1', 'x')",
        "UPDATE wide SET c59 = 'y'",
        "DELETE FROM lists",
    )
    for sql in statements:
        core.connection.execute(sql)
    expected = rows(core.connection, "SELECT data FROM ps_crud ORDER BY id")
    core.connection.execute("DELETE FROM ps_crud")
    for table in TABLES.tables:
        core.connection.execute(f"DELETE FROM {table.internal_name}")
    core.connection.close()
    ours = open_writer(path)
    for sql in statements:
        with write_transaction(ours):
            ours.execute(sql)
    assert rows(ours, "SELECT data FROM ps_crud ORDER BY id") == expected
    assert rows(ours, INTERNAL["ps_kv"]) == [("target_checkpoint_request_id", 2**63 - 1)]
    ours.close()


@pytest.mark.parametrize("maker", ["core", "ours"])
def test_triggers_on_raw_tables_work_for_both_whoever_made_them(library: Path, tmp_path: Path, maker: str) -> None:
    path = tmp_path / "app.db"
    made = open_writer(path)
    for sql in RAW_TABLES_SQL:
        made.execute(sql)
    prepare(made, SCHEMAS[0] if maker == "ours" else Schema([]))
    made.close()
    core = NativeCore(library, SCHEMAS[0], path)
    if maker == "core":
        core.capture(SCHEMAS[0])

    def write(connection: apsw.Connection) -> None:
        for sql in (
            "INSERT INTO places(id, name, count) VALUES ('1', 'x', 2)",
            "UPDATE places SET name = 'y', note = 'n'",
            "UPDATE places SET note = 'm'",
            "DELETE FROM places",
            "INSERT INTO visits(id, name, count) VALUES ('1', 'é', 1.5)",
            "UPDATE visits SET count = count",
            "UPDATE visits SET count = NULL",
        ):
            connection.execute(sql)

    write(core.connection)
    expected = rows(core.connection, "SELECT data FROM ps_crud ORDER BY id")
    assert len(expected) == 5
    core.connection.execute("DELETE FROM ps_crud")
    core.connection.execute("DELETE FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'")
    core.connection.execute("DELETE FROM visits")
    core.connection.execute("DELETE FROM ps_crud")
    core.connection.execute("DELETE FROM ps_kv WHERE key GLOB '*_checkpoint_request_id'")
    # A download is no local write.
    core.control("start", json.dumps({"schema": {"tables": [], "raw_tables": [SCHEMAS[0].raw_tables[0].as_json()]}}))
    bucket = {"bucket": "a", "checksum": 5, "count": 1, "priority": 3}
    core.line({"checkpoint": {"last_op_id": "1", "write_checkpoint": None, "buckets": [bucket], "streams": []}})
    put = {"op_id": "1", "op": "PUT", "object_type": "places", "object_id": "7", "checksum": 5, "data": '{"name":"z"}'}
    core.line({"data": {"bucket": "a", "data": [put]}})
    core.line({"checkpoint_complete": {"last_op_id": "1"}})
    assert rows(core.connection, "SELECT id, name FROM places") == [("7", "z")]
    assert rows(core.connection, "SELECT * FROM ps_crud") == []
    core.connection.execute("DELETE FROM places")
    core.connection.execute("DELETE FROM ps_crud")
    core.connection.close()

    ours = open_writer(path)
    with write_transaction(ours):
        write(ours)
    assert rows(ours, "SELECT data FROM ps_crud ORDER BY id") == expected
    with write_transaction(ours, local_writes=False), sync_writes(ours):
        ours.execute("DELETE FROM visits")
    assert rows(ours, "SELECT data FROM ps_crud ORDER BY id") == expected
    ours.close()
