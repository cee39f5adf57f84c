"""What a failed client transaction is told, and what is kept of it first.

| Failure | Verdict |
|---|---|
| `WriteRefused` | fatal; kept as a dead letter, and the device completes it |
| `WriteRefused`, and `requires_client_handling` says so | fatal, left to the device; nothing is kept |
| `WriteRefused` (CLIENT_FORKED) | fatal, left to the device: good writes under a wrong identity |
| the callback fails, or the letter cannot be kept | retryable: the device keeps its write |
| `RetryLater`; a connection lost at COMMIT is one | retryable, and not counted |
| `UnknownFailure`, every other exception | retryable UNKNOWN_FAILURES_MAX times, then refused; without a store of letters: retryable |

Facts: docs/reference/write-path.md, 2.3 ("Error routing") and 5 ("Error classification").
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from syncline.backend.dead_letters.letters import DeadLetter, DeadLetterStore, new_letter_id
from syncline.backend.hooks import Hooks, HooksBehindAnswers, call_before_commit
from syncline.backend.limits import (
    DEAD_LETTER_DETAILS_BYTES_MAX,
    RETRY_AFTER_MS,
    UNKNOWN_FAILURES_MAX,
    UNKNOWN_RETRY_FACTOR,
)
from syncline.backend.persisters.base import (
    CLIENT_FORKED,
    Persister,
    RetryLater,
    UnknownFailure,
    UploadIdentity,
    WriteContext,
    WriteRefused,
)
from syncline.backend.rule_failures import log_failure
from syncline.protocol.crud import CrudTransaction, FailedOperation, ResultStatus, TransactionResult, content_hash

__all__ = ["Attempt", "RequiresClientHandling", "Verdicts", "refusal", "retryable"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One client transaction that is being applied. `identity` is None for clients that send no ids."""

    transaction: CrudTransaction
    context: WriteContext
    identity: UploadIdentity | None


RequiresClientHandling = Callable[[WriteRefused, Attempt], Awaitable[bool] | bool]
"""Whether a refusal is for the device to decide (True), or final; may be a coroutine function."""


