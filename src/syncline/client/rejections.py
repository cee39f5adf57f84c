"""Refusals that come back by sync: rows of `powersync_write_results`, which a backend writes with each dead letter where it is asked to.

The answer to an upload tells one device, once. These rows reach all devices of the user, whenever they are online, and stay unresolved
until the letter is settled; the refused rows go back to what the server has by themselves.

    schema = Schema([..., rejections_table()])
    async for rejections in watch_rejections(db):
        ...
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from syncline.client.schema import Column, Table
from syncline.client.watch import Watch

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["REJECTIONS_TABLE", "RejectedOperation", "Rejection", "rejections_table", "watch_rejections"]

REJECTIONS_TABLE = "powersync_write_results"


class RejectedOperation(msgspec.Struct, frozen=True):
    """One row that the refused transaction wrote; its values are with the backend."""

    op: str
    table: str
    id: str


class Rejection(msgspec.Struct, frozen=True):
    """One refused transaction. `client_id` is the device's; `operation_index` counts from 0 within `operations`."""

    id: str
    client_id: str | None
    transaction_id: int | None
    operations: list[RejectedOperation]
    operation_index: int | None
    code: str
    message: str
    created_at: datetime
    resolved: bool


def rejections_table() -> Table:
    """The table for the app's schema. Its stream: `SELECT * FROM powersync_write_results WHERE user_id = auth.user_id()`."""
    texts = [Column.text(name) for name in ("user_id", "client_id", "operations", "code", "message", "created_at")]
    return Table(
        REJECTIONS_TABLE,
        [*texts, *(Column.integer(name) for name in ("transaction_id", "operation_index", "resolved"))],
    )


def watch_rejections(db: SyncDatabase, *, resolved: bool = False) -> Watch[list[Rejection]]:
    """The user's refused transactions, oldest first, now and after each change; with `resolved` those that were settled too."""
    columns = ", ".join(Rejection.__struct_fields__)
    open_only = "" if resolved else " WHERE resolved = 0"
    return db.watch(
        f"SELECT {columns} FROM {REJECTIONS_TABLE}{open_only} ORDER BY created_at, id",  # noqa: S608 - our own names
        row_type=Rejection,
    )
