"""A persister of the backend toolkit whose database is a source in memory."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from syncline.backend.hooks import OperationHooks
from syncline.backend.persisters.base import CLIENT_FORKED, RetryLater, UploadIdentity, Write, WriteRefused
from syncline.backend.rule_failures import rule_failed
from syncline.errors import ConfigError
from syncline.protocol.crud import ResultStatus, TransactionResult
from syncline.testing.memory_source import MemorySource, SourceWriter
from syncline.testing.memory_writes import write_row

__all__ = ["Commit", "MemoryPersister", "NoConnection"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Commit:
    """One client transaction as the source has it. `position` is its place in the log: nothing but its verdict where it was refused."""

    identity: UploadIdentity | None
    writes: tuple[Write, ...]
    position: int
    refused: bool = False


class NoConnection:
    """What hooks and mutators get in the place of a database's connection. Whatever is asked of it raises ConfigError."""

    def __getattr__(self, name: str) -> Any:
        error = ConfigError(
            f"A source in memory has no connection to a database: `{name}` was asked of it.",
            hint="Test what runs SQL with a SQLitePersister or PostgresPersister; `call.put`, `patch` and `delete` of a mutator work here.",
        )
        _log.error("%s", error, extra={"event": "testing.no_connection"})  # the backend tells devices of no such error
        raise error


class MemoryPersister:
    """Commits client transactions, one at a time. Contract: `syncline.backend.persisters.base.Persister`.

    Policies hold as on a database: owners, tenants, parents, soft deletes, PUTs that replace or merge, conflict strategies. Types,
    constraints, defaults and triggers are a database's own, and absent; `NoConnection` stands for its connection.
    `commits` is the history of all transactions. `check` is called with each write and may raise WriteRefused or RetryLater.
    """

    def __init__(self, source: MemorySource, *, check: Callable[[Write], None] | None = None) -> None:
        self._source = source
        self._check = check
        self._verdicts: dict[UploadIdentity, TransactionResult] = {}
        self._checkpoints: Counter[tuple[str, str]] = Counter()
        self._one_at_a_time = asyncio.Lock()
        self.commits: list[Commit] = []
        self.failures = 0
        """How many of the next transactions the database cannot take at the moment."""

    async def open(self) -> None:
        """Nothing to open."""

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        """Apply all writes in one transaction of the source."""
        if self.failures:
            self.failures -= 1
            raise RetryLater("The database cannot take the write at the moment.")
        async with self._one_at_a_time:
            known = self.verdict(identity)
            if known is not None:
                return known
            transaction = _MemoryTransaction(self._source, self._check, self._verdicts)
            for write in writes:
                await transaction.write(write)
            position = self._source.commit(transaction.writer)
            self._verdicts.update(transaction.claimed)
            self.commits.append(Commit(identity, tuple(writes), position))
            return self._store(identity, TransactionResult(ResultStatus.SUCCESS))

    async def record_refusal(self, identity: UploadIdentity, result: TransactionResult) -> TransactionResult:
        """Keep the verdict over a refused transaction."""
        known = self.verdict(identity)
        if known is not None:
            return known
        self.commits.append(Commit(identity, (), self._source.head, refused=True))
        return self._store(identity, result)

    async def next_checkpoint(self, user_id: str, client_id: str) -> int:
        """Count the device's write checkpoint up."""
        self._checkpoints[user_id, client_id] += 1
        return self._checkpoints[user_id, client_id]

    async def close(self) -> None:
        """Nothing to close."""

    def verdict(self, identity: UploadIdentity | None) -> TransactionResult | None:
        """The stored verdict over a repeat; None where the upload is new. Raises WriteRefused (CLIENT_FORKED)."""
        return None if identity is None else _verdict(self._verdicts, identity)

    def _store(self, identity: UploadIdentity | None, result: TransactionResult) -> TransactionResult:
        if identity is not None:
            self._verdicts[identity] = result
        return result


class _MemoryTransaction:
    """See `syncline.backend.persisters.base.OpenTransaction`. `claimed` are verdicts that hold once it is committed."""

    def __init__(
        self,
        source: MemorySource,
        check: Callable[[Write], None] | None,
        verdicts: Mapping[UploadIdentity, TransactionResult],
    ) -> None:
        self.writer = SourceWriter(source)
        self.claimed: dict[UploadIdentity, TransactionResult] = {}
        self._check = check
        self._verdicts = verdicts

    @property
    def connection(self) -> NoConnection:
        """None of a database."""
        return NoConnection()

    async def write(self, write: Write) -> None:
        """Write one row between the app's hooks, or run what stands in its place. Raises WriteRefused, RetryLater."""
        if write.procedure is not None:  # a call is no row, and has no hooks; the rows that it writes have
            await self._run_procedure(write)
            return
        if self._check is not None:
            _ask(self._check, write)
        await self._write_between_hooks(write)

    async def claim(self, identity: UploadIdentity, verdict: TransactionResult) -> TransactionResult | None:
        """Store a verdict that holds once the transaction commits, or find the stored one. Raises WriteRefused (CLIENT_FORKED)."""
        known = _verdict({**self._verdicts, **self.claimed}, identity)
        if known is None:
            self.claimed[identity] = verdict
        return known

    async def _write_between_hooks(self, write: Write) -> None:
        hooks = write.context.operation_hooks or OperationHooks()
        await hooks.before(self.connection, write)
        for record in write_row(self.writer, write):
            await self._write_between_hooks(record)
        await hooks.after(self.connection, write)

    async def _run_procedure(self, write: Write) -> None:
        assert write.procedure is not None
        try:
            await write.procedure(self)
        except (WriteRefused, RetryLater):
            raise
        except Exception as exc:
            raise rule_failed(exc, write.table) from exc


def _ask(check: Callable[[Write], None], write: Write) -> None:
    try:
        check(write)
    except WriteRefused as exc:
        if exc.operation_index is None:
            exc.operation_index = write.index
        raise


def _verdict(
    verdicts: Mapping[UploadIdentity, TransactionResult], identity: UploadIdentity
) -> TransactionResult | None:
    """The verdict over a repeat. Raises WriteRefused where the ids were used for other content."""
    for known, result in verdicts.items():
        if (known.user_id, known.client_id) != (identity.user_id, identity.client_id):
            continue
        if known == identity:
            return structs.replace(result, deduplicated=True)
        if known.first_crud_id <= identity.last_crud_id and identity.first_crud_id <= known.last_crud_id:
            raise WriteRefused(CLIENT_FORKED, "These operation ids were used for other content.")
    return None
