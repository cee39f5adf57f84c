"""Many changed rows at once, from the oplog to the app's tables by SQLite alone (client SQLite reference, 9, step 5).

`RowWriter` derives each row by itself, in the order of row ids: look-ups all over the file. After a first download nearly every
operation is the only one of its row, and they lie in the file in the order in which they came. So they are copied in this order, table by
table and without Python in between; the rows for which that may be wrong are then derived one by one.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import apsw
import orjson

__all__ = ["COPY_ROWS_MIN", "COPY_TYPES_MAX", "copy_changed_rows"]

COPY_ROWS_MIN = 2000  # changed operations from which on copying is faster
COPY_TYPES_MAX = 8  # row types in the oplog: each is one more scan of the changed operations

_CHANGED = "ps_buckets AS b CROSS JOIN ps_oplog AS o ON o.bucket = b.id AND o.op_id > b.last_applied_op"
# The same, in the order in which they lie in the file: for most of it, the quickest, and in runs of ascending row ids.
_CHANGED_OF_ALL = (
    "ps_oplog AS o NOT INDEXED CROSS JOIN ps_buckets AS b ON b.id = o.bucket AND o.op_id > b.last_applied_op"
)
_PICKED = "(?1 IS NULL OR b.name IN (SELECT value FROM json_each(?1)))"
_COUNT = f"SELECT count(*) FROM (SELECT 1 FROM {_CHANGED} WHERE {_PICKED} LIMIT ?2)"  # noqa: S608 - our texts
_MOST = f"SELECT 2 * (SELECT count(*) FROM {_CHANGED} WHERE {_PICKED}) > (SELECT count(*) FROM ps_oplog)"  # noqa: S608 - our texts
# The lowest type, then the next one above it, and so on: as many look-ups as there are types.
_TYPES = """
WITH RECURSIVE found(kind) AS (
  SELECT min(row_type) FROM ps_oplog
  UNION ALL SELECT (SELECT min(row_type) FROM ps_oplog WHERE row_type > found.kind) FROM found WHERE found.kind IS NOT NULL
) SELECT kind FROM found WHERE kind IS NOT NULL LIMIT ?
"""
# Rows with more than one operation (found in an index alone), and those that were not copied. ?2: the copied types.
_LEFT = f"""
WITH doubled(row_type, row_id) AS (
  SELECT row_type, row_id FROM ps_oplog GROUP BY row_type, row_id HAVING count(*) > 1
)
SELECT d.row_type, d.row_id FROM doubled AS d WHERE EXISTS (
  SELECT 1 FROM ps_oplog AS o JOIN ps_buckets AS b ON b.id = o.bucket
  WHERE o.row_type = d.row_type AND o.row_id = d.row_id AND o.op_id > b.last_applied_op AND {_PICKED}
)
UNION SELECT o.row_type, o.row_id FROM {_CHANGED}
WHERE {_PICKED} AND (o.data IS NULL OR o.row_type NOT IN (SELECT value FROM json_each(?2)))
"""  # noqa: S608 - our texts


def copy_changed_rows(
    connection: apsw.Connection, tables: Mapping[str, str], *, other: Container[str], names: str | None, rows_min: int
) -> tuple[str, tuple[str | None, str]] | None:
    """Copy what changed in all buckets, or in those of `names` (a JSON array), if it is `rows_min` operations or more.

    `tables` has the quoted table of each row type; types in `other` are not copied. None where nothing was done; else a query and its
    bindings for the (row_type, row_id) of the rows that have to be derived still: what was copied of them may not be their newest
    operation.
    """
    if connection.execute(_COUNT, (names, rows_min)).fetchall() != [(rows_min,)]:
        return None
    types = [str(kind) for (kind,) in connection.execute(_TYPES, (COPY_TYPES_MAX + 1,)).fetchall()]
    if len(types) > COPY_TYPES_MAX:
        return None
    [(most,)] = connection.execute(_MOST, (names,)).fetchall()
    source = _CHANGED_OF_ALL if most else _CHANGED
    copied = [kind for kind in types if kind in tables and kind not in other]
    for kind in copied:
        connection.execute(
            f"INSERT OR REPLACE INTO {tables[kind]}(id, data) SELECT o.row_id, o.data FROM {source}"  # noqa: S608 - quoted
            f" WHERE {_PICKED} AND o.row_type = ?2 AND o.row_id IS NOT NULL AND o.data IS NOT NULL",
            (names, kind),
        ).fetchall()
    return _LEFT, (names, orjson.dumps(copied).decode())
