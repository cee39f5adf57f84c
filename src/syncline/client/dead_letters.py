"""Local transactions that a backend refused for good, kept on the device until a person has looked at them.

They are in the plain table `syncline_dead_letters`, outside the app's schema and the `ps_` names: an official SDK that opens the file
neither drops nor clears it. Apps may read and watch it with SQL; it is written here only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apsw
import msgspec

from syncline.client.core.status import time_of
from syncline.client.crud import CrudEntry
from syncline.client.local.connection import write_transaction
from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue
from syncline.client.local.gate import FORGET_SEEN
from syncline.client.threads import ReaderPool, Writer
from syncline.errors import ClientError, Retry

__all__ = [
    "DEAD_LETTERS_MAX",
    "DEAD_LETTERS_TABLE",
    "MESSAGE_CHARACTERS_MAX",
    "DeadLetter",
    "DeadLetters",
    "DeadLettersFull",
    "Refusal",
    "Refused",
    "clear_dead_letters",
    "count_dead_letters",
    "store_dead_letters",
]

DEAD_LETTERS_TABLE = "syncline_dead_letters"
DEAD_LETTERS_MAX = 10_000  # letters of one file; then a refused transaction stays in the queue, and says so
MESSAGE_CHARACTERS_MAX = 2_000  # of a backend's message; some send whole pages
DETAILS_CHARACTERS_MAX = 64 * 1024  # of a backend's details as JSON text; longer ones are left out
LIST_MAX = 1_000  # letters read at a time

_CREATE = f"""
CREATE TABLE IF NOT EXISTS {DEAD_LETTERS_TABLE}(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  created_at INTEGER NOT NULL,
  client_id TEXT,
  transaction_id INTEGER,
  crud TEXT NOT NULL,
  error_code TEXT NOT NULL,
  message TEXT NOT NULL,
  status_code INTEGER,
  details TEXT,
  operation_index INTEGER
)"""
# created_at: microseconds since 1970. crud: JSON array of [crud id, text of the entry], as they were in `ps_crud`.
_COLUMNS = "id, created_at, client_id, transaction_id, crud, error_code, message, status_code, details, operation_index"


class DeadLettersFull(ClientError):
    """DEAD_LETTERS_MAX letters wait already: the refused transaction stays at the head of the queue, and blocks it."""

    retry = Retry.OPERATOR

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} dead letters wait on this device; no more are kept.",
            hint="Look at `await db.dead_letters.list()`, then retry() or discard() them. So many mean a backend that refuses everything.",
            count=count,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a backend will not take a transaction: its code and message, as it told them.

    `status_code` is the HTTP status where that was the answer; `operation_index` counts from 0 within the refused entries.
    """

    code: str
    message: str = ""
    status_code: int | None = None
    details: Any = None
    operation_index: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused range of the queue: the entries from crud id `first_crud_id` to `last_crud_id`."""

    first_crud_id: int
    last_crud_id: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused local transaction (of a backend that takes single entries: what it did not take of one)."""

    id: int
    created_at: datetime
    client_id: str | None
    transaction_id: int | None
    entries: list[CrudEntry]
    refusal: Refusal


def store_dead_letters(
    connection: apsw.Connection, refused: Sequence[Refused], *, now_us: int, letters_max: int = DEAD_LETTERS_MAX
) -> int:
    """Copy refused entries out of the queue, inside the write transaction that takes them off it; returns how many letters it made.

    Raises DeadLettersFull. Entries that are no longer queued make no letter.
    """
    if not refused:
        return 0
    connection.execute(_CREATE)
    stored = 0
    for each in refused:
        rows = connection.execute(
            "SELECT id, data, tx_id FROM ps_crud WHERE id BETWEEN ? AND ? ORDER BY id",
            (each.first_crud_id, each.last_crud_id),
        ).fetchall()
        if not rows:
            continue
        present = count_dead_letters(connection)
        if present >= letters_max:
            raise DeadLettersFull(present)
        _insert(connection, rows, each.refusal, now_us=now_us)
        stored += 1
    return stored


def count_dead_letters(connection: apsw.Connection) -> int:
    """How many letters the file holds."""
    if not _exists(connection):
        return 0
    [(count,)] = connection.execute(f"SELECT count(*) FROM {DEAD_LETTERS_TABLE}").fetchall()  # noqa: S608 - our own name
    return int(str(count))


def clear_dead_letters(connection: apsw.Connection) -> None:
    """Delete all letters, inside a write transaction: they are a user's writes, and leave with the user's data."""
    if _exists(connection):
        connection.execute(f"DELETE FROM {DEAD_LETTERS_TABLE} WHERE TRUE")  # noqa: S608 - our own name


