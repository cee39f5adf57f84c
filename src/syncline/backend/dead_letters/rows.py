"""Dead letters as rows of a database: the same columns in every one. No I/O.

JSON is text: a jsonb column cannot hold every text that a device can send (a zero character). Times are aware, in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from syncline.backend.dead_letters.letters import DeadLetter, DeadLetterState
from syncline.backend.limits import WRITE_RESULT_OPERATIONS_MAX
from syncline.protocol.crud import CrudTransaction, TransactionResult

__all__ = ["LETTER_COLUMNS", "letter_of", "letter_row", "verdict_columns", "write_result_row"]

LETTER_COLUMNS = (
    "id", "created_at", "user_id", "client_id", "content", "content_hash", "content_bytes", "code", "message", "details",
    "operation_index", "claims", "state", "settled_at", "occurrences", "last_at", "retries",
)  # fmt: skip
"""The columns of `syncline_dead_letters`."""


def letter_row(letter: DeadLetter) -> dict[str, Any]:
    """The values of LETTER_COLUMNS."""
    content = msgspec.json.encode(letter.transaction)
    return {
        "id": letter.id,
        "created_at": letter.created_at,
        "user_id": letter.user_id,
        "client_id": letter.client_id,
        "content": content.decode(),
        "content_hash": letter.content_hash,
        "content_bytes": len(content),
        **_verdict(letter.code, letter.message, letter.details, letter.operation_index),
        "claims": _json(letter.claims),
        "state": str(letter.state),
        "settled_at": letter.settled_at,
        "occurrences": letter.occurrences,
        "last_at": letter.last_at,
        "retries": letter.retries,
    }


def verdict_columns(verdict: TransactionResult) -> dict[str, Any]:
    """What a later refusal changes of a letter's row: `code`, `message`, `details`, `operation_index`."""
    failed = verdict.failed_operation
    assert failed is not None, "a refusal says what failed"
    return _verdict(failed.error_code, failed.message, failed.details, failed.operation_index)


def letter_of(row: Mapping[str, Any]) -> DeadLetter:
    """The letter of a row with LETTER_COLUMNS."""
    created_at = _utc(row["created_at"])
    assert created_at is not None
    return DeadLetter(
        row["id"],
        created_at,
        row["user_id"],
        row["client_id"],
        msgspec.json.decode(row["content"], type=CrudTransaction),
        row["content_hash"],
        row["code"],
        row["message"],
        None if row["details"] is None else msgspec.json.decode(row["details"]),
        row["operation_index"],
        claims=msgspec.json.decode(row["claims"], type=dict[str, Any]),
        state=DeadLetterState(row["state"]),
        settled_at=_utc(row["settled_at"]),
        occurrences=row["occurrences"],
        last_at=_utc(row["last_at"]),
        retries=row["retries"],
    )


def write_result_row(letter: DeadLetter) -> dict[str, Any]:
    """The letter's row of `powersync_write_results`, which is synced back to its user.

    `operations` is a JSON list of `op`, `table` and `id`, without values: the first WRITE_RESULT_OPERATIONS_MAX.
    """
    operations = [
        {"op": str(operation.op), "table": operation.table, "id": operation.id}
        for operation in letter.transaction.crud[:WRITE_RESULT_OPERATIONS_MAX]
    ]
    return {
        "id": letter.id,
        "user_id": letter.user_id,
        "client_id": letter.client_id,
        "transaction_id": letter.transaction.transaction_id,
        "operations": _json(operations),
        "operation_index": letter.operation_index,
        "code": letter.code,
        "message": letter.message,
        "created_at": letter.created_at,
        "resolved": False,
    }


def _verdict(code: str, message: str, details: Any, operation_index: int | None) -> dict[str, Any]:
    return {
        "code": code,
        "message": message.replace("\0", "\ufffd"),  # no Postgres text can hold it
        "details": None if details is None else _json(details),
        "operation_index": operation_index,
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _utc(time: datetime | None) -> datetime | None:
    """Databases without time zones give naive times, which are UTC."""
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
