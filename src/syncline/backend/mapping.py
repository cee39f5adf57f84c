"""From what a device has sent to what is written: the app's mapper, between the upload and the policies.

A device's tables need not be the database's. The mapper turns each operation into none, one or many, by whatever it looks up, and knows who
asks. What it makes goes through the policies like everything else: a mapper cannot write to a table without a policy, nor to another
user's row. Three facts it must respect: `table` is the device's name; a PATCH has changed columns only, and a DELETE none; the id is
`operation.id`, never in the data. Facts: docs/reference/write-path.md, 2.3 ("Mapper").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from syncline.backend.hooks import call_before_commit
from syncline.backend.limits import MAPPED_OPERATIONS_MAX, TRANSACTION_SECONDS_MAX
from syncline.backend.persisters.base import UnknownFailure, WriteContext, WriteRefused
from syncline.protocol.crud import CrudOperation, CrudTransaction

__all__ = ["Mapper", "map_operations"]


class Mapper(Protocol):
    """A coroutine function, or an object that can be called as one: `SyncBackend(hooks=Hooks(map=to_our_schema))`."""

    async def __call__(self, operation: CrudOperation, context: WriteContext, /) -> Iterable[CrudOperation]:
        """The operations to perform instead, in order: `[]` drops it, `[operation]` leaves it (`msgspec.structs.replace` changes it).

        It has no effects of its own: a transaction may be tried several times. Raises WriteRefused for what it will not take, RetryLater
        for what it cannot look up now.
        """
        ...


async def map_operations(
    mapper: Mapper | None,
    transaction: CrudTransaction,
    context: WriteContext,
    *,
    seconds_max: float = TRANSACTION_SECONDS_MAX,
) -> list[tuple[int, CrudOperation]]:
    """Each operation to perform, with the index of the one that was sent: by it the device is told which one failed.

    Raises what the mapper raises as `call_before_commit` says, and UnknownFailure above MAPPED_OPERATIONS_MAX.
    """
    if mapper is None:
        return list(enumerate(transaction.crud))
    return await call_before_commit("map", _mapped(mapper, transaction, context), seconds_max=seconds_max)


async def _mapped(
    mapper: Mapper, transaction: CrudTransaction, context: WriteContext
) -> list[tuple[int, CrudOperation]]:
    mapped: list[tuple[int, CrudOperation]] = []
    for index, operation in enumerate(transaction.crud):
        try:
            for made in await mapper(operation, context):
                if len(mapped) == MAPPED_OPERATIONS_MAX:
                    raise UnknownFailure(
                        f"The mapper made more than {MAPPED_OPERATIONS_MAX} operations of one transaction."
                    )
                mapped.append((index, made))
        except WriteRefused as exc:
            if exc.operation_index is None:
                exc.operation_index = index
            raise
    return mapped
