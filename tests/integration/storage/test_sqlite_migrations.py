"""Layouts of the SQLite files, up and down, with data in them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import apsw
import pytest

from syncline.errors import StorageUnavailable, StorageVersionUnsupported
from syncline.storage.model import CurrentRow, FlushBatch, SnapshotProgress
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.migrations import LAYOUT, migrate
from tests.conformance.storage_suite.builders import (
    begun,
    committed,
    compact,
    lookup,
    names_of,
    ops_of,
    put,
    remove,
    totals_of,
)

A = "10#a[]"


def layout_1(folder: Path) -> None:
    """Both files as the first release made them, with data."""
    folder.mkdir()
    scripts = resources.files("syncline.storage.sqlite").joinpath("sql", "migrations")
    for name, data in {
        "storage": """
            INSERT INTO version VALUES (10, 'active', 'streams: {}', 'slot', 'source', 1, 'A', 'B', 3, 'B');
            INSERT INTO source_table VALUES (1, 10, 'public', 'todos', 7, '["id"]', 'done');
            INSERT INTO bucket VALUES (1, 10, '10#a[]', 1, 11, 1, 2, 33, 2);
            INSERT INTO op VALUES (1, 1, 1, 'todos', '1', 11, 'key-1', '{}', NULL), (2, 1, 1, 'todos', '1', 22, 'key-1', '{}', NULL);
            INSERT INTO lookup_entry VALUES (10, 'l[1]', 1, x'01', 3, '10#a[]');
            INSERT INTO current_row VALUES (1, 1, x'01', '[["10#a[]","todos","1"]]', '[]', NULL);
            UPDATE storage_meta SET value = 3 WHERE key = 'last_op';
            UPDATE storage_meta SET value = 10 WHERE key = 'highest_version';
        """,
        "control": "INSERT INTO write_checkpoint VALUES ('u', 5, 'A', 1);",
    }.items():
        connection = apsw.Connection(str(folder / f"{name}.db"))
        connection.execute(scripts.joinpath(f"{name}_1_up.sql").read_text("utf-8") + data).fetchall()
        connection.close()


def shape(path: Path) -> dict[str, Any]:
    """Tables and indexes with their columns, whatever the words they were made with."""
    connection = apsw.Connection(str(path))
    tables: list[Any] = connection.execute(
        "SELECT name, type FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    found = {
        name: connection.execute(f"PRAGMA {'table_info' if kind == 'table' else 'index_info'}({name})").fetchall()
        for name, kind in tables
    }
    connection.close()
    return found


def layout_of(folder: Path) -> list[Any]:
    found: list[Any] = []
    for name in ("storage", "control"):
        connection = apsw.Connection(str(folder / f"{name}.db"))
        found.append(connection.execute(f"SELECT value FROM {name}_meta WHERE key = 'schema_version'").get)
        connection.close()
    return found


async def test_a_storage_of_the_first_release_goes_on_with_its_data(tmp_path: Path) -> None:
    layout_1(tmp_path / "old")
    storage = SqliteStorage(tmp_path / "old")
    reader, checkpoints = storage.open_reader(), storage.open_write_checkpoints()
    assert layout_of(tmp_path / "old") == [LAYOUT, LAYOUT]
    assert (await totals_of(reader, 10, A))[A] == (2, 33, 2)
    assert await names_of(reader, 10, "l[1]") == [A]
    assert await checkpoints.reached("u", "A") == 5
    assert await checkpoints.expire_requests(older_than_s=-1) == 0  # a counter
    writer = storage.open_writer()
    assert [(table.progress, table.definition) for table in writer.tables(10)] == [(None, "")]
    assert [size.new_ops for size in writer.compaction_candidates(10, buckets_max=9)] == [2]
    assert compact(writer, A) == 1
    assert committed(writer, 10, "C", put(A, "2")).op_id == 4
    assert (await totals_of(reader, 10, A))[A].op_count == 3
    writer.close()
    await reader.close()
    await checkpoints.close()


async def test_the_way_down_and_up_again_keeps_what_the_older_release_can_hold(tmp_path: Path) -> None:
    layout_1(tmp_path / "old")
    folder = tmp_path / "new"
    storage = SqliteStorage(folder)
    writer, checkpoints = storage.open_writer(), storage.open_write_checkpoints()
    begun(writer)
    table = writer.add_table(10, schema="public", name="t", relation_id=1, key_columns=["id"], definition="id:text")
    writer.save_snapshot_progress(table.id, SnapshotProgress(1, 2, 3, 4))
    rows: dict[tuple[int, bytes], CurrentRow | None] = {(table.id, b"k"): CurrentRow((), ())}
    writer.flush(10, FlushBatch(rows=rows, custom_write_checkpoints={"u": 7}))
    last = committed(writer, 10, "A", put(A, "1"), put(A, "1", "[2]"), remove(A, "1"), lookups=[lookup("l[1]", A)])
    compact(writer, A)
    writer.record_error(10, "[PSYNC_S1120] gone")
    await checkpoints.request("asked", 9, "A")
    writer.close()
    await checkpoints.close()

    migrate(folder, to=1)
    assert layout_of(folder) == [1, 1]
    assert shape(folder / "storage.db") == shape(tmp_path / "old" / "storage.db")
    assert shape(folder / "control.db") == shape(tmp_path / "old" / "control.db")
    migrate(folder, to=1)  # nothing is left to do, by way of the newest layout
    assert layout_of(folder) == [1, 1]

    reader, checkpoints = storage.open_reader(), storage.open_write_checkpoints()
    [clear] = await ops_of(reader, A, checkpoint_op=last.op_id)
    assert (await totals_of(reader, 10, A))[A] == (clear.op_id, clear.checksum, 1)
    assert await names_of(reader, 10, "l[1]") == [A]
    assert await reader.custom_write_checkpoint(10, "u") is None  # the source has it: a new version brings it back
    assert await checkpoints.reached("asked", "A") == 9
    assert await checkpoints.expire_requests(older_than_s=-1) == 0  # it has become a counter
    writer = storage.open_writer()
    assert [stored.progress for stored in writer.tables(10)] == [None]
    assert writer.current_rows(table.id, [b"k"]) == {b"k": CurrentRow((), ())}
    writer.close()
    await reader.close()
    await checkpoints.close()


def test_a_new_file_and_a_migrated_one_have_the_same_shape(tmp_path: Path) -> None:
    layout_1(tmp_path / "old")
    for name in ("old", "new"):
        SqliteStorage(tmp_path / name).open_writer().close()
        migrate(tmp_path / name, to=LAYOUT)
    for file in ("storage.db", "control.db"):
        assert shape(tmp_path / "old" / file) == shape(tmp_path / "new" / file)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    layout_1(folder)
    connection = apsw.Connection(str(folder / "storage.db"))
    connection.execute("CREATE TABLE custom_write_checkpoint (somebody_elses)").fetchall()
    before = shape(folder / "storage.db")
    with pytest.raises(apsw.SQLError, match="custom_write_checkpoint"):
        SqliteStorage(folder).open_writer()
    assert shape(folder / "storage.db") == before
    assert layout_of(folder) == [1, 1]
    connection.execute("DROP TABLE custom_write_checkpoint").fetchall()
    connection.close()
    SqliteStorage(folder).open_writer().close()


def test_the_way_down_needs_the_service_stopped(tmp_path: Path) -> None:
    writer = SqliteStorage(tmp_path / "s").open_writer()
    with pytest.raises(StorageUnavailable) as caught:
        migrate(tmp_path / "s", to=1)
    assert caught.value.error_code == "PSYNC_S1003"
    writer.close()


@pytest.mark.parametrize("layout", [0, LAYOUT + 1])
def test_an_unknown_layout_is_no_destination(tmp_path: Path, layout: int) -> None:
    with pytest.raises(ValueError, match="layouts 1 to"):
        migrate(tmp_path, to=layout)


@pytest.mark.parametrize("name", ["storage", "control"])
async def test_a_file_of_a_newer_layout_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    storage = SqliteStorage(tmp_path / "s")
    storage.open_writer().close()
    await storage.open_write_checkpoints().close()
    connection = apsw.Connection(str(tmp_path / "s" / f"{name}.db"))
    connection.execute(f"UPDATE {name}_meta SET value = 99 WHERE key = 'schema_version'").fetchall()
    connection.close()
    openers = {"storage": [storage.open_writer, storage.open_reader], "control": [storage.open_write_checkpoints]}
    for opener in [*openers[name], lambda: migrate(tmp_path / "s", to=1)]:
        with pytest.raises(StorageVersionUnsupported, match="delete the storage files"):
            opener()
