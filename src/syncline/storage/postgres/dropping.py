"""Deleting a version in transactions of a bounded size."""

from __future__ import annotations

from syncline.storage.postgres.transactions import WriteTransaction

__all__ = ["drop_rows"]

BUCKETS_MAX = 500  # buckets whose ops are deleted by one statement

# By physical place, so that each statement reads no more than it deletes.
_ROWS = (
    "DELETE FROM {schema}.current_row WHERE ctid = ANY (ARRAY(SELECT r.ctid FROM {schema}.current_row r"
    " WHERE r.table_id IN (SELECT id FROM {schema}.source_table WHERE version = %s) LIMIT %s))",
    "DELETE FROM {schema}.lookup_entry WHERE ctid = ANY (ARRAY("
    "SELECT ctid FROM {schema}.lookup_entry WHERE version = %s LIMIT %s))",
    "DELETE FROM {schema}.custom_write_checkpoint WHERE ctid = ANY (ARRAY("
    "SELECT ctid FROM {schema}.custom_write_checkpoint WHERE version = %s LIMIT %s))",
)
_BUCKETS = "SELECT id FROM {schema}.bucket WHERE version = %s ORDER BY op LIMIT %s"
_OPS = """
DELETE FROM {schema}.op WHERE ctid = ANY (ARRAY(SELECT ctid FROM {schema}.op WHERE bucket_id = ANY (%s) LIMIT %s))
"""


def drop_rows(transaction: WriteTransaction, version: int, rows_max: int) -> bool:
    """Delete up to about `rows_max` rows; True when nothing of the version is left."""
    assert rows_max > 0, "a step without rows would never end"
    # A version that lost some of its rows must not be gone on with after a restart.
    transaction.execute("UPDATE {schema}.version SET state = 'stopped' WHERE number = %s", (version,))
    left = _drop_buckets(transaction, version, rows_max)
    for statement in _ROWS:
        if left <= 0:
            return False
        left -= transaction.execute(statement, (version, left)).rowcount
    if left <= 0:
        return False
    transaction.execute("DELETE FROM {schema}.source_table WHERE version = %s", (version,))
    transaction.execute("DELETE FROM {schema}.version WHERE number = %s", (version,))
    return True


def _drop_buckets(transaction: WriteTransaction, version: int, left: int) -> int:
    """Delete buckets with their ops; how many rows may still be deleted."""
    while left > 0:
        ids = [row[0] for row in transaction.execute(_BUCKETS, (version, min(left, BUCKETS_MAX))).fetchall()]
        if not ids:
            break
        left -= transaction.execute(_OPS, (ids, left)).rowcount
        if left > 0:  # all their ops are gone
            left -= transaction.execute("DELETE FROM {schema}.bucket WHERE id = ANY (%s)", (ids,)).rowcount
    return left
