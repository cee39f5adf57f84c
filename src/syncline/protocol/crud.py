"""What a client uploads to its backend: the batch form of the write API (write path reference, 2.3).

`client_id` and `client_op_id` are our additions (design decision 12): together with the user they identify a client
transaction, so that a repeat has no second effect. Official SDKs send neither; unknown fields are ignored both ways.
"""

from __future__ import annotations

import enum
from hashlib import sha256
from typing import Any

import msgspec

from syncline.errors import RequestInvalid

__all__ = [
    "OPERATIONS_MAX",
    "TRANSACTIONS_MAX",
    "WRITE_API_VERSION",
    "CrudBatch",
    "CrudOperation",
    "CrudTransaction",
    "FailedOperation",
    "ResultStatus",
    "TransactionResult",
    "UpdateType",
    "UploadResponse",
    "check_transactions",
    "content_hash",
    "decode_crud_batch",
    "decode_upload",
    "decode_upload_response",
]

TRANSACTIONS_MAX = 50  # transactions of one request
OPERATIONS_MAX = 10_000  # operations of one request, over all transactions
WRITE_API_VERSION = (
    1  # raised where a field changes what a request or an answer means; a new field alone does not raise it
)


class UpdateType(enum.StrEnum):
    """What a local write did to a row; the values are the wire's."""

    PUT = "PUT"  # a new row, with its non-null columns
    PATCH = "PATCH"  # changed columns only; null sets a column to NULL
    DELETE = "DELETE"


class CrudOperation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One changed row."""

    op: UpdateType
    table: str
    id: str
    op_data: dict[str, Any] | None = None
    client_op_id: int | None = None  # `ps_crud.id` on the device
    transaction_id: int | None = None
    previous_values: dict[str, Any] | None = None
    metadata: str | None = None


class CrudTransaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the app wrote in one local transaction: applied as a whole, or not at all."""

    crud: list[CrudOperation]
    transaction_id: int | None = None


class CrudBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of `POST /api/data`: 1 to 50 transactions in queue order. `protocol_version` is what the sender knows of the write API."""

    transactions: list[CrudTransaction]
    client_id: str | None = None
    protocol_version: int = WRITE_API_VERSION


class ResultStatus(enum.StrEnum):
    """Verdict over one transaction."""

    SUCCESS = "success"
    RETRYABLE_ERROR = "retryable_error"
    FATAL_ERROR = "fatal_error"
    NOT_ATTEMPTED = "not_attempted"


class FailedOperation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which operation failed, and why."""

    error_code: str
    message: str = ""
    details: Any = None
    operation_index: int | None = None


class TransactionResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Verdict over one transaction of the batch.

    `deduplicated` and `dead_lettered` are our additions: the verdict was stored before; the backend keeps the refused transaction durably,
    so the device need not.
    """

    status: ResultStatus
    message: str | None = None
    retry_after_ms: int | None = None
    requires_client_handling: bool | None = None
    failed_operation: FailedOperation | None = None
    deduplicated: bool = False
    dead_lettered: bool = False


class UploadResponse(msgspec.Struct, frozen=True):
    """Answer of `POST /api/data`: one result per transaction, in the same order. `protocol_version` is what the backend knows."""

    results: list[TransactionResult]
    protocol_version: int = WRITE_API_VERSION


_batch_decoder = msgspec.json.Decoder(CrudBatch)
_response_decoder = msgspec.json.Decoder(UploadResponse)
_canonical = msgspec.json.Encoder(order="sorted").encode


def decode_crud_batch(body: bytes) -> CrudBatch:
    """Parse and check an upload. Raises RequestInvalid with what is wrong, where."""
    try:
        batch = _batch_decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestInvalid([str(exc)]) from exc
    check_transactions(batch.transactions)
    return batch


class _Shape(msgspec.Struct):
    """Which form of the write API a body has."""

    transactions: msgspec.Raw = msgspec.Raw(b"")
    crud: msgspec.Raw = msgspec.Raw(b"")


_shape_decoder = msgspec.json.Decoder(_Shape)
_transaction_decoder = msgspec.json.Decoder(CrudTransaction)


def decode_upload(body: bytes) -> CrudBatch | CrudTransaction:
    """Parse and check an upload in either form: `transactions` is the batch, `crud` the first form, one transaction alone.

    Raises RequestInvalid with what is wrong, where.
    """
    try:
        shape = _shape_decoder.decode(body)
        if bytes(shape.transactions) or not bytes(shape.crud):
            return decode_crud_batch(body)
        transaction = _transaction_decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestInvalid([str(exc)]) from exc
    check_transactions([transaction])
    return transaction


def check_transactions(transactions: list[CrudTransaction]) -> None:
    """Raise RequestInvalid for what the types do not say: how many there are, and none without an operation."""
    problems: list[str] = []
    if not 1 <= len(transactions) <= TRANSACTIONS_MAX:
        problems.append(f"transactions must have 1 to {TRANSACTIONS_MAX} entries, got {len(transactions)}")
    problems += [
        f"transactions[{i}].crud is empty" for i, transaction in enumerate(transactions) if not transaction.crud
    ]
    operations = sum(len(transaction.crud) for transaction in transactions)
    if operations > OPERATIONS_MAX:
        problems.append(f"{operations} operations in one request, at most {OPERATIONS_MAX} are allowed")
    if problems:
        raise RequestInvalid(problems)


def decode_upload_response(body: bytes) -> UploadResponse:
    """Parse a backend's answer. Raises RequestInvalid when it is not one of ours."""
    try:
        return _response_decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RequestInvalid([str(exc)]) from exc


def content_hash(transaction: CrudTransaction) -> str:
    """SHA-256 (hex) of a transaction's canonical content: the same for a repeat, another for other content."""
    return sha256(_canonical(transaction)).hexdigest()
