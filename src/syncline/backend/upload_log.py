"""One line of the log for each client transaction that got a verdict: counts, names and codes, never values."""

from __future__ import annotations

import logging

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX, TABLES_LOGGED_MAX
from syncline.protocol.crud import CrudTransaction, ResultStatus, TransactionResult

__all__ = ["log_transaction"]

log = logging.getLogger(__name__)


def log_transaction(
    transaction: CrudTransaction, result: TransactionResult, *, user_id: str, client_id: str | None, seconds: float
) -> None:
    """The event `backend.upload`, with its fields: INFO for a success, WARNING for the rest.

    `transaction_id` is the device's own number of it. Names of tables come from the device, so they are shortened, and their number has a
    limit.
    """
    tables = sorted({entry.table[:NAME_CHARACTERS_SHOWN_MAX] for entry in transaction.crud})
    failed = result.failed_operation
    log.log(
        logging.INFO if result.status is ResultStatus.SUCCESS else logging.WARNING,
        "Upload %s",
        result.status,
        extra={
            "event": "backend.upload",
            "user_id": user_id,
            "client_id": client_id or "",
            "transaction_id": _transaction_id(transaction),
            "status": str(result.status),
            "operations": len(transaction.crud),
            "tables": ",".join(tables[:TABLES_LOGGED_MAX]),
            "error_code": failed.error_code if failed else "",
            "deduplicated": result.deduplicated,
            "dead_lettered": result.dead_lettered,
            "ms": round(seconds * 1000, 1),
        },
    )


def _transaction_id(transaction: CrudTransaction) -> int | None:
    """Official SDKs number transactions, or the entries of one, or neither."""
    if transaction.transaction_id is not None or not transaction.crud:
        return transaction.transaction_id
    return transaction.crud[0].transaction_id
