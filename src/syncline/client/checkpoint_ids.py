"""Numbers of checkpoint requests in the device's file (client SQLite reference, 2 and 15). Runs in the writer thread."""

from __future__ import annotations

import apsw

from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue

__all__ = ["CheckpointIds"]

_COUNTER = "last_requested_checkpoint_request_id"


class CheckpointIds:
    """The counter from which a device takes its request ids. What writes belongs into a write transaction of the caller."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._queue = CrudQueue(connection)

    def current(self) -> int | None:
        """The newest id that was taken or learned; None for none."""
        rows = self._connection.execute(
            "SELECT CAST(value AS INTEGER) FROM ps_kv WHERE key = ?", (_COUNTER,)
        ).fetchall()
        return int(str(rows[0][0])) if rows and rows[0][0] is not None else None

    def to_seed(self) -> int:
        """What a new connection posts first, to learn the service's own number: at least 1, and never below what is awaited."""
        target = self._queue.target()
        return max(self.current() or 0, 0 if target in (None, TARGET_DIRTY) else target or 0, 1)

    def seed(self, stored: int) -> None:
        """The service has this number: the next one is greater."""
        if stored > (self.current() or 0):
            self._put(stored)

    def take(self) -> int:
        """The next id."""
        taken = (self.current() or 0) + 1
        self._put(taken)
        return taken

    def awaited(self) -> int | None:
        """The id that the gate waits for and that no checkpoint has brought yet; None for none."""
        target = self._queue.target()
        if target is None or target == TARGET_DIRTY or target <= (self._queue.last_seen() or 0):
            return None
        return target

    def _put(self, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES (?, ?)", (_COUNTER, value))
