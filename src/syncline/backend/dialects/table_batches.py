"""PURE: changes grouped by table: `POST /api/powersync/upload` with `{"changes": {table: [{type, id, data}]}}`.

The request is one transaction. The order across tables was lost on the device; tables are taken in the order in which they stand in the
body, which is that of their first write where the device did not sort them. A foreign key that is checked at the COMMIT (`DEFERRABLE
INITIALLY DEFERRED`) does not mind. An update is a PATCH where the device has kept it one, and a PUT of the changed columns where not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from syncline.backend.dialects.answers import DialectAnswer, answer_for_whole
from syncline.backend.dialects.reading import one_transaction, read
from syncline.protocol.crud import CrudBatch, CrudOperation, TransactionResult, UpdateType

__all__ = ["TableBatches", "TableChange", "decode", "encode"]


class TableChange(msgspec.Struct, kw_only=True):
    """One changed row."""

    type: UpdateType
    id: str
    data: dict[str, Any] | None = None
    client_op_id: int | None = None
    previous_values: dict[str, Any] | None = None
    metadata: str | None = None


class TableBatches(msgspec.Struct, kw_only=True):
    """The body: changes by table. `client_id` is for devices that number their operations."""

    changes: dict[str, list[TableChange]]
    client_id: str | None = None


_decoder = msgspec.json.Decoder(TableBatches)


def decode(body: bytes) -> CrudBatch:
    """The one transaction of a request. Raises RequestInvalid."""
    asked = read(body, _decoder)
    operations = [
        CrudOperation(
            op=change.type,
            table=table,
            id=change.id,
            op_data=None if change.type is UpdateType.DELETE else change.data,
            client_op_id=change.client_op_id,
            previous_values=change.previous_values,
            metadata=change.metadata,
        )
        for table, changes in asked.changes.items()
        for change in changes
    ]
    return one_transaction(operations, asked.client_id, where="changes")


def encode(results: Sequence[TransactionResult]) -> DialectAnswer:
    """200 `{"success"}`, with `error` and `rejected` where the request was refused; 503 for what is to be sent again."""
    return answer_for_whole(results)
