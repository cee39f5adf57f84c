"""How much room SQLite storage takes: measured in a small file, estimated in a large one."""

from __future__ import annotations

from pathlib import Path

from syncline.storage.model import CurrentRow, FlushBatch, Membership
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.sizes import measure_sizes
from tests.conformance.storage_suite.builders import begun, lookup, put

A = "10#a[]"
ROWS = 5_000


def test_the_estimates_of_a_large_file_are_near_what_a_measurement_finds(tmp_path: Path) -> None:
    writer = SqliteStorage(tmp_path / "s").open_writer()
    begun(writer)
    text = '"' + "x" * 250 + '"'
    row = CurrentRow((Membership(A, "todos", "1"),), ())
    for start in range(0, ROWS, 1000):
        numbers = range(start, start + 1000)
        writer.flush(
            10,
            FlushBatch(
                ops=[put(A, f"row-{number}", text) for number in numbers],
                lookups=[lookup("l[1]", A, key=number.to_bytes(16, "big")) for number in numbers],
                rows={(1, number.to_bytes(16, "big")): row for number in numbers},
            ),
        )
    measured = measure_sizes(writer._connection)
    estimated = measure_sizes(writer._connection, measured_pages_max=0)
    print(measured, estimated)
    assert measured.total_bytes == estimated.total_bytes
    assert measured.total_bytes >= sum(measured[:3]) > 0.95 * measured.total_bytes
    for exact, guess in zip(measured[:3], estimated[:3], strict=True):
        assert exact / 2 < guess < exact * 2
    assert sum(estimated[:3]) <= estimated.total_bytes
    writer.close()


def test_an_empty_storage_has_a_size(tmp_path: Path) -> None:
    writer = SqliteStorage(tmp_path / "s").open_writer()
    for pages_max in (0, 1000):
        sizes = measure_sizes(writer._connection, measured_pages_max=pages_max)
        assert (sizes.ops_bytes >= 0, sizes.total_bytes > 0) == (True, True)
    writer.close()
