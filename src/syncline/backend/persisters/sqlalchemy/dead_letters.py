"""Dead letters in a database that SQLAlchemy knows. See `backend.dead_letters.DeadLetterStore`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.dead_letters.letters import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterLimits,
    DeadLetterState,
    KeptVerdict,
)
from syncline.backend.dead_letters.rows import LETTER_COLUMNS, letter_of, letter_row, verdict_columns, write_result_row
from syncline.backend.limits import (
    DEAD_LETTER_REPEAT_HOURS,
    DEAD_LETTERS_KEPT_DAYS,
    DEAD_LETTERS_LISTED_BYTES_MAX,
    DEAD_LETTERS_LISTED_MAX,
    UPLOADS_KEPT_DAYS,
)
from syncline.backend.persisters.base import UploadIdentity
from syncline.backend.persisters.sqlalchemy.own_tables import OwnTables, make_tables
from syncline.backend.persisters.sqlalchemy.runner import TransactionRunner
from syncline.backend.persisters.sqlalchemy.uploads import claim_upload
from syncline.protocol.crud import TransactionResult

__all__ = ["SQLAlchemyDeadLetters"]

_T = TypeVar("_T")
_FAILURE = "The database cannot keep or find dead letters at the moment."
_OPEN = str(DeadLetterState.OPEN)


class SQLAlchemyDeadLetters:
    """Letters beside the writes of a persister.

    `tables` gives our own tables, once the persister is open.
    """

    def __init__(
        self,
        runner: TransactionRunner,
        tables: Callable[[], OwnTables],
        *,
        limits: DeadLetterLimits | None = None,
    ) -> None:
        self._runner = runner
        self._tables = tables
        self._limits = limits or DeadLetterLimits()
        self._write_results = False

    async def prepare(self, *, write_results: bool) -> None:
        """See DeadLetterStore."""
        self._write_results = write_results
        own = self._tables()
        await make_tables(
            self._runner.engine, own.letters, own.failures, *([own.write_results] if write_results else [])
        )
        await self._in_transaction(self._drop_old)

    async def add(
        self,
        letter: DeadLetter,
        identity: UploadIdentity | None,
        verdict: TransactionResult,
        *,
        write_result: bool = False,
    ) -> KeptVerdict:
        """See DeadLetterStore."""
        row, own = letter_row(letter), self._tables()

        async def add(connection: AsyncConnection) -> KeptVerdict:
            if identity is not None:
                stored = await claim_upload(connection, self._runner.database, own, identity, verdict)
                if stored is not None:
                    return KeptVerdict(stored, is_new=False)
            await self._lock(connection, own.letters, letter.user_id)
            if identity is None and await _count_repeat(connection, own.letters, row):
                return KeptVerdict(verdict, is_new=False)
            await self._check_room(connection, letter.user_id, row["content_bytes"])
            await connection.execute(own.letters.insert(), row)
            if write_result:
                await connection.execute(own.write_results.insert(), write_result_row(letter))
            return KeptVerdict(verdict, is_new=True)

        return await self._in_transaction(add)

    async def list(
        self, where: DeadLetterFilter, *, after: str = "", limit: int = DEAD_LETTERS_LISTED_MAX
    ) -> list[DeadLetter]:
        """See DeadLetterStore."""
        letters = self._tables().letters
        sizes = sa.select(letters.c.id, letters.c.content_bytes).where(
            letters.c.id > after, *_conditions(letters, where)
        )

        async def read(connection: AsyncConnection) -> list[DeadLetter]:
            page: list[str] = []
            bytes_before = 0
            for letter_id, content_bytes in await connection.execute(sizes.order_by(letters.c.id).limit(limit)):
                if bytes_before >= DEAD_LETTERS_LISTED_BYTES_MAX:
                    break
                page.append(letter_id)
                bytes_before += content_bytes
            return await _letters(connection, letters, letters.c.id.in_(page))

        return await self._in_transaction(read)

    async def get(self, letter_id: str) -> DeadLetter | None:
        """See DeadLetterStore."""
        return await self._in_transaction(lambda connection: self._get(connection, letter_id))

    async def count(self, where: DeadLetterFilter) -> int:
        """See DeadLetterStore."""
        letters = self._tables().letters
        query = sa.select(sa.func.count()).select_from(letters).where(*_conditions(letters, where))
        return await self._in_transaction(lambda connection: _number(connection, query))

    async def settle(self, letter_id: str, state: DeadLetterState) -> DeadLetter | None:
        """See DeadLetterStore."""
        own = self._tables()
        from_states = [_OPEN, str(DeadLetterState.DISCARDED)] if state is DeadLetterState.RETRIED else [_OPEN]
        settled = own.letters.update().where(own.letters.c.id == letter_id, own.letters.c.state.in_(from_states))
        settled = settled.values(state=str(state), settled_at=datetime.now(UTC))
        resolved = own.write_results.update().where(own.write_results.c.id == letter_id).values(resolved=True)

        async def settle(connection: AsyncConnection) -> DeadLetter | None:
            if (await connection.execute(settled)).rowcount and self._write_results:
                await connection.execute(resolved)
            await self._drop_old(connection)
            return await self._get(connection, letter_id)

        return await self._in_transaction(settle)

    async def refused_again(self, letter_id: str, verdict: TransactionResult) -> DeadLetter | None:
        """See DeadLetterStore."""
        letters = self._tables().letters
        again = letters.update().where(letters.c.id == letter_id)
        again = again.values(retries=letters.c.retries + 1, **verdict_columns(verdict))

        async def count(connection: AsyncConnection) -> DeadLetter | None:
            await connection.execute(again)
            return await self._get(connection, letter_id)

        return await self._in_transaction(count)

    async def count_failure(self, user_id: str, client_id: str | None, content_hash: str) -> int:
        """See DeadLetterStore."""
        failures = self._tables().failures
        key = {"user_id": user_id, "client_id": client_id or "", "content_hash": content_hash}
        mine = sa.and_(*(failures.c[name] == value for name, value in key.items()))
        now = datetime.now(UTC)

        async def count(connection: AsyncConnection) -> int:
            await self._lock(connection, failures, user_id)
            counted = failures.update().where(mine).values(failures=failures.c.failures + 1, last_at=now)
            if (await connection.execute(counted)).rowcount:
                return await _number(connection, sa.select(failures.c.failures).where(mine))
            await connection.execute(failures.insert(), {**key, "failures": 1, "last_at": now})
            await _forget(connection, failures, user_id, kept=self._limits.failures_per_user_max)
            return 1

        return await self._in_transaction(count)

    async def _in_transaction(self, work: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
        async def once() -> _T:
            async with self._runner.transaction() as connection:
                return await work(connection)

        return await self._runner.run(once, failure=_FAILURE)

    async def _lock(self, connection: AsyncConnection, table: sa.Table, user_id: str) -> None:
        """Wait for others that count rows of this user."""
        self._runner.database.check_key(user_id)
        await self._runner.database.lock_device(connection, self._tables().devices, table.name, user_id)

    async def _get(self, connection: AsyncConnection, letter_id: str) -> DeadLetter | None:
        letters = self._tables().letters
        found = await _letters(connection, letters, letters.c.id == letter_id)
        return found[0] if found else None

    async def _check_room(self, connection: AsyncConnection, user_id: str, content_bytes: int) -> None:
        letters = self._tables().letters
        is_open = letters.c.state == _OPEN
        totals = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(letters.c.content_bytes), 0))
        row = (await connection.execute(totals.where(letters.c.user_id == user_id, is_open))).one()
        self._limits.check_user(row[0], int(row[1]), content_bytes)
        some = sa.select(letters.c.id).where(is_open).limit(self._limits.letters_max).subquery()
        self._limits.check_all(await _number(connection, sa.select(sa.func.count()).select_from(some)))

    async def _drop_old(self, connection: AsyncConnection) -> None:
        """Forget letters that were settled long ago, reports about them, and failures that no device will repeat any more."""
        own, now = self._tables(), datetime.now(UTC)
        letters, failures = own.letters, own.failures
        old = sa.and_(letters.c.state != _OPEN, letters.c.settled_at < now - timedelta(days=DEAD_LETTERS_KEPT_DAYS))
        if self._write_results:
            results = own.write_results
            await connection.execute(results.delete().where(results.c.id.in_(sa.select(letters.c.id).where(old))))
        await connection.execute(letters.delete().where(old))
        await connection.execute(failures.delete().where(failures.c.last_at < now - timedelta(days=UPLOADS_KEPT_DAYS)))


async def _count_repeat(connection: AsyncConnection, letters: sa.Table, row: dict[str, Any]) -> bool:
    """Count one more occurrence of an open letter that is young enough; whether there is one."""
    client_id = row["client_id"]
    same = sa.select(letters.c.id).where(
        letters.c.user_id == row["user_id"],
        letters.c.client_id.is_(None) if client_id is None else letters.c.client_id == client_id,
        letters.c.content_hash == row["content_hash"],
        letters.c.state == _OPEN,
        letters.c.created_at > row["created_at"] - timedelta(hours=DEAD_LETTER_REPEAT_HOURS),
    )
    letter_id = (await connection.execute(same.order_by(letters.c.id.desc()).limit(1))).scalar()
    if letter_id is None:
        return False
    verdict = {name: row[name] for name in ("code", "message", "details", "operation_index")}
    counted = letters.update().where(letters.c.id == letter_id)
    counted = counted.values(occurrences=letters.c.occurrences + 1, last_at=row["created_at"], **verdict)
    await connection.execute(counted)
    return True


async def _forget(connection: AsyncConnection, failures: sa.Table, user_id: str, *, kept: int) -> None:
    """Keep the latest failures of a user."""
    times = sa.select(failures.c.last_at).where(failures.c.user_id == user_id).order_by(failures.c.last_at.desc())
    oldest = (await connection.execute(times.offset(kept - 1).limit(1))).scalar()
    if oldest is not None:
        await connection.execute(failures.delete().where(failures.c.user_id == user_id, failures.c.last_at < oldest))


async def _letters(
    connection: AsyncConnection, letters: sa.Table, condition: sa.ColumnElement[bool]
) -> list[DeadLetter]:
    columns = (letters.c[name] for name in LETTER_COLUMNS)
    rows = (await connection.execute(sa.select(*columns).where(condition).order_by(letters.c.id))).mappings()
    return [letter_of({name: row[name] for name in LETTER_COLUMNS}) for row in rows]


async def _number(connection: AsyncConnection, query: sa.Select[Any]) -> int:
    return int((await connection.execute(query)).scalar_one())


def _conditions(letters: sa.Table, where: DeadLetterFilter) -> list[sa.ColumnElement[bool]]:
    conditions = [
        letters.c[name] == str(value)
        for name in ("user_id", "client_id", "state", "code")
        if (value := getattr(where, name)) is not None
    ]
    if where.since is not None:
        conditions.append(letters.c.created_at >= _utc(where.since))
    if where.until is not None:
        conditions.append(letters.c.created_at < _utc(where.until))
    return conditions


def _utc(time: datetime) -> datetime:
    """Databases without time zones are asked in UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
