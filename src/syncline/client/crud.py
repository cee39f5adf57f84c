"""One entry of the upload queue, as apps see it (client SQLite reference, 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from syncline.errors import ClientError
from syncline.protocol.crud import UpdateType

__all__ = ["CrudEntry", "QueuedTransaction"]


class _Stored(msgspec.Struct):
    """The JSON in `ps_crud.data`."""

    op: UpdateType
    id: str
    type: str
    data: dict[str, Any] | None = None
    old: dict[str, Any] | None = None
    metadata: str | None = None


_decoder = msgspec.json.Decoder(_Stored)


@dataclass(frozen=True, slots=True)
class CrudEntry:
    """One changed row that waits for its upload.

    `client_id` is `ps_crud.id` of this entry: it grows with every entry and is never used again. `op_data` holds the non-null
    columns of a PUT and the changed columns of a PATCH (None: set to NULL); a DELETE has none. `transaction_id` is the number
    of the local transaction. `previous_values` and `metadata` are there when the table tracks them.
    """

    client_id: int
    id: str
    op: UpdateType
    table: str
    op_data: dict[str, Any] | None
    transaction_id: int | None
    previous_values: dict[str, Any] | None = None
    metadata: str | None = None

    @classmethod
    def from_row(cls, crud_id: int, transaction_id: int | None, data: str) -> CrudEntry:
        """Read a row of `ps_crud`. Raises ClientError when another program wrote something else there."""
        try:
            stored = _decoder.decode(data)
        except (msgspec.ValidationError, msgspec.DecodeError) as exc:
            raise ClientError(
                f"Entry {crud_id} of the upload queue cannot be read.",
                hint="Another program changed the table ps_crud: repair or delete the row with this id.",
            ) from exc
        return cls(crud_id, stored.id, stored.op, stored.type, stored.data, transaction_id, stored.old, stored.metadata)


@dataclass(frozen=True, slots=True)
class QueuedTransaction:
    """The entries of one local transaction, oldest first; never empty. `transaction_id` None: written without one."""

    transaction_id: int | None
    entries: list[CrudEntry]

    @property
    def last_crud_id(self) -> int:
        """What `CrudQueue.complete` takes to remove this transaction."""
        return self.entries[-1].client_id
