"""What is wrong with the disk is said with path, space and what to do; nothing is ever half written."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncline.errors import Retry, StorageUnavailable
from syncline.storage.model import Checkpoint, CurrentRow, FlushBatch
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.writer import SqliteWriter
from tests.conformance.storage_suite.builders import begun, committed, compact, lookup, ops_of, put, totals_of

A = "10#a[]"
TEXT = '"' + "x" * 4000 + '"'


def large_batch() -> FlushBatch:
    """Too large for what is left of the disk in these tests: about 4 MB."""
    return FlushBatch(
        ops=[put(A, f"new{number}", TEXT) for number in range(1000)],
        lookups=[lookup("l[1]", A)],
        rows={(1, b"new"): CurrentRow((), ())},
    )


async def assert_untouched(storage: SqliteStorage, writer: SqliteWriter, checkpoint: Checkpoint) -> None:
    reader = storage.open_reader()
    assert await reader.checkpoint(10) == checkpoint
    assert len(await ops_of(reader, A, checkpoint_op=10**6)) == 2
    assert (await totals_of(reader, 10, A))[A].op_count == 2
    assert writer.current_rows(1, [b"new"]) == {}
    assert writer._last_op() == checkpoint.op_id
    await reader.close()


@contextmanager
def file_size_limit(limit_bytes: int) -> Generator[None]:
    """No file of this process may grow beyond it: the kernel refuses the write, as on a disk with a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_named_and_replication_goes_on_when_there_is_room(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "s")
    writer = storage.open_writer()
    begun(writer)
    checkpoint = committed(writer, 10, "A", put(A, "1"), put(A, "2"))
    pages = writer._connection.execute("PRAGMA page_count").get
    writer._connection.execute(f"PRAGMA max_page_count = {pages + 20}").fetchall()
    with pytest.raises(StorageUnavailable) as caught:
        writer.flush(10, large_batch())
    error = caught.value
    assert (error.error_code, error.retry) == ("PSYNC_S2402", Retry.BACKOFF)
    assert str(tmp_path / "s" / "storage.db") in error.message
    assert "MB are free" in error.message
    assert "storage.path" in error.hint
    await assert_untouched(storage, writer, checkpoint)
    writer._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert writer.flush(10, large_batch()) == checkpoint.op_id + 1001
    assert writer.commit(10, "B") is not None
    writer.close()


async def test_a_write_that_the_disk_refuses_is_named_and_can_be_tried_again(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "s")
    writer = storage.open_writer()
    begun(writer)
    checkpoint = committed(writer, 10, "A", put(A, "1"), put(A, "2"))
    with file_size_limit(1_000_000), pytest.raises(StorageUnavailable) as caught:
        writer.flush(10, large_batch())
    assert caught.value.error_code == "PSYNC_S2402"
    assert str(tmp_path / "s" / "storage.db") in caught.value.message
    await assert_untouched(storage, writer, checkpoint)
    assert writer.flush(10, large_batch()) == checkpoint.op_id + 1001
    writer.close()
    again = storage.open_writer()  # the file is whole
    assert again._connection.execute("PRAGMA integrity_check").get == "ok"
    again.close()


async def test_compaction_on_a_full_disk_leaves_the_bucket_as_it_was(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "s")
    writer, reader = storage.open_writer(), storage.open_reader()
    begun(writer)
    checkpoint = committed(writer, 10, "A", *[put(A, "1", TEXT) for _ in range(500)])
    before = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
    wal = (tmp_path / "s" / "storage.db-wal").stat().st_size
    with file_size_limit(wal), pytest.raises(StorageUnavailable):
        compact(writer, A, page_ops=500, clear_ops_max=500)
    assert await ops_of(reader, A, checkpoint_op=checkpoint.op_id) == before
    assert (await totals_of(reader, 10, A))[A].op_count == 500
    assert compact(writer, A, page_ops=500, clear_ops_max=500) == 2
    assert (await totals_of(reader, 10, A))[A].op_count == 2
    writer.close()
    await reader.close()


async def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "s")
    for name in ("storage.db", "control.db"):
        (tmp_path / "s" / name).write_bytes(b"this is no database" * 1000)
    for opener in (storage.open_writer, storage.open_reader, storage.open_write_checkpoints):
        with pytest.raises(StorageUnavailable, match="delete the storage files"):
            opener()


def test_a_writer_that_cannot_read_says_so(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "s")
    writer = storage.open_writer()
    begun(writer)
    writer.flush(10, large_batch())
    writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    writer._connection.execute("PRAGMA shrink_memory").fetchall()
    with (tmp_path / "s" / "storage.db").open("r+b") as file:  # damage all pages but the first
        rest = file.seek(0, 2) - 4096
        file.seek(4096)
        file.write(b"\xff" * rest)
    with pytest.raises(StorageUnavailable, match="delete the storage files"):
        writer.ops_before(A, before=None, ops_max=10)
    with pytest.raises(StorageUnavailable, match="delete the storage files"):
        writer.current_rows(1, [b"new"])
    writer.close()


async def test_a_file_that_was_deleted_under_a_reader_is_named(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "s")
    reader = storage.open_reader()
    (tmp_path / "s" / "storage.db").unlink()
    with pytest.raises(StorageUnavailable, match="storage\\.db"):
        await reader.checkpoint(10)
    await reader.close()
