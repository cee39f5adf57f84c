"""A transaction that is under way, as procedures of the app see it (calls of mutators)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from syncline.backend.ownership import RowSecurity
from syncline.backend.persisters.base import RetryLater, UploadIdentity, Write, WriteContext, WriteRefused
from syncline.backend.persisters.postgres.errors import is_conflict, verdict_over
from syncline.backend.persisters.postgres.row_security import enter_row_security
from syncline.backend.persisters.postgres.uploads import claim_upload
from syncline.backend.rule_failures import rule_failed
from syncline.protocol.crud import TransactionResult

__all__ = ["PostgresTransaction", "run_procedure"]


class PostgresTransaction:
    """See `syncline.backend.persisters.base.OpenTransaction`."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        write: Callable[[Write], Awaitable[None]],
        *,
        security: RowSecurity | None,
        context: WriteContext,
    ) -> None:
        self._connection = connection
        self._write = write
        self._security = security
        self._context = context

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]:
        """The connection, inside the transaction: its end is not the procedure's to decide."""
        return self._connection

    async def write(self, write: Write) -> None:
        """Write one row with the checks that writes of devices meet. Raises WriteRefused, RetryLater."""
        await self._write(write)

    async def claim(self, identity: UploadIdentity, verdict: TransactionResult) -> TransactionResult | None:
        """Store a verdict in this transaction, or find the one that is stored. Raises WriteRefused, psycopg.Error."""
        if self._security is None or self._security.role is None:
            return await claim_upload(self._connection, identity, verdict)
        # The user's role has no business with the table of verdicts.
        await self._connection.execute("SET LOCAL ROLE NONE")
        stored = await claim_upload(self._connection, identity, verdict)
        await enter_row_security(self._connection, self._security, self._context)
        return stored


async def run_procedure(write: Write, transaction: PostgresTransaction) -> None:
    """Run what stands in the place of a write. Raises WriteRefused or RetryLater, and psycopg.Error for a conflict (try again).

    An exception that is neither a verdict nor the database's is a bug of the app, or passes: RetryLater.
    """
    assert write.procedure is not None
    try:
        await write.procedure(transaction)
    except psycopg.Error as exc:
        if is_conflict(exc):
            raise
        raise verdict_over(exc, operation_index=write.index) from exc
    except (WriteRefused, RetryLater):
        raise
    except Exception as exc:
        raise rule_failed(exc, write.table) from exc
