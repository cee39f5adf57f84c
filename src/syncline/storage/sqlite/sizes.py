"""How much room SQLite storage takes: measured page by page while that is quick, estimated from a sample beyond it."""

from __future__ import annotations

import apsw

from syncline.storage.model import StorageSizes

__all__ = ["measure_sizes"]

MEASURED_PAGES_MAX = 65_536  # 256 MB: dbstat reads every page, about 1 s a GB, and the replicator waits for it
SAMPLE_ROWS = 1_000  # newest rows of a table whose width stands for all
_TABLES = ("op", "current_row", "lookup_entry")
_OVERHEAD = 1.1  # pages are never quite full


def measure_sizes(connection: apsw.Connection, *, measured_pages_max: int = MEASURED_PAGES_MAX) -> StorageSizes:
    """Sizes over all versions in bytes, which share their tables. `total_bytes` is exact: the file with its free pages.

    The parts are measured (dbstat) in a file of up to `measured_pages_max` pages, and estimates in a larger one: rows times the
    width of the newest ones, lookups being what is left.
    """
    pages, page_bytes, free = (
        connection.execute(f"PRAGMA {name}").get for name in ("page_count", "page_size", "freelist_count")
    )
    total = pages * page_bytes
    if pages <= measured_pages_max:
        ops, current_rows, lookups = (_measured(connection, table) for table in _TABLES)
    else:
        ops, current_rows, lookups = _estimated(connection, used_bytes=total - free * page_bytes)
    return StorageSizes(ops_bytes=ops, current_rows_bytes=current_rows, lookups_bytes=lookups, total_bytes=total)


def _measured(connection: apsw.Connection, table: str) -> int:
    """Bytes of a table's pages and of those of its indexes."""
    return connection.execute(
        "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE aggregate = TRUE"
        " AND name IN (SELECT name FROM sqlite_schema WHERE tbl_name = ?)",
        (table,),
    ).get


def _estimated(connection: apsw.Connection, *, used_bytes: int) -> tuple[int, int, int]:
    op_count = connection.execute("SELECT coalesce(sum(op_count), 0) FROM bucket").get
    op_bytes = _width(
        connection,
        "SELECT 40 + coalesce(length(data), 0) + coalesce(length(object_id), 0) + coalesce(length(subkey), 0) AS width"
        " FROM op ORDER BY op_id DESC LIMIT ?",
    )
    row_count = connection.execute("SELECT coalesce(max(id) - min(id) + 1, 0) FROM current_row").get
    row_bytes = _width(
        connection,
        "SELECT 60 + length(memberships) + length(lookups) + coalesce(length(row_values), 0) AS width"
        " FROM current_row ORDER BY id DESC LIMIT ?",
    )
    ops = min(int(op_count * op_bytes * _OVERHEAD), used_bytes)
    current_rows = min(int(row_count * row_bytes * _OVERHEAD), used_bytes - ops)
    lookups = used_bytes - ops - current_rows
    return ops, current_rows, lookups


def _width(connection: apsw.Connection, widths: str) -> float:
    """The mean of the column `width` of a query over `SAMPLE_ROWS` rows."""
    return connection.execute(f"SELECT coalesce(avg(width), 0) FROM ({widths})", (SAMPLE_ROWS,)).get  # noqa: S608 - our own queries
