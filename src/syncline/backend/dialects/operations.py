"""PURE: the recipe's list of operations: `POST /api/powersync/upload` with `{"operations": [{id, op, table, opData}]}`.

The request is one transaction. Devices of this dialect read `success` in the body; a `false` makes them write a dead letter of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from syncline.backend.dialects.answers import DialectAnswer, answer_for_whole
from syncline.backend.dialects.reading import one_transaction, read
from syncline.protocol.crud import CrudBatch, CrudOperation, TransactionResult, UpdateType

__all__ = ["RecipeOperation", "RecipeOperations", "decode", "encode"]


class RecipeOperation(msgspec.Struct, kw_only=True, rename="camel"):
    """One changed row."""

    id: str
    op: UpdateType
    table: str
    op_data: dict[str, Any] | None = None
    client_op_id: int | None = msgspec.field(default=None, name="client_op_id")
    previous_values: dict[str, Any] | None = None
    metadata: str | None = None


class RecipeOperations(msgspec.Struct, kw_only=True):
    """The body: operations in the order of the queue. `client_id` is for devices that number them."""

    operations: list[RecipeOperation]
    client_id: str | None = None


_decoder = msgspec.json.Decoder(RecipeOperations)


def decode(body: bytes) -> CrudBatch:
    """The one transaction of a request. Raises RequestInvalid."""
    asked = read(body, _decoder)
    operations = [
        CrudOperation(
            op=each.op,
            table=each.table,
            id=each.id,
            op_data=each.op_data,
            client_op_id=each.client_op_id,
            previous_values=each.previous_values,
            metadata=each.metadata,
        )
        for each in asked.operations
    ]
    return one_transaction(operations, asked.client_id, where="operations")


def encode(results: Sequence[TransactionResult]) -> DialectAnswer:
    """200 `{"success", "error"?}`, also for a refusal. 503 where the device must not take it for one: it is to be sent again."""
    return answer_for_whole(results)
