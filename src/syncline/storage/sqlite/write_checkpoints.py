"""Write checkpoints in `control.db`. Contract: `syncline.storage.base.WriteCheckpoints`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from syncline.storage.model import WriteCheckpointCursor
from syncline.storage.sqlite.connection import open_connection, read_transaction, write_transaction
from syncline.storage.sqlite.migrations import ensure_layout

__all__ = ["SqliteWriteCheckpoints"]

EPOCH_MS = 1_767_225_600_000  # 2026-01-01: counters begin at the milliseconds since then
_T = TypeVar("_T")


class SqliteWriteCheckpoints:
    """Counts write checkpoints per user key. `now_ms` gives the time since 1970 in milliseconds."""

    def __init__(self, directory: Path, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write-checkpoints")
        path = directory / "control.db"
        self._connection = open_connection(path)
        try:
            ensure_layout(self._connection, path)
        except BaseException:
            self._connection.close()
            raise

    async def create(self, user_keys: Sequence[str], position: str) -> list[int]:
        """Count one up per user key and remember that it is reached when replication has passed `position`."""
        return await self._run(lambda: self._create(user_keys, position))

    async def request(self, user_key: str, request_id: int, position: str) -> int:
        """Store a checkpoint request, an id that the client chose; returns the stored id."""
        return await self._run(lambda: self._request(user_key, request_id, position))

    async def expire_requests(self, *, older_than_s: float) -> int:
        """Delete requests that were not stored or repeated for so long."""
        return await self._run(lambda: self._expire_requests(older_than_s))

    async def reached(self, user_key: str, position: str) -> int | None:
        """The user's write checkpoint if replication at `position` has reached it."""
        return (await self.reached_all([user_key], position)).get(user_key)

    async def reached_all(self, user_keys: Collection[str], position: str) -> dict[str, int]:
        """The write checkpoints of these users that replication at `position` has reached."""
        return await self._run(lambda: self._reached_all(user_keys, position))

    async def newly_reached(
        self, position: str, cursor: WriteCheckpointCursor
    ) -> tuple[dict[str, int], WriteCheckpointCursor]:
        """What was reached, or stored as reached already, since the reading that gave `cursor`."""
        return await self._run(lambda: self._newly_reached(position, cursor))

    async def close(self) -> None:
        """Wait for running calls, then close."""
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()

    async def _run(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _create(self, user_keys: Sequence[str], position: str) -> list[int]:
        values: list[int] = []
        floor = self._now_ms() - EPOCH_MS
        with write_transaction(self._connection):
            first = self._sequence() + 1
            for sequence, user_key in enumerate(user_keys, start=first):
                values.append(
                    self._connection.execute(
                        "INSERT INTO write_checkpoint (user_key, value, position, sequence) VALUES (?, ?, ?, ?)"
                        " ON CONFLICT (user_key) DO UPDATE SET value = max(value + 1, excluded.value),"
                        " position = excluded.position, sequence = excluded.sequence, requested_ms = NULL RETURNING value",
                        (user_key, floor, position, sequence),
                    ).get
                )
            self._connection.execute(
                "UPDATE control_meta SET value = value + ? WHERE key = 'write_checkpoint_sequence'",
                (len(user_keys),),
            )
        return values

    def _request(self, user_key: str, request_id: int, position: str) -> int:
        with write_transaction(self._connection):
            # A row that has counted stays a counter: deleted, it might count again from below.
            self._connection.execute(
                "INSERT INTO write_checkpoint (user_key, value, position, sequence, requested_ms) VALUES (?1, ?2, ?3, ?4, ?5)"
                " ON CONFLICT (user_key) DO UPDATE SET value = ?2, position = iif(?2 > value, ?3, position),"
                " sequence = iif(?2 > value, ?4, sequence), requested_ms = iif(requested_ms IS NULL, NULL, ?5)"
                " WHERE ?2 >= value",
                (user_key, request_id, position, self._sequence() + 1, self._now_ms()),
            ).fetchall()
            self._connection.execute(
                "UPDATE control_meta SET value = value + 1 WHERE key = 'write_checkpoint_sequence'"
            ).fetchall()
            return self._connection.execute("SELECT value FROM write_checkpoint WHERE user_key = ?", (user_key,)).get

    def _expire_requests(self, older_than_s: float) -> int:
        with write_transaction(self._connection):
            self._connection.execute(
                "DELETE FROM write_checkpoint WHERE requested_ms < ?", (self._now_ms() - int(older_than_s * 1000),)
            ).fetchall()
            return self._connection.changes()

    def _reached_all(self, user_keys: Collection[str], position: str) -> dict[str, int]:
        sql = "SELECT value FROM write_checkpoint WHERE user_key = ? AND position <= ?"
        reached: dict[str, int] = {}
        with read_transaction(self._connection):
            for user_key in user_keys:
                for row in self._connection.execute(sql, (user_key, position)):
                    reached[user_key] = row[0]
        return reached

    def _newly_reached(
        self, position: str, cursor: WriteCheckpointCursor
    ) -> tuple[dict[str, int], WriteCheckpointCursor]:
        sequence = self._sequence()
        rows = self._connection.execute(
            "SELECT user_key, value FROM write_checkpoint"
            " WHERE position <= ?1 AND (position > ?2 OR (sequence > ?3 AND sequence <= ?4))",
            (position, cursor.position, cursor.sequence, sequence),
        )
        return {row[0]: row[1] for row in rows}, WriteCheckpointCursor(position, sequence)

    def _sequence(self) -> int:
        sql = "SELECT value FROM control_meta WHERE key = 'write_checkpoint_sequence'"
        return self._connection.execute(sql).get
