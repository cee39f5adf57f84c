"""The contract between staged uploads and a database: what is kept of an upload until its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from syncline.backend.persisters.base import UploadIdentity
from syncline.protocol.crud import TransactionResult
from syncline.protocol.staged import StagedBegin, StagedState

__all__ = ["StagedFull", "StagedNotPossible", "StagedStore", "StagedUpload"]


class StagedFull(Exception):
    """No room for more: `permanent` where the upload itself is above a limit, else others have to end first."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.message = message
        self.permanent = permanent


class StagedNotPossible(Exception):
    """The database cannot keep staged uploads: its tables are missing, and the role may not make them. The message has no SQL."""


@dataclass(frozen=True, slots=True)
class StagedUpload:
    """One staged upload, without its parts. `failures` counts attempts that failed for an unknown reason."""

    id: str
    user_id: str
    begin: StagedBegin
    state: StagedState
    manifest: tuple[str, ...] = ()  # hashes of its parts, once it was committed
    result: TransactionResult | None = None
    failures: int = 0

    @property
    def identity(self) -> UploadIdentity:
        """What makes a repeat recognisable: the transaction's own identity, or for clients that send no ids this staged upload."""
        begin = self.begin
        if begin.client_id is None or begin.first_op_id is None or begin.last_op_id is None:
            return UploadIdentity(self.user_id, f"staged:{self.id}", 1, 1, begin.content_hash)
        return UploadIdentity(self.user_id, begin.client_id, begin.first_op_id, begin.last_op_id, begin.content_hash)

    @property
    def is_identified(self) -> bool:
        """Whether the device said which of its operations these are."""
        begin = self.begin
        return begin.client_id is not None and begin.first_op_id is not None and begin.last_op_id is not None


class StagedStore(Protocol):
    """Keeps staged uploads. All methods raise RetryLater where the database cannot do it now, and StagedNotPossible.

    Uploads are a user's own: asked for with another user's id they are not there.
    """

    async def begin(self, user_id: str, begin: StagedBegin) -> StagedUpload:
        """The staged upload of this transaction, made where there is none. Drops what is too old. Raises StagedFull."""
        ...

    async def get(self, upload_id: str, user_id: str) -> StagedUpload | None:
        """One upload; None where there is none."""
        ...

    async def parts(self, upload_id: str) -> dict[int, str]:
        """The numbers of the stored parts, with their hashes."""
        ...

    async def put_part(self, upload_id: str, user_id: str, number: int, digest: str, body: bytes) -> bool:
        """Store a part, in the place of one with this number; False where the upload is not open (any more). Raises StagedFull."""
        ...

    async def commit(self, upload_id: str, manifest: tuple[str, ...]) -> bool:
        """Note which parts make the upload, and that it is to be applied; False where it is not open."""
        ...

    async def read_part(self, upload_id: str, number: int, digest: str) -> bytes | None:
        """The body of a part; None where it is gone, or has another content."""
        ...

    async def lease(self, upload_id: str, holder: str, seconds: float) -> bool:
        """Take or prolong the right to apply an upload that is to be applied; False where another process has it."""
        ...

    async def settle(self, upload_id: str, holder: str, result: TransactionResult, *, done: bool, failed: bool) -> None:
        """Store the result and give the lease back. `done`: it is the verdict, and the parts go. Otherwise the upload is open again."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
