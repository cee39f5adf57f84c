"""What every local write does besides its row: an entry in the queue, a mark for the next apply, a closed gate.

The texts are shared by the triggers of views, which are plain SQL, and by the virtual tables (client SQLite reference, 2 and 5).
"""

from __future__ import annotations

__all__ = ["CLOSE_GATE", "DIRTY", "FORGET_SEEN", "MARK_ROW", "QUEUE_ENTRY", "TRANSACTION_ID"]

DIRTY = 2**63 - 1  # the gate while local writes wait for their write checkpoint: no checkpoint reaches it

# current_tx is set by our own transactions (connection.write_transaction); other writers take the pending id.
TRANSACTION_ID = "(SELECT ifnull(current_tx, next_tx) FROM ps_tx)"
QUEUE_ENTRY = f"INSERT INTO ps_crud(data, tx_id) SELECT ?, {TRANSACTION_ID}"
MARK_ROW = "INSERT OR IGNORE INTO ps_updated_rows(row_type, row_id) VALUES (?, ?)"
# What was seen before a local write says nothing about it. One range, because a list of keys is sorted anew for each row that a trigger
# writes: a fifth of an insert's time.
FORGET_SEEN = (
    "DELETE FROM ps_kv WHERE key BETWEEN 'last_applied_checkpoint_request_id' AND 'last_seen_checkpoint_request_id'"
    " AND +key IN ('last_seen_checkpoint_request_id', 'last_applied_checkpoint_request_id')"
)
CLOSE_GATE = (
    f"INSERT INTO ps_kv(key, value) VALUES ('target_checkpoint_request_id', {DIRTY})"  # noqa: S608 - our own text
    " ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value",
    FORGET_SEEN,
)
