"""PURE: REST: `PUT`, `PATCH` or `DELETE` of `/api/data/{table}/{id}` for each changed row, its body the column values.

The body has no room for who sends it. A device that wants a repeat to be recognised says so in the headers `syncline-client-id` and
`syncline-client-op-id`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from syncline.backend.dialects.answers import DialectAnswer, answer_for_row
from syncline.backend.dialects.reading import checked_client_op_id, one_transaction, read
from syncline.errors import RequestInvalid
from syncline.protocol.crud import CrudBatch, CrudOperation, TransactionResult, UpdateType

__all__ = ["CLIENT_ID_HEADER", "CLIENT_OP_ID_HEADER", "decode_row", "encode"]

CLIENT_ID_HEADER = "syncline-client-id"
CLIENT_OP_ID_HEADER = "syncline-client-op-id"

_columns = msgspec.json.Decoder(dict[str, Any])


def decode_row(method: str, table: str, row_id: str, body: bytes, headers: Mapping[str, str]) -> CrudBatch:
    """The transaction of one row. `method` is PUT, PATCH or DELETE; names of `headers` are in lower case. Raises RequestInvalid."""
    op = UpdateType(method)
    if not table or not row_id:
        raise RequestInvalid(["The address must name a table and a row: /api/data/{table}/{id}"])
    data = None if op is UpdateType.DELETE else read(body, _columns)
    op_id = headers.get(CLIENT_OP_ID_HEADER)
    operation = CrudOperation(
        op=op,
        table=table,
        id=row_id,
        op_data=data,
        client_op_id=None if op_id is None else checked_client_op_id(op_id, where=CLIENT_OP_ID_HEADER),
    )
    return one_transaction([operation], headers.get(CLIENT_ID_HEADER), where="body")


def encode(results: Sequence[TransactionResult]) -> DialectAnswer:
    """204; 409 or 422 for a refusal, upon which the device goes on with the next row; 503 for what it must send again."""
    return answer_for_row(results[0])