class Verdicts:
    """Turns failures into verdicts, and keeps what must not be lost. `write_results` reports refusals to a table that is synced back."""

    def __init__(
        self,
        persister: Persister,
        store: DeadLetterStore | None,
        *,
        hooks: Hooks,
        requires_client_handling: RequiresClientHandling | None = None,
        write_results: bool = False,
    ) -> None:
        self._persister = persister
        self._store = store
        self._hooks = hooks
        self._requires_client_handling = requires_client_handling
        self._write_results = write_results
        self._behind = HooksBehindAnswers(seconds_max=hooks.seconds_max)

    async def close(self) -> None:
        """Wait for the hooks that are still running."""
        await self._behind.close()

    def applied(self, attempt: Attempt, result: TransactionResult) -> None:
        """Tell `after_commit`, unless the effect was there before, or there is none."""
        if self._hooks.after_commit is not None and result.status is ResultStatus.SUCCESS and not result.deduplicated:
            self._behind.start("after_commit", partial(self._hooks.after_commit, attempt.transaction, attempt.context))

    async def over(self, failure: Exception, attempt: Attempt) -> TransactionResult:
        """The verdict over a transaction whose effect was rolled back, or may not be there."""
        match failure:
            case WriteRefused():
                return await self._refuse(failure, attempt)
            case UnknownFailure():
                return await self._count(failure, attempt)
            case RetryLater():
                return retryable(str(failure))
            case _:
                log_failure(failure, "An upload failed for an unknown reason")
                return await self._count(UnknownFailure("The backend failed."), attempt)

    async def _count(self, failure: UnknownFailure, attempt: Attempt) -> TransactionResult:
        """Retryable, until the same transaction has failed so often that waiting for a repair would block its device for good."""
        if self._store is None:
            return retryable(str(failure))
        user_id, client_id = attempt.context.user_id, attempt.context.client_id
        try:
            failures = await self._store.count_failure(user_id, client_id, _hash_of(attempt))
        except RetryLater as exc:
            return retryable(str(exc))
        if failures <= UNKNOWN_FAILURES_MAX:
            wait_ms = RETRY_AFTER_MS * UNKNOWN_RETRY_FACTOR ** (failures - 1)  # time for somebody to mend it
            return retryable(str(failure), retry_after_ms=wait_ms)
        message = f"It has failed {failures} times for a reason that the backend does not know. {failure}"
        return await self._refuse(
            WriteRefused(failure.error_code, message, operation_index=failure.operation_index), attempt
        )

    async def _refuse(self, refused: WriteRefused, attempt: Attempt) -> TransactionResult:
        result = refusal(refused)
        if not result.requires_client_handling:
            try:
                for_client = await self._is_for_client(refused, attempt)
                result = msgspec.structs.replace(result, requires_client_handling=for_client)
                if not result.requires_client_handling:
                    result = await self._keep(result, attempt)
            except WriteRefused as exc:
                result = refusal(exc)  # CLIENT_FORKED: the ids are known with other content
            except RetryLater as exc:
                log.warning("A refused transaction could not be kept", extra={"event": "backend.refusal_not_kept"})
                return retryable(str(exc))
        if self._hooks.on_fatal is not None and not result.deduplicated:
            self._behind.start("on_fatal", partial(self._hooks.on_fatal, attempt.transaction, attempt.context, result))
        return result

    async def _is_for_client(self, refused: WriteRefused, attempt: Attempt) -> bool:
        """What the app's callback says. Raises RetryLater where it fails, or says neither."""
        if self._requires_client_handling is None:
            return False
        name = "requires_client_handling"
        try:
            answer: Any = self._requires_client_handling(refused, attempt)
            if inspect.isawaitable(answer):
                answer = await call_before_commit(name, answer, seconds_max=self._hooks.seconds_max)
        except RetryLater:
            raise
        except Exception as exc:
            log_failure(exc, f"The callback {name} failed", hook=name)
            raise RetryLater("The backend could not judge the failure.") from exc
        if not isinstance(answer, bool):
            log.error("%s must return a bool", name, extra={"event": "backend.rule_failed", "hook": name})
            raise RetryLater("The backend could not judge the failure.")
        return answer

    async def _keep(self, result: TransactionResult, attempt: Attempt) -> TransactionResult:
        """Store the letter and the verdict. A repeat hears the stored verdict. Raises WriteRefused (CLIENT_FORKED), RetryLater."""
        if self._store is None:
            return await self._record(result, attempt)
        letter = _letter(result, attempt)
        result = msgspec.structs.replace(result, dead_lettered=True)
        kept = await self._store.add(letter, attempt.identity, result, write_result=self._write_results)
        if kept.is_new and self._hooks.on_dead_letter is not None:
            self._behind.start("on_dead_letter", partial(self._hooks.on_dead_letter, letter))
        return kept.verdict

    async def _record(self, result: TransactionResult, attempt: Attempt) -> TransactionResult:
        """Keep the verdict alone; where it cannot be kept, a repeat is judged again: no harm, so no failure."""
        if attempt.identity is None:
            return result
        try:
            return await self._persister.record_refusal(attempt.identity, result)
        except RetryLater:
            log.warning("A refusal could not be recorded", extra={"event": "backend.refusal_not_recorded"})
            return result


def refusal(exc: WriteRefused) -> TransactionResult:
    """The verdict of a refusal. A forked device must keep its writes and send them again."""
    return TransactionResult(
        ResultStatus.FATAL_ERROR,
        message=exc.message,
        requires_client_handling=exc.error_code == CLIENT_FORKED,
        failed_operation=FailedOperation(
            exc.error_code, exc.message, details=exc.details, operation_index=exc.operation_index
        ),
    )


def retryable(message: str, *, retry_after_ms: int = RETRY_AFTER_MS) -> TransactionResult:
    """The verdict that leaves a transaction in its queue."""
    return TransactionResult(ResultStatus.RETRYABLE_ERROR, message=message, retry_after_ms=retry_after_ms)


def _letter(result: TransactionResult, attempt: Attempt) -> DeadLetter:
    failed = result.failed_operation
    assert failed is not None
    context = attempt.context
    details = failed.details
    if details is not None and len(msgspec.json.encode(details)) > DEAD_LETTER_DETAILS_BYTES_MAX:
        details = None
    return DeadLetter(
        new_letter_id(),
        datetime.now(UTC),
        context.user_id,
        context.client_id,
        attempt.transaction,
        _hash_of(attempt),
        failed.error_code,
        failed.message,
        details,
        failed.operation_index,
        claims=context.claims,
    )


def _hash_of(attempt: Attempt) -> str:
    return attempt.identity.content_hash if attempt.identity is not None else content_hash(attempt.transaction)
