"""The transactions of one request handed to the database together, where nothing has to happen in between.

A batch means the same whether its transactions are handed over one by one or together: each outcome is asked for in order, and what was
handed over ahead of its turn has been applied only if all before it were (`persisters.base.BatchPersister`). The app's own hooks before a
COMMIT may look at the database, or count what they are called for: where there are any, nothing is handed over ahead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from syncline.backend.hooks import Hooks
from syncline.backend.persisters.base import BatchPersister, Persister, Upload, UploadOutcome, Write
from syncline.protocol.crud import TransactionResult

if TYPE_CHECKING:
    from syncline.backend.verdicts import Attempt

__all__ = ["BatchAttempts", "batches_together"]

Prepare = Callable[["Attempt"], Awaitable[list[Write]]]


def batches_together(persister: Persister, hooks: Hooks) -> BatchPersister | None:
    """The persister, if it takes batches and no hook stands between the transactions of one."""
    if hooks.before_transaction is not None or hooks.authorize is not None or hooks.map is not None:
        return None
    return persister if hasattr(persister, "apply_batch") and hooks.operations is None else None  # pyright: ignore[reportReturnType]  # what the attribute says


class BatchAttempts:
    """The attempts at one request's transactions. `apply` is called for their indexes in order; some may be left out."""

    def __init__(self, persister: BatchPersister, attempts: Sequence[Attempt], prepare: Prepare) -> None:
        self._persister = persister
        self._attempts = attempts
        self._prepare = prepare
        self._known: dict[int, UploadOutcome] = {}

    async def apply(self, index: int) -> TransactionResult:
        """What became of a transaction. Raises what `Persister.apply` and policies raise for it."""
        if index not in self._known:
            await self._hand_over(index)
        outcome = self._known.pop(index)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _hand_over(self, start: int) -> None:
        """Apply this transaction and those behind it, as far as they go through."""
        uploads: list[Upload] = []
        for index in range(start, len(self._attempts)):
            attempt = self._attempts[index]
            try:
                uploads.append(Upload(await self._prepare(attempt), attempt.identity))
            except Exception as exc:  # judged when its turn comes, if it comes
                if index == start:
                    self._known[start] = exc
                    return
                break
        outcomes = await self._persister.apply_batch(uploads)
        assert 1 <= len(outcomes) <= len(uploads)
        self._known = dict(enumerate(outcomes, start))
