"""Limits of replication, each with its unit and reason."""

from __future__ import annotations

__all__ = [
    "ACKNOWLEDGE_INTERVAL_S",
    "BESIDE_KEYS_MAX",
    "BESIDE_PAUSE_S",
    "BESIDE_TRANSACTIONS_MAX",
    "COPY_TOLD_INTERVAL_S",
    "DROP_PAUSE_S",
    "DROP_ROWS_MAX",
    "ERROR_TOLD_INTERVAL_S",
    "EVALUATED_ROWS_MAX",
    "FLUSH_BYTES_MAX",
    "FLUSH_ROWS_MAX",
    "HEARTBEAT_INTERVAL_S",
    "PUBLICATION_INTERVAL_S",
    "REPLICATED_TOLD_INTERVAL_S",
    "RETRY_DELAY_MAX_S",
    "RETRY_DELAY_MIN_S",
    "RETRY_REFUSED_S",
    "ROW_BYTES_MAX",
    "SLOT_BUDGET_TOLD",
    "SLOT_INTERVAL_S",
    "SMALL_BATCH_EVENTS_MAX",
    "TOAST_FROM_BYTES",
    "TRUNCATE_PAGE_ROWS",
]

FLUSH_ROWS_MAX = 10_000
"""Source rows of one storage transaction; a larger source transaction is several of them. Rows with random keys touch a page each:
small flushes would write the same pages again and again."""
EVALUATED_ROWS_MAX = 500  # rows that are evaluated at once, ahead of being applied: enough to spread the cost of a call
FLUSH_BYTES_MAX = 5_000_000  # bytes of row data of one storage transaction: what one batch may hold in memory
SMALL_BATCH_EVENTS_MAX = 100  # events of a batch that downloads give way to: some milliseconds of work
BESIDE_KEYS_MAX = 200_000  # keys of changed rows noted while a part of a table is read beside the stream: some 30 MB
BESIDE_PAUSE_S = 0.05  # seconds until a part is read again that could not be stored
BESIDE_TRANSACTIONS_MAX = (
    10_000  # transactions remembered, to see that a reading sees what the stream brought before it
)
DROP_ROWS_MAX = 5_000  # rows of a replaced version deleted at a time: about 20 ms, for which replication waits
DROP_PAUSE_S = 0.05  # seconds between them
TRUNCATE_PAGE_ROWS = 2000  # rows removed per storage transaction by a TRUNCATE
ACKNOWLEDGE_INTERVAL_S = 1.0  # seconds between commits that reach the disk; the source keeps its log until then
RETRY_DELAY_MIN_S = 0.2  # seconds until the first new attempt after the source failed
RETRY_DELAY_MAX_S = 3.0  # seconds: above this a healed source would wait too long for us
TOAST_FROM_BYTES = 2000
"""Estimated size of a row from which its values are kept. Postgres leaves out of an update only what it stores out of line, which it
does for rows above 2 KB. Where a lower `toast_tuple_target` is set, the first such update has the table copied again with all values."""
ROW_BYTES_MAX = (
    15 * 1024 * 1024
)  # bytes of a row's JSON: clients take no larger one, so it is left out and reported (PSYNC_S1002)
COPY_TOLD_INTERVAL_S = 5.0  # seconds between two lines of the log about the same copy
REPLICATED_TOLD_INTERVAL_S = 5.0  # seconds between two lines of the log about what was replicated
ERROR_TOLD_INTERVAL_S = 60.0  # seconds until an error that stays the same is logged again
HEARTBEAT_INTERVAL_S = 60.0  # seconds between markers on a source where nobody writes: its slot has to advance
PUBLICATION_INTERVAL_S = 10.0  # seconds between two looks at the publication; the stream says nothing of what left it
RETRY_REFUSED_S = (
    30.0  # seconds until we knock again where the source refused the password: servers lock out who knocks often
)
SLOT_INTERVAL_S = 60.0  # seconds between two looks at what is left of the slot's log
SLOT_BUDGET_TOLD = 0.5  # share of max_slot_wal_keep_size from which on we say that it shrinks
