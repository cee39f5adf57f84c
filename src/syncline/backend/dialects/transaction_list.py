"""PURE: transactions as a list: `PUT /api/powersync/upload` with `{"transactions": [{"op_id", "ops": [{op, table, id, data}]}]}`.

Every transaction is one of the database. The answer is for all of them, so that a refused one does not keep those behind it from being
applied: they would be sent again for ever, or completed without an effect.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from syncline.backend.dialects.answers import DialectAnswer, answer_for_whole
from syncline.backend.dialects.reading import checked_client_op_id, read
from syncline.errors import RequestInvalid
from syncline.protocol.crud import (
    CrudBatch,
    CrudOperation,
    CrudTransaction,
    TransactionResult,
    UpdateType,
    check_transactions,
)

__all__ = ["ListedOperation", "ListedTransaction", "TransactionList", "TransactionListBody", "decode", "encode"]

_NAMED_BY_CRUD_ID = re.compile(r"crud:(\d+)")


class ListedOperation(msgspec.Struct, kw_only=True):
    """One changed row."""

    op: UpdateType
    table: str
    id: str
    data: dict[str, Any] | None = None
    client_op_id: int | None = None
    previous_values: dict[str, Any] | None = None
    metadata: str | None = None


class ListedTransaction(msgspec.Struct, kw_only=True):
    """One client transaction, and what the device calls it."""

    op_id: str = ""
    ops: list[ListedOperation]


class TransactionListBody(msgspec.Struct, kw_only=True):
    """The body: transactions in the order of the queue. `client_id` is for devices that number their operations."""

    transactions: list[ListedTransaction]
    client_id: str | None = None


class TransactionList(msgspec.Struct, frozen=True):
    """A request: its transactions, and what the device calls each."""

    batch: CrudBatch
    names: list[str]


_decoder = msgspec.json.Decoder(TransactionListBody)


def decode(body: bytes) -> TransactionList:
    """The transactions of a request, in order. Raises RequestInvalid.

    `crud:41` as `op_id` names the device's first operation of the transaction. With a `client_id` beside the list, and no numbers of
    their own, the operations count on from there, so that a repeat is recognised.
    """
    asked = read(body, _decoder)
    transactions = [_transaction(each, asked.client_id is not None) for each in asked.transactions]
    try:
        check_transactions(transactions)
    except RequestInvalid as exc:
        raise RequestInvalid([problem.replace("].crud", "].ops") for problem in exc.problems]) from None
    return TransactionList(
        CrudBatch(transactions, client_id=asked.client_id), [each.op_id for each in asked.transactions]
    )


def encode(request: TransactionList, results: Sequence[TransactionResult]) -> DialectAnswer:
    """200 where nothing is to be sent again, with `rejected` for what was refused; 503 where something is."""
    return answer_for_whole(results, names=request.names)


def _transaction(asked: ListedTransaction, numbered: bool) -> CrudTransaction:
    named = _NAMED_BY_CRUD_ID.fullmatch(asked.op_id)
    first = None
    if numbered and named is not None and all(each.client_op_id is None for each in asked.ops):
        first = checked_client_op_id(named[1], where="op_id", count=len(asked.ops))
    return CrudTransaction(
        [
            CrudOperation(
                op=each.op,
                table=each.table,
                id=each.id,
                op_data=each.data,
                client_op_id=each.client_op_id if first is None else first + index,
                previous_values=each.previous_values,
                metadata=each.metadata,
            )
            for index, each in enumerate(asked.ops)
        ]
    )
