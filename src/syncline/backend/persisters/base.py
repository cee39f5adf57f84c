"""The contract between the core and a database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from syncline.protocol.crud import TransactionResult, UpdateType

if TYPE_CHECKING:
    from syncline.backend.conflicts.strategy import ConflictStrategy
    from syncline.backend.hooks import OperationHooks

__all__ = [
    "CLIENT_FORKED",
    "BatchPersister",
    "OpenTransaction",
    "ParentGuard",
    "Persister",
    "Procedure",
    "RetryLater",
    "StreamingPersister",
    "UnknownFailure",
    "Upload",
    "UploadIdentity",
    "UploadOutcome",
    "Write",
    "WriteContext",
    "WriteRefused",
    "one_batch",
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
    operation_hooks: OperationHooks | None = field(default=None, repr=False, compare=False)  # around each write


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
    procedure: Procedure | None = None  # runs in the place of this write, which is then no row: a call of a mutator

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


class OpenTransaction(Protocol):
    """A client transaction's database transaction while it is under way: what a procedure works with."""

    @property
    def connection(self) -> Any:
        """The driver's connection, inside the transaction: psycopg's AsyncConnection, SQLAlchemy's AsyncConnection."""
        ...

    async def write(self, write: Write) -> None:
        """Write one row, as the writes of devices are. Raises WriteRefused or RetryLater, which end the transaction."""
        ...

    async def claim(self, identity: UploadIdentity, verdict: TransactionResult) -> TransactionResult | None:
        """Store a verdict that holds once the transaction commits; the stored one where there is one already.

        Waits for a concurrent transaction with the same claim. Raises WriteRefused (CLIENT_FORKED) for another content.
        """
        ...


Procedure = Callable[[OpenTransaction], Awaitable[None]]
"""What runs in the place of a write. Raises WriteRefused or RetryLater; the database's own errors are classified as those of a write, and
all else that it raises is RetryLater (`rule_failures.rule_failed`).

It runs again where the database ended the transaction for a conflict, so it changes nothing outside of it.
"""


class UnknownFailure(RetryLater):
    """Nobody knows whether it would go through later: a bug of the backend, or an error that has no class.

    The device is told to come back, but such failures are counted: after UNKNOWN_FAILURES_MAX of one client transaction it is refused with
    `error_code`, and becomes a dead letter.
    """

    def __init__(
        self, message: str, *, error_code: str = "UNCLASSIFIED_ERROR", operation_index: int | None = None
    ) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.operation_index = operation_index


class Persister(Protocol):
    """Commits client transactions.

    One that keeps dead letters has `dead_letters` too, a `backend.dead_letters.DeadLetterStore`.
    """

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


@dataclass(frozen=True, slots=True)
class Upload:
    """One client transaction on its way to a database, as `Persister.apply` takes it."""

    writes: list[Write]
    identity: UploadIdentity | None


UploadOutcome = TransactionResult | Exception
"""What `Persister.apply` returns, or what it raises."""


class BatchPersister(Persister, Protocol):
    """A persister that applies several client transactions faster together than one after another."""

    async def apply_batch(self, uploads: Sequence[Upload]) -> list[UploadOutcome]:
        """Apply transactions in order, each in a database transaction of its own with its verdict, as `apply` does.

        Gives an outcome for each up to the first that is not a success, at least one: no transaction behind that one is applied.
        """
        ...


class StreamingPersister(Persister, Protocol):
    """A persister that applies transactions of any size: staged uploads need one."""

    async def apply_stream(
        self,
        writes: Callable[[], AsyncIterator[list[Write]]],
        identity: UploadIdentity | None,
        *,
        seconds_max: float,
    ) -> TransactionResult:
        """As `apply`, with the writes in batches that are read one after another; `writes` is called again for another attempt."""
        ...


async def one_batch(writes: list[Write]) -> AsyncIterator[list[Write]]:
    """The writes of a transaction that is whole in memory, as `StreamingPersister.apply_stream` reads them."""
    yield writes
