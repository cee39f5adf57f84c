"""The local writes of a file that have not reached the backend: those that wait, and those that it refused.

A waiting transaction is called by the crud id of its first entry (`12`), a dead letter by its number behind an L (`L3`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import apsw

from syncline.cli.device_file.opening import file_errors_told, key_of, reading, writer_of
from syncline.cli.exit_codes import EXIT_USAGE, CommandFailed
from syncline.client.crud import CrudEntry, QueuedTransaction
from syncline.client.dead_letters import DeadLetter, DeadLetters
from syncline.client.local.connection import open_reader, open_writer, write_transaction
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.threads import ReaderPool, Writer

__all__ = ["discard", "listed", "retry", "shown"]

LETTER = "L"
T = TypeVar("T")


def listed(path: Path, key: str, *, limit: int) -> list[dict[str, Any]]:
    """The oldest `limit` waiting transactions, and as many dead letters, without values of rows."""
    with reading(path, key) as connection:
        waiting = [
            _line(str(_first(queued)), "waiting", queued) for queued in CrudQueue(connection).transactions(limit)
        ]
    letters = _with_letters(path, key, lambda found: _some(found, limit))
    return waiting + [_letter_line(letter) for letter in letters]


def shown(path: Path, key: str, name: str) -> dict[str, Any]:
    """One of them whole, with the values that were written. Raises CommandFailed where it is not there."""
    letter_id, crud_id = _parsed(name)
    if letter_id is not None:
        letter = _with_letters(path, key, lambda found: found.get(letter_id))
        if letter is None:
            raise _gone(name)
        return _letter_line(letter) | {"details": letter.refusal.details, "crud": _entries(letter.entries)}
    with reading(path, key) as connection:
        queued = _queued(connection, crud_id)
    if queued is None:
        raise _gone(name)
    return _line(name, "waiting", queued) | {"crud": _entries(queued.entries)}


def retry(path: Path, key: str, name: str | None) -> int:
    """Queue a dead letter again behind what waits, or all of them (None); how many. Raises CommandFailed."""
    if name is None:
        return _with_letters(path, key, lambda found: found.retry_all())
    letter_id, _ = _parsed(name)
    if letter_id is None:
        raise CommandFailed(f"{name} waits already: it is sent when the app syncs.")
    if not _with_letters(path, key, lambda found: found.retry(letter_id)):
        raise _gone(name)
    return 1


def discard(path: Path, key: str, name: str) -> int:
    """Give a waiting transaction or a dead letter up; how many entries it had. Raises CommandFailed.

    What a waiting transaction wrote on the device goes back to the server's at the next checkpoint.
    """
    letter_id, crud_id = _parsed(name)
    if letter_id is not None:
        letter = _with_letters(path, key, lambda found: _taken(found, letter_id))
        if letter is None:
            raise _gone(name)
        return len(letter.entries)
    with file_errors_told(path):
        connection = writer_of(path, key)
        try:
            with write_transaction(connection, local_writes=False):
                queued = _queued(connection, crud_id)
                if queued is None:
                    raise _gone(name)
                CrudQueue(connection).remove(crud_id, queued.last_crud_id)
        finally:
            connection.close(True)
    return len(queued.entries)


async def _taken(letters: DeadLetters, letter_id: int) -> DeadLetter | None:
    letter = await letters.get(letter_id)
    return letter if await letters.discard(letter_id) else None


async def _some(letters: DeadLetters, limit: int) -> list[DeadLetter]:
    """`list` has a limit of its own: pages."""
    found: list[DeadLetter] = []
    while len(found) < limit:
        page = await letters.list(limit=limit - len(found), after=found[-1].id if found else 0)
        if not page:
            break
        found += page
    return found


def _with_letters(path: Path, key: str, action: Callable[[DeadLetters], Awaitable[T]]) -> T:
    """Run one of the client's own methods on the file's dead letters."""
    with reading(path, key):
        pass  # it is a client's file; the writer below would make one

    async def run() -> T:
        writer = Writer(lambda: open_writer(path, key=key_of(key)), after_call=lambda: None)
        readers = ReaderPool(lambda: open_reader(path, key=key_of(key)), size=1)
        try:
            return await action(DeadLetters(writer, readers))
        finally:
            await readers.close()
            await writer.close()

    with file_errors_told(path):
        return asyncio.run(run())


def _parsed(name: str) -> tuple[int | None, int]:
    """Number of a letter, or None and a crud id. Raises CommandFailed."""
    digits = name.removeprefix(LETTER)
    if not (digits.isascii() and digits.isdecimal()):
        raise CommandFailed(
            f"{name} is no id of the queue.", hint="They are listed by: syncline queue ls FILE", exit_code=EXIT_USAGE
        )
    return (int(digits), 0) if name.startswith(LETTER) else (None, int(digits))


def _gone(name: str) -> CommandFailed:
    return CommandFailed(f"There is no {name} in the queue (any more).", hint="syncline queue ls FILE")


def _queued(connection: apsw.Connection, crud_id: int) -> QueuedTransaction | None:
    """The waiting transaction whose first entry this is; None also for an entry in the middle of one."""
    queue = CrudQueue(connection)
    found = next(queue.transactions(1, after=crud_id - 1), None)
    if found is None or _first(found) != crud_id:
        return None
    before = connection.execute(
        "SELECT tx_id FROM ps_crud WHERE id < ? ORDER BY id DESC LIMIT 1", (crud_id,)
    ).fetchall()
    is_middle = before and found.transaction_id is not None and before[0][0] == found.transaction_id
    return None if is_middle else found


def _first(queued: QueuedTransaction) -> int:
    return queued.entries[0].client_id


def _line(name: str, state: str, queued: QueuedTransaction) -> dict[str, Any]:
    return {"id": name, "state": state, "transaction_id": queued.transaction_id} | _counted(queued.entries)


def _letter_line(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": f"{LETTER}{letter.id}",
        "state": "refused",
        "transaction_id": letter.transaction_id,
        **_counted(letter.entries),
        "created_at": letter.created_at.isoformat(),
        "code": letter.refusal.code,
        "message": letter.refusal.message,
    }


def _counted(entries: list[CrudEntry]) -> dict[str, Any]:
    """How many entries, and of which kinds on which tables."""
    counts = Counter(f"{entry.op.value} {entry.table}" for entry in entries)
    return {"entries": len(entries), "changes": dict(counts)}


def _entries(entries: list[CrudEntry]) -> list[dict[str, Any]]:
    return list(_values(entries))


def _values(entries: list[CrudEntry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        value = {
            "crud_id": entry.client_id,
            "op": entry.op.value,
            "table": entry.table,
            "id": entry.id,
            "data": entry.op_data,
            "previous_values": entry.previous_values,
            "metadata": entry.metadata,
        }
        yield {name: part for name, part in value.items() if part is not None}
