"""What people do with dead letters: look, apply again, give up. `backend.dead_letters`, and the routes for it.

A retry goes through hooks, mapper and policies as its user, and takes effect exactly once: its verdict is stored under an identity of the
letter's own, in the database transaction of the effect. A crash before the letter is marked, or two retries at once, find that verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from syncline.backend.dead_letters.letters import DeadLetter, DeadLetterFilter, DeadLetterState, DeadLetterStore
from syncline.backend.limits import DEAD_LETTERS_LISTED_MAX
from syncline.backend.persisters.base import RetryLater, UploadIdentity, WriteContext, WriteRefused
from syncline.backend.rule_failures import log_failure
from syncline.backend.verdicts import Attempt, refusal, retryable
from syncline.errors import ConfigError
from syncline.protocol.crud import ResultStatus, TransactionResult

__all__ = ["DeadLetterSettled", "DeadLetterUnknown", "DeadLetters"]


class DeadLetterUnknown(LookupError):
    """There is no letter of this id."""

    def __init__(self) -> None:
        super().__init__("There is no dead letter of this id.")


class DeadLetterSettled(Exception):
    """The letter was discarded (or retried) before: nothing is done with it any more."""

    def __init__(self, state: DeadLetterState) -> None:
        super().__init__(f"The dead letter is {state} already.")
        self.state = state


class DeadLetters:
    """The refused transactions of a backend: `backend.dead_letters`. Its methods raise ConfigError where the persister keeps none.

    `apply` performs an attempt, as an upload does; all methods raise RetryLater where the database cannot do it now.
    """

    def __init__(
        self,
        store: DeadLetterStore | None,
        apply: Callable[[Attempt], Awaitable[TransactionResult]],
        *,
        write_results: bool = False,
    ) -> None:
        if write_results and store is None:
            raise ConfigError("`write_results` needs a persister with a store for dead letters.")
        self._store = store
        self._apply = apply
        self._write_results = write_results

    async def open(self) -> None:
        """Make the tables that are missing, where there is a store. Raises ConfigError where the role may not."""
        if self._store is not None:
            await self._store.prepare(write_results=self._write_results)

    async def list(
        self, where: DeadLetterFilter | None = None, *, after: str = "", limit: int = DEAD_LETTERS_LISTED_MAX
    ) -> list[DeadLetter]:
        """The oldest letters behind the id `after`, at most DEAD_LETTERS_LISTED_MAX; ask on, with the last id, until there are none."""
        if limit < 1:
            raise ValueError("limit must be at least 1.")
        return await self._letters.list(
            where or DeadLetterFilter(), after=after, limit=min(limit, DEAD_LETTERS_LISTED_MAX)
        )

    async def get(self, letter_id: str) -> DeadLetter | None:
        """One letter; None where there is none of this id."""
        return await self._letters.get(letter_id)

    async def count(self, where: DeadLetterFilter | None = None) -> int:
        """How many letters there are."""
        return await self._letters.count(where or DeadLetterFilter())

    async def retry(self, letter_id: str, *, claims: Mapping[str, Any] | None = None) -> TransactionResult:
        """Apply the stored transaction again, as its user; the verdict. What is refused again stays open.

        `claims` judge it instead of those that came with the upload. A letter that was retried before is a success, `deduplicated`.
        Raises DeadLetterUnknown, and DeadLetterSettled for one that was discarded.
        """
        letter = await self._known(letter_id)
        if letter.state is DeadLetterState.RETRIED:
            return TransactionResult(ResultStatus.SUCCESS, deduplicated=True)
        if letter.state is DeadLetterState.DISCARDED:
            raise DeadLetterSettled(letter.state)
        result = await self._apply_again(letter, letter.claims if claims is None else claims)
        if result.status is ResultStatus.SUCCESS:
            await self._letters.settle(letter.id, DeadLetterState.RETRIED)
        elif result.status is ResultStatus.FATAL_ERROR:
            await self._letters.refused_again(letter.id, result)
        return result

    async def discard(self, letter_id: str) -> DeadLetter:
        """Give a letter up; it is kept DEAD_LETTERS_KEPT_DAYS more, to be looked at.

        Raises DeadLetterUnknown, and DeadLetterSettled for one that was retried.
        """
        letter = await self._letters.settle(letter_id, DeadLetterState.DISCARDED)
        if letter is None:
            raise DeadLetterUnknown
        if letter.state is not DeadLetterState.DISCARDED:
            raise DeadLetterSettled(letter.state)
        return letter

    async def _apply_again(self, letter: DeadLetter, claims: Mapping[str, Any]) -> TransactionResult:
        """The verdict; nothing is stored of one that is no success."""
        context = WriteContext(letter.user_id, claims, letter.client_id, datetime.now(UTC), identified=True)
        identity = UploadIdentity(letter.user_id, f"dead-letter/{letter.id}", 1, 1, letter.content_hash)
        try:
            return await self._apply(Attempt(letter.transaction, context, identity))
        except WriteRefused as exc:
            return refusal(exc)
        except RetryLater as exc:
            return retryable(str(exc))
        except Exception as exc:
            log_failure(exc, "A retry failed for an unknown reason")
            return retryable("The backend failed.")

    async def _known(self, letter_id: str) -> DeadLetter:
        letter = await self._letters.get(letter_id)
        if letter is None:
            raise DeadLetterUnknown
        return letter

    @property
    def _letters(self) -> DeadLetterStore:
        if self._store is None:
            raise ConfigError(
                "This backend keeps no dead letters: its persister has no store for them.",
                hint="PostgresPersister has one; for another, give SyncBackend(dead_letters=…).",
            )
        return self._store
