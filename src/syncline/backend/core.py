"""The write API without a framework: an upload in, verdicts out (write path reference, 2.3).

Each client transaction is one database transaction. The first that fails ends the batch, unless it was refused for good and
`on_fatal` is "skip". Nothing is ever silently lost: what was refused is told to the client with a code, and logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from syncline.backend.batching import BatchAttempts, batches_together
from syncline.backend.changes import ChangeFeed
from syncline.backend.dead_letters.handling import DeadLetters
from syncline.backend.dead_letters.letters import DeadLetterStore
from syncline.backend.hooks import Hooks
from syncline.backend.http.dead_letter_endpoints import IsAdmin
from syncline.backend.http.dispatch import BodyParts, Dispatcher, SignIn
from syncline.backend.http.messages import BackendRequest, BackendResponse
from syncline.backend.http.request_limits import Admission, RequestLimits
from syncline.backend.http.routes import ALL_ROUTES
from syncline.backend.http.routing import Route
from syncline.backend.limits import CLIENT_ID_CHARACTERS_MAX
from syncline.backend.metrics import BackendMetrics
from syncline.backend.mutators.registry import CallRules, Mutators
from syncline.backend.persisters.base import (
    Persister,
    UploadIdentity,
    Write,
    WriteContext,
)
from syncline.backend.policies import TablePolicy, TableRules
from syncline.backend.preparation import prepare_writes
from syncline.backend.staged.uploads import staged_uploads_of
from syncline.backend.tokens import AuthenticatedUser, BackendAuth
from syncline.backend.upload_log import log_transaction
from syncline.backend.verdicts import Attempt, RequiresClientHandling, Verdicts
from syncline.errors import ConfigError, RequestInvalid
from syncline.protocol.crud import (
    CrudBatch,
    CrudTransaction,
    ResultStatus,
    TransactionResult,
    UploadResponse,
    content_hash,
    decode_upload,
)

__all__ = ["SyncBackend"]


class SyncBackend:
    """Takes uploads for the tables that have a policy. `on_fatal` says what follows a refused transaction of a batch.

    `change_feed` is for devices that poll instead of opening a sync stream. `limits` are those of requests; `clock` gives seconds to them.
    `metrics` counts; `more_routes` are served beside the toolkit's own, such as `metrics_route()`.
    `hooks` are the app's own code on every layer. Refused transactions are kept where the persister has a store for them
    (`dead_letters` names another); `dead_letters_admin` says who may see those of all users. `requires_client_handling` says which refusals
    are left to the device. `write_results` reports refusals to the table `powersync_write_results`, for a stream to sync back.
    `mutators` are procedures that devices may call.
    """

    def __init__(
        self,
        *,
        persister: Persister,
        auth: BackendAuth,
        tables: Mapping[str, TablePolicy],
        on_fatal: Literal["stop", "skip"] = "stop",
        change_feed: ChangeFeed | None = None,
        limits: RequestLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        metrics: BackendMetrics | None = None,
        more_routes: Iterable[Route] = (),
        hooks: Hooks | None = None,
        dead_letters: DeadLetterStore | None = None,
        dead_letters_admin: IsAdmin | None = None,
        requires_client_handling: RequiresClientHandling | None = None,
        write_results: bool = False,
        mutators: Mutators | None = None,
    ) -> None:
        if not tables:
            raise ConfigError(
                "The backend has no table policies, so every upload would be refused.",
                hint='SyncBackend(tables={"lists": TablePolicy(owner="owner_id")}, …)',
            )
        self.persister = persister
        self.auth = auth
        self.change_feed = change_feed
        self._tables = dict(tables)
        self._rules = TableRules(self._tables) if mutators is None else CallRules(self._tables, mutators)
        self._on_fatal = on_fatal
        self._hooks = hooks or Hooks()
        self._together = batches_together(persister, self._hooks)
        self._letters: DeadLetterStore | None = dead_letters or getattr(persister, "dead_letters", None)
        self._verdicts = Verdicts(
            persister,
            self._letters,
            hooks=self._hooks,
            requires_client_handling=requires_client_handling,
            write_results=write_results,
        )
        self.dead_letters = DeadLetters(self._letters, self._attempt, write_results=write_results)
        self.staged = staged_uploads_of(persister, self._writes_of)
        self.may_see_all_letters: IsAdmin = dead_letters_admin or (lambda _user: False)
        self.metrics = metrics
        self._clock = clock
        self.dispatcher = Dispatcher(self, (*ALL_ROUTES, *more_routes), Admission(limits or RequestLimits(), clock))

    @property
    def policies(self) -> Mapping[str, TablePolicy]:
        """The policy of each table, by the device's name for it: what `syncline check policies` compares with the sync config."""
        return MappingProxyType(self._tables)

    async def open(self) -> None:
        """Connect to the database. Call once before the first upload."""
        await self.persister.open()
        await self.dead_letters.open()

    async def close(self) -> None:
        """Wait for hooks that run behind answers, end fetches of keys, and close the database connections."""
        if self.staged is not None:
            await self.staged.close()
        await self._verdicts.close()
        await self.auth.close()
        await self.persister.close()

    async def handle(
        self, request: BackendRequest, *, body_parts: BodyParts | None = None, sign_in: SignIn | None = None
    ) -> BackendResponse:
        """Answer any request to the routes of the toolkit. `body_parts`, `sign_in` and what it may raise: `Dispatcher.handle`."""
        return await self.dispatcher.handle(request, body_parts=body_parts, sign_in=sign_in)

    async def handle_upload(self, body: bytes, user: AuthenticatedUser) -> UploadResponse | TransactionResult:
        """Apply an upload: a batch gets one result per transaction, in order; the first form (one transaction alone) gets its result.

        Raises RequestInvalid for a body that is neither.
        """
        upload = decode_upload(body)
        if isinstance(upload, CrudTransaction):
            return (await self._apply_batch(CrudBatch([upload]), user)).results[0]
        return await self._apply_batch(upload, user)

    async def apply_batch(
        self, batch: CrudBatch, user: AuthenticatedUser, *, on_fatal: Literal["stop", "skip"] | None = None
    ) -> list[TransactionResult]:
        """Apply client transactions in order, with a result for each; `on_fatal` None is the backend's own. Raises RequestInvalid."""
        return (await self._apply_batch(batch, user, on_fatal=on_fatal)).results

    async def next_checkpoint(self, client_id: str, user: AuthenticatedUser) -> int:
        """Count a custom write checkpoint up, for the user of the token and this device. Raises RetryLater."""
        return await self.persister.next_checkpoint(user.user_id, client_id[:CLIENT_ID_CHARACTERS_MAX])

    async def _apply_batch(
        self, batch: CrudBatch, user: AuthenticatedUser, *, on_fatal: Literal["stop", "skip"] | None = None
    ) -> UploadResponse:
        if batch.client_id is not None and len(batch.client_id) > CLIENT_ID_CHARACTERS_MAX:
            raise RequestInvalid([f"client_id is longer than {CLIENT_ID_CHARACTERS_MAX} characters"])
        if "\0" in (batch.client_id or ""):  # neither verdict nor letter could be kept under it
            raise RequestInvalid(["client_id has a zero character"])
        results: list[TransactionResult] = []
        stopped = False
        attempts = [self._attempt_at(transaction, batch.client_id, user) for transaction in batch.transactions]
        together = None if self._together is None else BatchAttempts(self._together, attempts, self._writes_of)
        for index, attempt in enumerate(attempts):
            if stopped:
                results.append(TransactionResult(ResultStatus.NOT_ATTEMPTED))
                continue
            result = await self._apply(attempt, None if together is None else together.apply(index))
            results.append(result)
            settled = result.status is ResultStatus.FATAL_ERROR and not result.requires_client_handling
            stopped = result.status is not ResultStatus.SUCCESS and not (
                settled and (on_fatal or self._on_fatal) == "skip"
            )
        return UploadResponse(results)

    def _attempt_at(self, transaction: CrudTransaction, client_id: str | None, user: AuthenticatedUser) -> Attempt:
        identity = _identity(transaction, client_id, user)
        return Attempt(transaction, _context(identity, client_id, user, datetime.now(UTC)), identity)

    async def _apply(
        self, attempt: Attempt, together: Coroutine[None, None, TransactionResult] | None
    ) -> TransactionResult:
        """The verdict over one transaction; `together` is the attempt at it where it is one of a batch."""
        started_s = self._clock()
        try:
            result = await self._attempt(attempt, together)
        except Exception as exc:
            result = await self._verdicts.over(exc, attempt)
        self._tell(result, attempt, self._clock() - started_s)
        return result

    def _tell(self, result: TransactionResult, attempt: Attempt, seconds: float) -> None:
        """One line of the log, and the metrics."""
        user_id, client_id = attempt.context.user_id, attempt.context.client_id
        log_transaction(attempt.transaction, result, user_id=user_id, client_id=client_id, seconds=seconds)
        if self.metrics is not None:
            self.metrics.transaction(attempt.transaction, result, seconds)

    async def _attempt(
        self, attempt: Attempt, together: Coroutine[None, None, TransactionResult] | None = None
    ) -> TransactionResult:
        """Apply one transaction. Raises what hooks, policies and the persister raise: nothing is applied then, or nobody knows."""
        if together is None:
            result = await self.persister.apply(await self._writes_of(attempt), attempt.identity)
        else:
            result = await together
        self._verdicts.applied(attempt, result)
        return result

    async def _writes_of(self, attempt: Attempt) -> list[Write]:
        context = replace(attempt.context, operation_hooks=self._hooks.operations)
        return await prepare_writes(attempt.transaction, context, rules=self._rules, hooks=self._hooks)


def _context(
    identity: UploadIdentity | None, client_id: str | None, user: AuthenticatedUser, received_at: datetime
) -> WriteContext:
    return WriteContext(user.user_id, user.claims, client_id, received_at, identified=identity is not None)


def _identity(transaction: CrudTransaction, client_id: str | None, user: AuthenticatedUser) -> UploadIdentity | None:
    """None for clients that send no ids: official SDKs. Their writes are idempotent by construction."""
    ids = [entry.client_op_id for entry in transaction.crud if entry.client_op_id is not None]
    if client_id is None or len(ids) != len(transaction.crud):
        return None
    return UploadIdentity(user.user_id, client_id, min(ids), max(ids), content_hash(transaction))
