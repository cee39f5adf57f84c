"""PURE: what the field's demo backends take: `{"batch": [{op, table, id, data}]}`, and `{"table", "data": {"id", …}}` for one row.

A batch is one transaction. Connectors of the demos throw at anything but a 2xx and send the same again: their backends answered a bad row
with 400, or a missing one with 404, and nothing behind it ever went through. Here a refusal is a 200 with a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from syncline.backend.dialects.answers import DialectAnswer, answer_for_whole
from syncline.backend.dialects.reading import one_transaction, read
from syncline.errors import RequestInvalid
from syncline.protocol.crud import CrudBatch, CrudOperation, TransactionResult, UpdateType

__all__ = ["DemoBatch", "DemoEntry", "DemoRow", "decode_batch", "decode_row", "encode"]


class _Row(msgspec.Struct, kw_only=True):
    """A row's id stands beside its columns or among them: connectors do both."""

    table: str
    id: str | None = None
    data: dict[str, Any] | None = None
    client_op_id: int | None = None
    previous_values: dict[str, Any] | None = None
    metadata: str | None = None


class DemoEntry(_Row, kw_only=True):
    """One changed row of a batch."""

    op: UpdateType


class DemoBatch(msgspec.Struct, kw_only=True):
    """The body of a batch. `client_id` is for devices that number their operations."""

    batch: list[DemoEntry]
    client_id: str | None = None


class DemoRow(_Row, kw_only=True):
    """The body of one row."""

    client_id: str | None = None


_batch_decoder = msgspec.json.Decoder(DemoBatch)
_row_decoder = msgspec.json.Decoder(DemoRow)


def decode_batch(body: bytes) -> CrudBatch:
    """The one transaction of `POST /api/data` with a `batch`. Raises RequestInvalid."""
    asked = read(body, _batch_decoder)
    operations = [_operation(each.op, each, f"batch[{index}]") for index, each in enumerate(asked.batch)]
    return one_transaction(operations, asked.client_id, where="batch")


def decode_row(method: str, body: bytes) -> CrudBatch:
    """The transaction of one row; `method` is PUT, PATCH or DELETE. Raises RequestInvalid."""
    asked = read(body, _row_decoder)
    return one_transaction([_operation(UpdateType(method), asked, "body")], asked.client_id, where="data")


def encode(results: Sequence[TransactionResult]) -> DialectAnswer:
    """200, also for a refusal, which `rejected` lists; 503 for what is to be sent again."""
    return answer_for_whole(results)


def _operation(op: UpdateType, row: _Row, where: str) -> CrudOperation:
    data = dict(row.data or {})
    inside = data.pop("id", None)
    row_id = row.id if row.id is not None else inside
    if not isinstance(row_id, str):
        raise RequestInvalid([f"{where} has no `id` that is a text, neither beside `data` nor in it"])
    if inside is not None and inside != row_id:
        raise RequestInvalid([f"{where} has two different ids, beside `data` and in it"])
    return CrudOperation(
        op=op,
        table=row.table,
        id=row_id,
        op_data=None if op is UpdateType.DELETE else data,
        client_op_id=row.client_op_id,
        previous_values=row.previous_values,
        metadata=row.metadata,
    )