class DeadLetters:
    """The refused transactions of one database: `db.dead_letters`.

    >>> for letter in await db.dead_letters.list():
    ...     print(letter.refusal.code, [entry.table for entry in letter.entries])
    ...     await db.dead_letters.retry(letter.id)
    """

    def __init__(self, writer: Writer, readers: ReaderPool) -> None:
        self._writer = writer
        self._readers = readers

    async def count(self) -> int:
        """How many there are."""
        return await self._readers.call(count_dead_letters)

    async def list(self, *, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        """The oldest letters, by id, behind the id `after`; LIST_MAX at most."""
        assert limit >= 1
        bounded = min(limit, LIST_MAX)
        return await self._readers.call(lambda connection: _select(connection, "id > ?", after, limit=bounded))

    async def get(self, letter_id: int) -> DeadLetter | None:
        """One letter, None where there is none of this id (any more)."""
        found = await self._readers.call(lambda connection: _select(connection, "id = ?", letter_id, limit=1))
        return found[0] if found else None

    async def retry(self, letter_id: int) -> bool:
        """Queue the writes of a letter again, behind everything that waits, and delete the letter; False where it is gone.

        They are uploaded as a new local transaction. The rows on the device stay as they are until sync brings what the backend made
        of it.
        """
        return await self._writer.call(lambda connection: _within(connection, lambda: _requeue(connection, letter_id)))

    async def retry_all(self) -> int:
        """Queue all letters again, oldest first, each as a transaction of its own; returns how many."""
        return await self._for_all(self.retry)

    async def discard(self, letter_id: int) -> bool:
        """Delete a letter: its writes are given up. False where it is gone."""
        return await self._writer.call(
            lambda connection: _within(connection, lambda: _delete(connection, letter_id), local_writes=False)
        )

    async def discard_all(self) -> int:
        """Delete all letters; returns how many."""
        return await self._for_all(self.discard)

    async def _for_all(self, action: Callable[[int], Any]) -> int:
        done, after = 0, 0
        while page := await self.list(limit=LIST_MAX, after=after):
            for letter in page:
                done += bool(await action(letter.id))
            after = page[-1].id
        return done


def _within(connection: apsw.Connection, action: Callable[[], bool], *, local_writes: bool = True) -> bool:
    with write_transaction(connection, local_writes=local_writes):
        return action()


def _exists(connection: apsw.Connection) -> bool:
    return bool(
        connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (DEAD_LETTERS_TABLE,)
        ).fetchall()
    )


def _insert(connection: apsw.Connection, rows: list[Any], refusal: Refusal, *, now_us: int) -> None:
    details = None if refusal.details is None else msgspec.json.encode(refusal.details).decode()
    if details is not None and len(details) > DETAILS_CHARACTERS_MAX:
        details = None
    connection.execute(
        f"INSERT INTO {DEAD_LETTERS_TABLE}(created_at, client_id, transaction_id, crud, error_code, message, status_code,"  # noqa: S608 - our own text
        " details, operation_index) VALUES (?, (SELECT value FROM ps_kv WHERE key = 'client_id'), ?, ?, ?, ?, ?, ?, ?)",
        (
            now_us,
            rows[0][2],
            json.dumps([[crud_id, data] for crud_id, data, _ in rows]),
            refusal.code,
            refusal.message[:MESSAGE_CHARACTERS_MAX],
            refusal.status_code,
            details,
            refusal.operation_index,
        ),
    )


def _select(connection: apsw.Connection, where: str, value: int, *, limit: int) -> list[DeadLetter]:
    if not _exists(connection):
        return []
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM {DEAD_LETTERS_TABLE} WHERE {where} ORDER BY id LIMIT ?",  # noqa: S608 - our own text
        (value, limit),
    )
    return [_letter(row) for row in rows]


def _letter(row: Sequence[Any]) -> DeadLetter:
    letter_id, created_at, client_id, transaction_id, crud, code, message, status_code, details, index = row
    entries = [CrudEntry.from_row(crud_id, transaction_id, data) for crud_id, data in json.loads(crud)]
    refusal = Refusal(code, message, status_code, None if details is None else json.loads(details), index)
    return DeadLetter(letter_id, time_of(created_at), client_id, transaction_id, entries, refusal)


def _requeue(connection: apsw.Connection, letter_id: int) -> bool:
    if not _exists(connection):
        return False
    found = connection.execute(
        f"SELECT crud FROM {DEAD_LETTERS_TABLE} WHERE id = ?",  # noqa: S608 - our own text
        (letter_id,),
    ).fetchall()
    if not found:
        return False
    connection.executemany(
        "INSERT INTO ps_crud(data, tx_id) SELECT ?, current_tx FROM ps_tx",
        [(data,) for _, data in json.loads(str(found[0][0]))],
    )
    CrudQueue(connection).set_target(TARGET_DIRTY)
    # As with every local write: what was seen before says nothing about this one.
    connection.execute(FORGET_SEEN)
    return _delete(connection, letter_id)


def _delete(connection: apsw.Connection, letter_id: int) -> bool:
    if not _exists(connection):
        return False
    connection.execute(f"DELETE FROM {DEAD_LETTERS_TABLE} WHERE id = ?", (letter_id,))  # noqa: S608 - our own text
    return connection.changes() > 0
