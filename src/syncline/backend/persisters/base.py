"""The contract between the core and a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from syncline.protocol.crud import TransactionResult, UpdateType

__all__ = ["CLIENT_FORKED", "Persister", "RetryLater", "UploadIdentity", "Write", "WriteRefused"]

CLIENT_FORKED = "CLIENT_FORKED"  # code of a refusal: the operation ids were used for other content


@dataclass(frozen=True, slots=True)
class Write:
    """One row to write, after policies. `owner` is (column, user id) where the row must belong to the user."""

    op: UpdateType
    table: str
    id: str
    data: Mapping[str, Any]
    owner: tuple[str, str] | None
    index: int  # position in the client transaction, for the answer


@dataclass(frozen=True, slots=True)
class UploadIdentity:
    """What makes a repeat recognisable (design decision 12)."""

    user_id: str
    client_id: str
    first_crud_id: int
    last_crud_id: int
    content_hash: str


class WriteRefused(Exception):
    """The transaction is refused for good; nothing of it is applied."""

    def __init__(self, error_code: str, message: str, *, operation_index: int | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message
        self.operation_index = operation_index


class RetryLater(Exception):
    """The database could not do it now; the same transaction may go through later."""


class Persister(Protocol):
    """Commits client transactions."""

    async def open(self) -> None:
        """Connect, and make the table of verdicts."""
        ...

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        """Apply all writes in one database transaction, and store the verdict under `identity` in the same one.

        A repeat with the same content gets the stored verdict, `deduplicated`. Returns after the COMMIT. Raises WriteRefused or
        RetryLater, after which nothing is applied.
        """
        ...

    async def record_refusal(self, identity: UploadIdentity, result: TransactionResult) -> TransactionResult:
        """Store the verdict over a refused transaction, whose own database transaction was rolled back.

        Returns the verdict that holds: an earlier one wins, `deduplicated`. Raises WriteRefused (CLIENT_FORKED) or RetryLater.
        """
        ...

    async def next_checkpoint(self, user_id: str, client_id: str) -> int:
        """Count the write checkpoint of a user's device up by one, and return it after the COMMIT; the first is 1. Raises RetryLater."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
