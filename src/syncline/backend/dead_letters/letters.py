"""Refused client transactions, kept on the server: what a letter is, and the contract with a database that keeps letters.

A verdict "refused for good" makes the device give its write up. So the whole transaction is stored first, in the database transaction
that stores the verdict: where the letter cannot be kept, the device hears "later" instead, and keeps its write. Letters are a user's
writes, with all their values: who may read a letter may read the rows. Facts: docs/reference/write-path.md, 2.3 and 7.
"""

from __future__ import annotations

import enum
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from syncline.backend.limits import (
    DEAD_LETTER_BYTES_PER_USER_MAX,
    DEAD_LETTERS_LISTED_MAX,
    DEAD_LETTERS_MAX,
    DEAD_LETTERS_PER_USER_MAX,
    FAILURES_COUNTED_PER_USER_MAX,
)
from syncline.backend.persisters.base import RetryLater, UploadIdentity
from syncline.errors import ConfigError
from syncline.protocol.crud import CrudTransaction, TransactionResult

__all__ = [
    "DeadLetter",
    "DeadLetterFilter",
    "DeadLetterLimits",
    "DeadLetterState",
    "DeadLetterStore",
    "DeadLettersFull",
    "KeptVerdict",
    "new_letter_id",
]


class DeadLetterState(enum.StrEnum):
    """What became of a letter."""

    OPEN = "open"  # somebody should look at it
    RETRIED = "retried"  # applied after all, by `retry`
    DISCARDED = "discarded"  # given up, by `discard`


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused client transaction, as it was sent.

    `id` names the occurrence: ids of later letters sort behind those of earlier ones. `claims` are those of the token that came with it:
    a retry is judged by them. `occurrences` counts repeats by devices that send no ids; `last_at` is the latest. `retries` counts
    attempts by `retry` that were refused again; code, message, details and operation index are those of the last verdict.
    """

    id: str
    created_at: datetime
    user_id: str
    client_id: str | None
    transaction: CrudTransaction
    content_hash: str  # of the transaction: `protocol.crud.content_hash`
    code: str
    message: str
    details: Any = None  # JSON
    operation_index: int | None = None  # counts from 0
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    state: DeadLetterState = DeadLetterState.OPEN
    settled_at: datetime | None = None  # when it was retried or discarded
    occurrences: int = 1
    last_at: datetime | None = None  # of the last occurrence; None while there was one only
    retries: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which letters are meant; None leaves a question open. Times are inclusive below, exclusive above."""

    user_id: str | None = None
    client_id: str | None = None
    state: DeadLetterState | None = None
    code: str | None = None
    since: datetime | None = None  # by created_at
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeptVerdict:
    """The verdict that holds, and whether this call made the letter."""

    verdict: TransactionResult
    is_new: bool


class DeadLettersFull(RetryLater):
    """No more open letters are kept, of this user or in all: the device is told to come back, and keeps its write."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"The backend keeps no more refused transactions ({limit}).")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterLimits:
    """How much one database keeps; the defaults and their reasons are in `backend.limits`. Raises ConfigError for a limit below 1.

    `letters_max` open letters of all users, `letters_per_user_max` and `bytes_per_user_max` (of their transactions as JSON) of one user;
    the failures of `failures_per_user_max` transactions of one user are remembered. Above the first three a refusal becomes "later".
    """

    letters_max: int = DEAD_LETTERS_MAX
    letters_per_user_max: int = DEAD_LETTERS_PER_USER_MAX
    bytes_per_user_max: int = DEAD_LETTER_BYTES_PER_USER_MAX
    failures_per_user_max: int = FAILURES_COUNTED_PER_USER_MAX

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"DeadLetterLimits({name}={value!r}): a limit must be at least 1.")

    def check_user(self, letters: int, stored_bytes: int, content_bytes: int) -> None:
        """Raise DeadLettersFull where a user with so many open letters has no room for one more, of `content_bytes`."""
        if letters >= self.letters_per_user_max:
            raise DeadLettersFull(f"{self.letters_per_user_max} letters of one user")
        if stored_bytes + content_bytes > self.bytes_per_user_max:
            raise DeadLettersFull(f"{self.bytes_per_user_max} bytes of one user")

    def check_all(self, letters: int) -> None:
        """Raise DeadLettersFull where so many open letters of all users leave no room for one more."""
        if letters >= self.letters_max:
            raise DeadLettersFull(f"{self.letters_max} letters")


class DeadLetterStore(Protocol):
    """Letters in the database of a persister. All methods raise RetryLater where the database cannot do it now."""

    async def prepare(self, *, write_results: bool) -> None:
        """Make the tables that are missing, once, before any other call; drop what is too old.

        `write_results` asks for the table `powersync_write_results` too. Raises ConfigError where the role may not make them.
        """
        ...

    async def add(
        self,
        letter: DeadLetter,
        identity: UploadIdentity | None,
        verdict: TransactionResult,
        *,
        write_result: bool = False,
    ) -> KeptVerdict:
        """Store an open letter, and `verdict` under `identity`, in one transaction of its own; returns after the COMMIT what holds.

        A repeat of the same identity and content makes no second letter and gets the stored verdict, `deduplicated`. Without an identity,
        an open letter of the same user, device and content that is younger than DEAD_LETTER_REPEAT_HOURS counts one more occurrence
        instead, and takes the later verdict. `write_result` adds a row for the user to `powersync_write_results`. A user's open letters are
        counted against the limits under a lock; those of all users may be above theirs by as many as are added at once. Raises
        WriteRefused (CLIENT_FORKED), DeadLettersFull, RetryLater: then nothing is stored.
        """
        ...

    async def list(
        self, where: DeadLetterFilter, *, after: str = "", limit: int = DEAD_LETTERS_LISTED_MAX
    ) -> list[DeadLetter]:
        """The oldest letters with an id behind `after`, in the order of their ids; none means that there are no more.

        A page ends early behind the letter with which it has DEAD_LETTERS_LISTED_BYTES_MAX of content.
        """
        ...

    async def get(self, letter_id: str) -> DeadLetter | None:
        """One letter; None where there is none of this id."""
        ...

    async def count(self, where: DeadLetterFilter) -> int:
        """How many letters there are."""
        ...

    async def settle(self, letter_id: str, state: DeadLetterState) -> DeadLetter | None:
        """Say what became of an open letter, and mark its rows of `powersync_write_results` as resolved, in one transaction.

        RETRIED holds even over DISCARDED: the writes are in the database by then. Otherwise a settled letter stays as it is. Returns the
        letter as it is afterwards; None where there is none of this id.
        """
        ...

    async def refused_again(self, letter_id: str, verdict: TransactionResult) -> DeadLetter | None:
        """Count a retry that was refused, and keep its code, message, details and operation index; returns the letter."""
        ...

    async def count_failure(self, user_id: str, client_id: str | None, content_hash: str) -> int:
        """Count one more failure of unknown cause of a client transaction, in a transaction of its own; returns how many there were.

        The latest FAILURES_COUNTED_PER_USER_MAX transactions of a user are remembered, for UPLOADS_KEPT_DAYS.
        """
        ...


def new_letter_id(now_ns: int | None = None) -> str:
    """A UUID of version 7, by which letters sort by time; `now_ns` is nanoseconds since 1970.

    The 12 bits behind the milliseconds are a fraction of them, so that letters of one process sort as they were made.
    """
    milliseconds, rest_ns = divmod(time.time_ns() if now_ns is None else now_ns, 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    random_bits = uuid.uuid4().int & ((1 << 62) - 1)
    return str(uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | random_bits))
