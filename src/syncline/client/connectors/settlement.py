"""What becomes of transactions once their backend has spoken: the one way by which a ready connector takes them off the queue.

Only a prefix of accepted and refused transactions leaves, in one commit together with the dead letters that it makes; then the error of
whatever stopped it is raised. Nothing is ever completed because of an exception.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from syncline.client.connectors.outcomes import Accepted, LeftToApp, Outcome, Rejected, Unsettled
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.dead_letters import DeadLettersFull, Refusal, Refused
from syncline.client.errors import UploadRejected
from syncline.client.upload_queue import CrudTransaction

__all__ = ["Settlement", "plan_settlement"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Settlement:
    """The prefix that leaves the queue, what is refused of it, and the error that ends it."""

    settled: list[CrudTransaction] = field(default_factory=list[CrudTransaction])
    refused: list[Refused] = field(default_factory=list[Refused])
    rejections: list[tuple[CrudTransaction, Refusal]] = field(default_factory=list[tuple[CrudTransaction, Refusal]])
    failure: Exception | None = None

    async def carry_out(self, write_checkpoint: int | None = None) -> None:
        """Take the prefix off the queue. Raises DeadLettersFull, after what stands before the first refusal has left."""
        if not self.settled:
            return
        full: DeadLettersFull | None = None
        try:
            await self.settled[-1].complete(write_checkpoint, refused=self.refused)
        except DeadLettersFull as exc:
            full = exc
        if full is None:
            return
        before = [each for each in self.settled if each.last_crud_id < self.refused[0].first_crud_id]
        if before:
            await before[-1].complete()
        raise full

    async def tell(self, policy: UploadPolicy) -> None:
        """Log every refusal, and tell the app's hook; what a hook raises is logged."""
        for transaction, refusal in self.rejections:
            _log.error(
                "The backend refused a transaction for good (%s): %s",
                refusal.code,
                refusal.message or "no message",
                extra={
                    "event": "upload_rejected",
                    "code": refusal.code,
                    "status": refusal.status_code,
                    "first_crud_id": transaction.first_crud_id,
                    "operation_index": refusal.operation_index,
                },
            )
            if policy.on_rejected is None:
                continue
            try:
                await _result(policy.on_rejected(transaction, refusal))
            except Exception:
                _log.exception("on_rejected failed.", extra={"event": "upload_hook_failed"})


async def plan_settlement(
    sent: Sequence[CrudTransaction],
    outcomes: Sequence[Outcome],
    policy: UploadPolicy,
    *,
    exhausted: Callable[[CrudTransaction], bool],
) -> Settlement:
    """Decide which prefix of `sent` leaves the queue, and how. `exhausted` counts one more failure of the backend at a transaction."""
    plan = Settlement()
    for transaction, outcome in zip(sent, outcomes, strict=False):  # outcomes end at the first unsettled one
        if isinstance(outcome, Unsettled) and outcome.not_attempted and plan.settled:
            break
        plan.failure = await _take(plan, transaction, outcome, policy, exhausted)
        if plan.failure is not None:
            break
        plan.settled.append(transaction)
    return plan


async def _take(
    plan: Settlement,
    transaction: CrudTransaction,
    outcome: Outcome,
    policy: UploadPolicy,
    exhausted: Callable[[CrudTransaction], bool],
) -> Exception | None:
    """Note one outcome; what keeps the transaction in the queue, None when it leaves."""
    match outcome:
        case Accepted(skipped):
            for skip in skipped:
                crud_id = transaction.crud[skip.index].client_id
                plan.refused.append(Refused(crud_id, crud_id, skip.refusal))
                plan.rejections.append((transaction, skip.refusal))
            return None
        case Rejected(refusal, closed, kept, applied):
            return _refuse(plan, transaction, refusal, policy, closed=closed, kept=kept, applied=applied)
        case LeftToApp(refusal):
            if await _decision(transaction, refusal, policy) == "discard":
                plan.rejections.append((transaction, refusal))
                return None
            return UploadRejected(
                f"The backend wants a decision about a transaction ({refusal.code}): {refusal.message}",
                code=refusal.code,
                hint="await db.upload_queue.resolve(await db.get_next_crud_transaction(), ...), or UploadPolicy(decide=...).",
                first_crud_id=transaction.first_crud_id,
            )
        case Unsettled(error, counts):
            if counts and exhausted(transaction):
                refusal = Refusal("ATTEMPTS_EXHAUSTED", getattr(error, "message", str(error)))
                return _refuse(plan, transaction, refusal, policy)
            return error


def _refuse(
    plan: Settlement,
    transaction: CrudTransaction,
    refusal: Refusal,
    policy: UploadPolicy,
    *,
    closed: bool = False,
    kept: bool = False,
    applied: int = 0,
) -> Exception | None:
    if policy.on_reject == "block" and not closed:
        return UploadRejected(
            f"The backend refuses a transaction ({refusal.code}): {refusal.message or 'no message'}",
            code=refusal.code,
            hint="It stays in the queue, with everything behind it, because the policy is `block`.",
            first_crud_id=transaction.first_crud_id,
        )
    plan.rejections.append((transaction, refusal))
    kept_elsewhere = closed and (kept if policy.backend_keeps_refusals is None else policy.backend_keeps_refusals)
    if policy.on_reject != "drop" and not kept_elsewhere:
        # What a backend of single entries has taken already is not in the letter: a retry would undo newer writes with it.
        plan.refused.append(Refused(transaction.crud[applied].client_id, transaction.last_crud_id, refusal))
    return None


async def _decision(transaction: CrudTransaction, refusal: Refusal, policy: UploadPolicy) -> str:
    if policy.decide is None:
        return "retain"
    try:
        return str(await _result(policy.decide(transaction, refusal)))
    except Exception:
        _log.exception("The hook `decide` failed; the transaction is kept.", extra={"event": "upload_hook_failed"})
        return "retain"


async def _result(value: object) -> object:
    """What a hook returned, be it a coroutine function or not."""
    return await value if inspect.isawaitable(value) else value
