"""The upload queue `ps_crud`, and the gate that holds downloads back while it is not empty (client SQLite reference, 2 and 9)."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from syncline.client.crud import CrudEntry, QueuedTransaction

__all__ = ["TARGET_DIRTY", "CrudQueue"]

TARGET_DIRTY = 2**63 - 1  # the gate while a write has no write checkpoint yet: no checkpoint reaches it

_TARGET = "target_checkpoint_request_id"
_LAST_SEEN = "last_seen_checkpoint_request_id"


class CrudQueue:
    """The queue of one database. `complete` and `set_target` belong into a write transaction of the caller.

    >>> transaction = queue.next_transaction()
    >>> queue.complete(transaction.last_crud_id)
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def next_transaction(self) -> QueuedTransaction | None:
        """The oldest local transaction with all its entries; None when nothing waits."""
        return next(self.transactions(1), None)

    def transactions(self, limit: int, *, after: int = 0) -> Iterator[QueuedTransaction]:
        """The oldest `limit` local transactions behind crud id `after`, in order. Entries without a transaction id are one each."""
        rows = self._connection.execute("SELECT id, tx_id, data FROM ps_crud WHERE id > ? ORDER BY id", (after,))
        entries: list[CrudEntry] = []
        current: int | None = None
        for crud_id, tx_id, data in rows:
            assert isinstance(crud_id, int)
            assert tx_id is None or isinstance(tx_id, int)
            if entries and (tx_id is None or tx_id != current):
                if limit <= 1:
                    break
                limit -= 1
                yield QueuedTransaction(current, entries)
                entries = []
            current = tx_id
            entries.append(CrudEntry.from_row(crud_id, tx_id, str(data)))
        if entries and limit > 0:
            yield QueuedTransaction(current, entries)

    def complete(self, last_crud_id: int, write_checkpoint: int | None = None) -> None:
        """Remove all entries up to `last_crud_id`: the backend has them, for good.

        The gate then waits for `write_checkpoint` where the backend named one and nothing else is queued; otherwise it stays
        closed until a write checkpoint was requested.
        """
        self._connection.execute("DELETE FROM ps_crud WHERE id <= ?", (last_crud_id,))
        known = write_checkpoint is not None and self.is_empty()
        self.set_target(write_checkpoint if known else TARGET_DIRTY)

    def remove(self, first_crud_id: int, last_crud_id: int) -> None:
        """Remove one transaction wherever it stands: the app has given it up. Its rows are derived again at the next apply."""
        self._connection.execute("DELETE FROM ps_crud WHERE id BETWEEN ? AND ?", (first_crud_id, last_crud_id))
        self.set_target(TARGET_DIRTY)

    def is_empty(self) -> bool:
        """Whether no write waits for its upload."""
        return not self._connection.execute("SELECT 1 FROM ps_crud LIMIT 1").fetchall()

    def stats(self) -> tuple[int, int]:
        """(entries, bytes) of the queue; every entry counts as 20 bytes and its JSON text."""
        [(count, size)] = self._connection.execute(
            "SELECT count(*), ifnull(sum(length(CAST(data AS BLOB)) + 20), 0) FROM ps_crud"
        ).fetchall()
        assert isinstance(count, int)
        assert isinstance(size, int)
        return count, size

    def sequence(self) -> int | None:
        """The highest crud id ever given out; None before the first. Unchanged means: no write came in between."""
        rows = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'ps_crud'").fetchall()
        return int(str(rows[0][0])) if rows else None

    def target(self) -> int | None:
        """The write checkpoint that downloads wait for: None is open, TARGET_DIRTY not yet requested."""
        return self._get(_TARGET)

    def set_target(self, value: int | None) -> None:
        """Wait for this write checkpoint before the next apply; None or 0 opens the gate."""
        if value:
            self._connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES (?, ?)", (_TARGET, value))
        else:
            self._connection.execute("DELETE FROM ps_kv WHERE key = ?", (_TARGET,))

    def last_seen(self) -> int | None:
        """The write checkpoint of the newest validated checkpoint since the last local write."""
        return self._get(_LAST_SEEN)

    def _get(self, key: str) -> int | None:
        rows = self._connection.execute("SELECT CAST(value AS INTEGER) FROM ps_kv WHERE key = ?", (key,)).fetchall()
        return int(str(rows[0][0])) if rows and rows[0][0] is not None else None
