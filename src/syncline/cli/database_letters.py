"""Dead letters asked of the backend's Postgres itself, where the backend does not run or its admin's token is not at hand.

Listing, showing and discarding need nothing of the app. Retrying does: its policies and hooks are in its own process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool

from syncline.backend.dead_letters.letters import DeadLetter, DeadLetterFilter, DeadLetterState
from syncline.backend.http.dead_letter_endpoints import DeadLetterDocument
from syncline.backend.persisters.base import RetryLater
from syncline.backend.persisters.postgres.dead_letters import PostgresDeadLetters
from syncline.cli.exit_codes import EXIT_USAGE, CommandFailed, ServiceUnreachable

__all__ = ["DatabaseLetters"]

CONNECT_TIMEOUT_S = 10  # seconds until the database must have let us in
SECONDS_MAX = 30.0  # seconds of one statement
LETTERS_TABLE, RESULTS_TABLE = "syncline_dead_letters", "powersync_write_results"
T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class DatabaseLetters:
    """The letters of all users in one database; as JSON they are what the backend answers."""

    def __init__(self, uri: str) -> None:
        """Raises CommandFailed where it is no address of a Postgres."""
        if not uri.startswith(("postgresql://", "postgres://")):
            raise CommandFailed(
                "--database is no address of a Postgres.",
                hint="--database postgresql://user@host/database",
                exit_code=EXIT_USAGE,
            )
        self._uri = uri

    def list(self, query: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        """The oldest `limit` letters; `query` may have user_id, state and code. Raises CommandFailed."""
        where = DeadLetterFilter(user_id=query.get("user_id"), state=_state(query.get("state")), code=query.get("code"))

        async def pages(letters: PostgresDeadLetters) -> list[DeadLetter]:
            found: list[DeadLetter] = []
            while len(found) < limit:
                page = await letters.list(where, after=found[-1].id if found else "", limit=limit - len(found))
                if not page:
                    break
                found += page
            return found

        return [_document(letter) for letter in self._run(pages)]

    def show(self, letter_id: str) -> dict[str, Any]:
        """One letter. Raises CommandFailed where there is none."""
        return _found(self._run(lambda letters: letters.get(letter_id)))

    def discard(self, letter_id: str) -> dict[str, Any]:
        """Give a letter up; the letter as it is then. Raises CommandFailed for one that was retried."""
        letter = _found(self._run(lambda letters: letters.settle(letter_id, DeadLetterState.DISCARDED)))
        if letter["state"] != DeadLetterState.DISCARDED:
            raise CommandFailed(f"The letter is {letter['state']} already.")
        return letter

    def _run(self, ask: Callable[[PostgresDeadLetters], Awaitable[T]]) -> T:
        """Ask with a connection that lives as long as the question. Raises CommandFailed."""
        try:
            return asyncio.run(self._asked(ask))
        except psycopg.OperationalError as exc:
            raise ServiceUnreachable(f"The database cannot be reached: {exc}") from exc
        except psycopg.Error as exc:
            raise CommandFailed(f"The database cannot be asked: {exc}") from exc
        except RetryLater as exc:
            raise CommandFailed(f"The database cannot be asked: {exc.__cause__ or exc}") from exc

    async def _asked(self, ask: Callable[[PostgresDeadLetters], Awaitable[T]]) -> T:
        async with await psycopg.AsyncConnection.connect(self._uri, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            tables = "SELECT to_regclass(%s) IS NOT NULL, to_regclass(%s) IS NOT NULL"
            row = await (await connection.execute(tables, (LETTERS_TABLE, RESULTS_TABLE))).fetchone()
        has_letters, has_results = row or (False, False)
        if not has_letters:
            raise CommandFailed(
                f"There is no table {LETTERS_TABLE}.", hint="Is this the database of the app's backend?"
            )
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(self._uri, min_size=1, max_size=1, open=False)
        async with pool:
            letters = PostgresDeadLetters(pool, seconds_max=SECONDS_MAX)
            if has_results:
                await letters.prepare(write_results=True)  # else a settled letter would stay open for the device
            return await ask(letters)


def _document(letter: DeadLetter) -> dict[str, Any]:
    fields = {name: getattr(letter, name) for name in DeadLetterDocument.__struct_fields__}
    return json.loads(msgspec.json.encode(DeadLetterDocument(**fields)))


def _found(letter: DeadLetter | None) -> dict[str, Any]:
    if letter is None:
        raise CommandFailed("There is no such dead letter.")
    return _document(letter)


def _state(text: str | None) -> DeadLetterState | None:
    try:
        return DeadLetterState(text) if text else None
    except ValueError as exc:
        states = ", ".join(DeadLetterState)
        raise CommandFailed(
            f"{text} is no state of a letter.", hint=f"There are: {states}.", exit_code=EXIT_USAGE
        ) from exc
