"""From an upload's transaction to the writes that a persister performs: hooks, mapper, policies, in this order.

Nothing is written here. Facts: docs/reference/write-path.md, 7 ("Layers").
"""

from __future__ import annotations

from syncline.backend.hooks import Hooks, call_before_commit
from syncline.backend.http.body_checks import check_operations
from syncline.backend.mapping import map_operations
from syncline.backend.persisters.base import UnknownFailure, Write, WriteContext, WriteRefused
from syncline.backend.policies import TableRules
from syncline.protocol.crud import CrudTransaction

__all__ = ["prepare_writes"]


async def prepare_writes(
    transaction: CrudTransaction, context: WriteContext, *, rules: TableRules, hooks: Hooks
) -> list[Write]:
    """The writes of a transaction. Raises WriteRefused or RetryLater, as hooks, mapper and policies do."""
    check_operations(transaction)
    if hooks.before_transaction is not None:
        await call_before_commit(
            "before_transaction", hooks.before_transaction(transaction, context), seconds_max=hooks.seconds_max
        )
    if hooks.authorize is not None:
        allowed = await call_before_commit(
            "authorize", hooks.authorize(transaction, context), seconds_max=hooks.seconds_max
        )
        if allowed is False:
            raise WriteRefused("UNAUTHORIZED", "This user may not upload this transaction.")
        if allowed is not True:  # a forgotten `return` must not let anything through, nor refuse it for good
            raise UnknownFailure("A hook of this backend failed (authorize).")
    mapped = await map_operations(hooks.map, transaction, context)
    return [rules.write(index, operation, context) for index, operation in mapped]
