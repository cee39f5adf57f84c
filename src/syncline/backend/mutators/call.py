"""What a mutator's function works with: who calls, and the database transaction that the call is a part of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from syncline.backend.persisters.base import CLIENT_FORKED, OpenTransaction, Write, WriteContext
from syncline.protocol.crud import CrudOperation, UpdateType

__all__ = ["JudgeWrite", "MutationRefused", "MutatorCall"]

JudgeWrite = Callable[[int, CrudOperation, WriteContext], Write]
"""The write of an operation, after its table's policy. Raises WriteRefused."""

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,62}")


class MutationRefused(Exception):
    """Raised by a mutator's function: the whole client transaction is refused for good, with a code of the app's own.

    >>> raise MutationRefused("ALREADY_TAKEN", "Somebody was faster.")

    `code` is in capitals; `message` is for people and `details` (JSON) for the app, both without what the user may not see.
    """

    def __init__(self, code: str, message: str = "", *, details: Any = None) -> None:
        if not _CODE.fullmatch(code) or code == CLIENT_FORKED:
            raise ValueError(
                "The code of a refusal is of the form NAME_OF_THE_REASON, and none that has a meaning of its own."
            )
        super().__init__(code)
        self.code = code
        self.message = message or code
        self.details = details


class MutatorCall:
    """One call. Whatever its function writes is committed with the rest of the client transaction, or not at all.

    `id` names the call: the same for each repeat. `client_id` is the device's, None where it did not say.
    """

    def __init__(
        self,
        call_id: str,
        name: str,
        context: WriteContext,
        transaction: OpenTransaction,
        judge: JudgeWrite,
        index: int,
    ) -> None:
        self.id = call_id
        self.name = name
        self._index = index
        self._context = context
        self._transaction = transaction
        self._judge = judge

    @property
    def user_id(self) -> str:
        """The user of the token."""
        return self._context.user_id

    @property
    def claims(self) -> Mapping[str, Any]:
        """All claims of the token."""
        return self._context.claims

    @property
    def client_id(self) -> str | None:
        """The device."""
        return self._context.client_id

    @property
    def received_at(self) -> datetime:
        """When the upload arrived."""
        return self._context.received_at

    @property
    def connection(self) -> Any:
        """The driver's connection, for SQL of the app's own: with all rights of the backend, whatever the policies say.

        With psycopg: `await call.connection.execute("UPDATE …", (…))`. Begin and end of the transaction are not the function's.
        """
        return self._transaction.connection

    async def put(self, table: str, row_id: str, data: Mapping[str, Any]) -> None:
        """Insert or update a row, as an upload of this user would: under the table's policy. Raises WriteRefused, RetryLater."""
        await self._write(UpdateType.PUT, table, row_id, data)

    async def patch(self, table: str, row_id: str, data: Mapping[str, Any]) -> None:
        """Update columns of a row that is the user's; no such row, no effect. Raises as `put`."""
        await self._write(UpdateType.PATCH, table, row_id, data)

    async def delete(self, table: str, row_id: str) -> None:
        """Delete a row that is the user's; no such row, no effect. Raises as `put`."""
        await self._write(UpdateType.DELETE, table, row_id, None)

    async def _write(self, op: UpdateType, table: str, row_id: str, data: Mapping[str, Any] | None) -> None:
        operation = CrudOperation(op=op, table=table, id=row_id, op_data=None if data is None else dict(data))
        await self._transaction.write(self._judge(self._index, operation, self._context))
