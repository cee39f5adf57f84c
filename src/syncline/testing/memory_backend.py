"""A persister of the backend toolkit whose database is a source in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import structs

from syncline.backend.persisters.base import CLIENT_FORKED, RetryLater, UploadIdentity, Write, WriteRefused
from syncline.protocol.crud import CrudOperation, ResultStatus, TransactionResult, UpdateType
from syncline.testing.memory_guards import is_own, parent_is_own
from syncline.testing.memory_source import MemorySource, SourceWriter

__all__ = ["Commit", "MemoryPersister"]


@dataclass(frozen=True, slots=True)
class Commit:
    """One client transaction as the source has it. `position` is its place in the log: nothing but its verdict where it was refused."""

    identity: UploadIdentity | None
    writes: tuple[Write, ...]
    position: int
    refused: bool = False


class MemoryPersister:
    """Commits client transactions. Contract: `syncline.backend.persisters.base.Persister`.

    `commits` is the history of all of them. `check` is called with each write and may raise WriteRefused or RetryLater.
    """

    def __init__(self, source: MemorySource, *, check: Callable[[Write], None] | None = None) -> None:
        self._source = source
        self._check = check
        self._verdicts: dict[UploadIdentity, TransactionResult] = {}
        self._checkpoints: Counter[tuple[str, str]] = Counter()
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
        known = self.verdict(identity)
        if known is not None:
            return known
        writer = SourceWriter(self._source)
        for write in writes:
            if self._check is not None:
                self._check(write)
            _write(writer, write)
        position = self._source.commit(writer)
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
        if identity is None:
            return None
        for known, result in self._verdicts.items():
            if (known.user_id, known.client_id) != (identity.user_id, identity.client_id):
                continue
            if known == identity:
                return structs.replace(result, deduplicated=True)
            if known.first_crud_id <= identity.last_crud_id and identity.first_crud_id <= known.last_crud_id:
                raise WriteRefused(CLIENT_FORKED, "These operation ids were used for other content.")
        return None

    def _store(self, identity: UploadIdentity | None, result: TransactionResult) -> TransactionResult:
        if identity is not None:
            self._verdicts[identity] = result
        return result


def _write(writer: SourceWriter, write: Write) -> None:
    """One row, as the Postgres persister writes it: an update or a delete of a row that is not there, or another user's, does nothing."""
    values = dict(write.data)
    row = writer.get(write.table, write.id)
    is_put = write.op is UpdateType.PUT
    if row is not None and not is_own(writer, write, row):
        if not is_put:
            return
        message = f"The row of {write.table} belongs to another user."
        raise WriteRefused("UNAUTHORIZED", message, operation_index=write.index)
    if is_put:
        values.update(write.tenants if write.owner is None else (write.owner, *write.tenants))
    is_there = is_put or row is not None
    names_parent = write.parent is not None and (is_put or write.parent.column in values)
    if is_there and names_parent and not parent_is_own(writer, write.parent, values):
        message = f"The row of {write.table} names a parent that is not there, or another user's."
        raise WriteRefused("UNAUTHORIZED", message, operation_index=write.index)
    try:
        writer.apply(CrudOperation(op=write.op, table=write.table, id=write.id, op_data=values))
    except ValueError as exc:
        raise WriteRefused("SCHEMA_MISMATCH", str(exc), operation_index=write.index) from exc
