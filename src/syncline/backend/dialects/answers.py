"""PURE: verdicts over transactions, told in dialects that know a status and little more.

A device of such a dialect completes what it sent at any 2xx, whatever the body says; and one that gets an error for a row that will never
be taken sends it for ever. So the status is 200 as soon as nothing has to be sent again, also for a refusal (the backend keeps a dead
letter, and devices that read the body find `success: false`), and 503 for everything that must stay in the queue: what failed for now,
and what the device's app has to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import msgspec

from syncline.protocol.crud import ResultStatus, TransactionResult

__all__ = ["DialectAnswer", "RowRefused", "WholeAnswer", "answer_for_row", "answer_for_whole", "refused"]

_CONFLICTS = frozenset({"CONFLICT", "UNIQUE_VIOLATION"})  # codes that HTTP has a status of its own for


class RowRefused(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a row, or a transaction, was not applied. `index` and `op_id` say which one of a request it was."""

    message: str
    error_code: str
    details: Any = None
    operation_index: int | None = None
    index: int | None = None
    op_id: str | None = None


class WholeAnswer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of a request. `rejected` lists what was refused for good; `error` is the first reason, in words.

    `results` are the verdicts of the write API, one for each transaction of a list, where one of them was refused.
    """

    success: bool
    error: str | None = None
    error_code: str | None = None
    rejected: list[RowRefused] = []
    results: list[TransactionResult] = []


@dataclass(frozen=True, slots=True)
class DialectAnswer:
    """An HTTP answer: a JSON object, None for no body; names of headers in lower case."""

    status: int
    body: WholeAnswer | RowRefused | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def refused(result: TransactionResult) -> bool:
    """Whether this is a refusal for good that asks nothing of the device."""
    return result.status is ResultStatus.FATAL_ERROR and not result.requires_client_handling


def answer_for_whole(results: Sequence[TransactionResult], *, names: Sequence[str] = ()) -> DialectAnswer:
    """One answer over all transactions of a request; `names` says what the device calls each, where it has a name."""
    staying = next((result for result in results if _stays(result)), None)
    if staying is not None:
        body = WholeAnswer(success=False, error=_message(staying), error_code=_code(staying))
        return DialectAnswer(503, body, _retry_headers(staying))
    rejected = [
        _refusal(result, index=index, op_id=names[index] if names else None)
        for index, result in enumerate(results)
        if refused(result)
    ]
    if not rejected:
        return DialectAnswer(200, WholeAnswer(success=True))
    first = rejected[0]
    body = WholeAnswer(
        success=False,
        error=first.message,
        error_code=first.error_code,
        rejected=rejected,
        results=list(results) if names else [],
    )
    return DialectAnswer(200, body)


def answer_for_row(result: TransactionResult) -> DialectAnswer:
    """The answer over one row, for devices that skip it at a 4xx: 204, or 409 and 422 for a refusal.

    Never 401 or 403, whatever the reason: those are about who asks, and devices keep the row for them.
    """
    if _stays(result):
        return DialectAnswer(503, _refusal(result), _retry_headers(result))
    if refused(result):
        return DialectAnswer(409 if _code(result) in _CONFLICTS else 422, _refusal(result))
    return DialectAnswer(204)


def _stays(result: TransactionResult) -> bool:
    """Whether the device has to keep it: what failed for now, what its app must decide, and what stands behind those."""
    return result.status is not ResultStatus.SUCCESS and not refused(result)


def _retry_headers(result: TransactionResult) -> dict[str, str]:
    if result.retry_after_ms is None:
        return {}
    return {"retry-after": str(max(1, ceil(result.retry_after_ms / 1000)))}  # whole seconds (RFC 9110, 10.2.3)


def _refusal(result: TransactionResult, *, index: int | None = None, op_id: str | None = None) -> RowRefused:
    operation = result.failed_operation
    return RowRefused(
        message=_message(result),
        error_code=_code(result),
        details=operation.details if operation is not None else None,
        operation_index=operation.operation_index if operation is not None else None,
        index=index,
        op_id=op_id,
    )


def _message(result: TransactionResult) -> str:
    operation = result.failed_operation
    return result.message or (operation.message if operation is not None else "") or "The write was not applied."


def _code(result: TransactionResult) -> str:
    if result.failed_operation is not None:
        return result.failed_operation.error_code
    return "UNCLASSIFIED_ERROR" if result.status is ResultStatus.FATAL_ERROR else "RETRY_LATER"
