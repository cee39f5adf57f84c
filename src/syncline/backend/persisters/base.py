"""The contract between the core and a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from syncline.protocol.crud import TransactionResult, UpdateType

if TYPE_CHECKING:
    from syncline.backend.conflicts.strategy import ConflictStrategy

__all__ = [
    "CLIENT_FORKED",
    "ParentGuard",
    "Persister",
    "RetryLater",
    "UploadIdentity",
    "Write",
    "WriteContext",
    "WriteRefused",
]

CLIENT_FORKED = "CLIENT_FORKED"  # code of a refusal: the operation ids were used for other content


@dataclass(frozen=True, slots=True)
class WriteContext:
    """Who writes, and when the upload arrived: the same for all writes of a client transaction."""

    user_id: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    client_id: str | None = None
    received_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    identified: bool = False  # a repeat would be recognised (design decision 12)


@dataclass(frozen=True, slots=True)
class ParentGuard:
    """The row named by `column` must be a row of `table` that has `belongs_to` and passes `parent`, its own guard."""

    column: str
    table: str
    belongs_to: tuple[tuple[str, str], ...] = ()
    parent: ParentGuard | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """One row to write, after policies. `owner` is (column, user id) where the row must belong to the user.

    What must hold of the row: `owner`, `tenants` (more columns with their value) and `parent`. `conflict` judges the write by the
    current row, before it is performed.
    """

    op: UpdateType
    table: str
    id: str
    data: Mapping[str, Any]
    owner: tuple[str, str] | None
    index: int  # position in the client transaction, for the answer
    tenants: tuple[tuple[str, str], ...] = ()
    parent: ParentGuard | None = None
    soft_delete: str | None = (
        None  # a DELETE marks this column; a marked row is there for a PUT only, which clears the mark
    )
    replaces: tuple[str, ...] = ()  # columns that a PUT sets to their default where it does not list them
    only_new: bool = False  # a PUT leaves a row that is there as it is
    conflict: ConflictStrategy | None = None
    previous_values: Mapping[str, Any] | None = None  # as the device says; trust them with nothing
    metadata: str | None = None
    context: WriteContext = WriteContext()

    @property
    def belongs_to(self) -> tuple[tuple[str, str], ...]:
        """Columns that say whose the row is, each with the value it must have."""
        return self.tenants if self.owner is None else (self.owner, *self.tenants)

    @property
    def guarded(self) -> bool:
        """Whether some rows of the table are out of reach for this user."""
        return bool(self.belongs_to) or self.parent is not None


@dataclass(frozen=True, slots=True)
class UploadIdentity:
    """What makes a repeat recognisable (design decision 12)."""

    user_id: str
    client_id: str
    first_crud_id: int
    last_crud_id: int
    content_hash: str


class WriteRefused(Exception):
    """The transaction is refused for good; nothing of it is applied. `details` is JSON for the device, without values of rows."""

    def __init__(
        self, error_code: str, message: str, *, operation_index: int | None = None, details: Any = None
    ) -> None:
        super().__init__(message)
        self.details = details
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
