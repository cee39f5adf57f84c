"""From the oplog to the app's tables: the apply step of a checkpoint (client SQLite reference, 9, step 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw

from syncline.client.local.layout import data_tables
from syncline.client.local.raw_tables import raw_writers
from syncline.client.local.row_copy import COPY_ROWS_MIN, copy_changed_rows
from syncline.client.local.views import quote_identifier

__all__ = ["BATCH_BYTES", "BATCH_ROWS", "RowWriter"]

BATCH_ROWS = 1000  # rows of one table that are written together
BATCH_BYTES = 4 * 1024 * 1024  # characters of row data held before they are written

# The newest operation of a row over all its buckets is its value; none: the row is gone. Two bare columns beside one max()
# come from the row that has the maximum (SQLite, "Bare columns in an aggregate query").
_NEWEST_OF_ALL = """
SELECT c.row_type, c.row_id, (
  SELECT iif(max(o.op_id) IS NULL, NULL, o.data) FROM ps_oplog AS o WHERE o.row_type = c.row_type AND o.row_id = c.row_id
) FROM changed AS c WHERE c.row_type IS NOT NULL AND c.row_id IS NOT NULL
"""
_NEWEST_IN = """
SELECT c.row_type, c.row_id, (
  SELECT iif(max(o.op_id) IS NULL, NULL, o.data) FROM ps_oplog AS o
  WHERE o.row_type = c.row_type AND o.row_id = c.row_id
  AND o.bucket IN (SELECT id FROM ps_buckets WHERE name IN (SELECT value FROM json_each(?1)))
) FROM changed AS c WHERE c.row_type IS NOT NULL AND c.row_id IS NOT NULL
"""
_CHANGED_ALL = """
  SELECT o.row_type, o.row_id FROM ps_buckets AS b CROSS JOIN ps_oplog AS o ON o.bucket = b.id AND o.op_id > b.last_applied_op
"""
_CHANGED_IN = """
  SELECT DISTINCT o.row_type, o.row_id FROM ps_buckets AS b CROSS JOIN ps_oplog AS o
  ON o.bucket = b.id AND o.op_id > b.last_applied_op WHERE b.name IN (SELECT value FROM json_each(?1))
"""
_UPDATED = " UNION SELECT row_type, row_id FROM ps_updated_rows"


@dataclass(slots=True)
class _Pending:
    """Rows of one type that wait to be written."""

    puts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    removes: list[tuple[str]] = field(default_factory=list[tuple[str]])


class RowWriter:
    """Writes changed rows, in the caller's transaction. Rows of a type without a table go to `ps_untyped`.

    Memory is bounded by BATCH_ROWS and BATCH_BYTES per type.
    """

    __slots__ = ("_connection", "_copy_rows_min", "_pending", "_raw", "_size", "_tables")

    def __init__(self, connection: apsw.Connection, *, copy_rows_min: int = COPY_ROWS_MIN) -> None:
        self._connection = connection
        self._copy_rows_min = copy_rows_min
        self._tables = {name.removeprefix("ps_data__"): quote_identifier(name) for name in data_tables(connection)}
        self._raw = raw_writers(connection)
        self._pending: dict[str, _Pending] = {}
        self._size = 0

    def write_all(self) -> None:
        """Derive all rows again that changed in any bucket, locally, or with a bucket that is gone."""
        left = copy_changed_rows(
            self._connection, self._tables, other=self._raw, names=None, rows_min=self._copy_rows_min
        )
        query, bindings = (_CHANGED_ALL, ()) if left is None else left
        self._write(f"WITH changed(row_type, row_id) AS ({query}{_UPDATED}) {_NEWEST_OF_ALL}", bindings)

    def write_buckets(self, names: str) -> None:
        """Derive the rows that changed in these buckets, from these buckets alone. `names` is a JSON array."""
        left = copy_changed_rows(
            self._connection, self._tables, other=self._raw, names=names, rows_min=self._copy_rows_min
        )
        query, bindings = (_CHANGED_IN, (names,)) if left is None else left
        self._write(f"WITH changed(row_type, row_id) AS ({query}) {_NEWEST_IN}", bindings)

    def _write(self, query: str, bindings: tuple[str | None, ...]) -> None:
        # The cursor reads tables that nothing here writes to.
        for row_type, row_id, data in self._connection.execute(query, bindings):
            kind = str(row_type)
            pending = self._pending.get(kind)
            if pending is None:
                pending = self._pending[kind] = _Pending()
            if data is None:
                pending.removes.append((str(row_id),))
            else:
                text = str(data)
                pending.puts.append((str(row_id), text))
                self._size += len(text)
            if len(pending.puts) >= BATCH_ROWS or len(pending.removes) >= BATCH_ROWS:
                self._flush(kind)
            elif self._size >= BATCH_BYTES:
                self._flush_all()
        self._flush_all()

    def _flush_all(self) -> None:
        for kind in list(self._pending):
            self._flush(kind)

    def _flush(self, kind: str) -> None:
        pending = self._pending.pop(kind)
        self._size -= sum(len(data) for _, data in pending.puts)
        raw = self._raw.get(kind)
        if raw is not None:
            raw.put(pending.puts)
            raw.delete(pending.removes)
            return
        table = self._tables.get(kind)
        if table is None:
            self._connection.executemany(
                "INSERT OR REPLACE INTO ps_untyped(type, id, data) VALUES (?, ?, ?)",
                [(kind, *row) for row in pending.puts],
            )
            self._connection.executemany(
                "DELETE FROM ps_untyped WHERE type = ? AND id = ?", [(kind, *row) for row in pending.removes]
            )
            return
        self._connection.executemany(f"INSERT OR REPLACE INTO {table}(id, data) VALUES (?, ?)", pending.puts)  # noqa: S608 - quoted names
        self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", pending.removes)  # noqa: S608 - quoted names
