"""How long verdicts are kept (write path reference, 3): UPLOADS_KEPT_DAYS, and of each device the last UPLOADS_KEPT_MAX."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.limits import DEVICES_COUNTED_MAX, UPLOADS_BETWEEN_PRUNINGS, UPLOADS_KEPT_DAYS, UPLOADS_KEPT_MAX
from syncline.backend.persisters.base import UploadIdentity
from syncline.backend.persisters.sqlalchemy.own_tables import OwnTables

__all__ = ["StoredVerdicts", "drop_old_uploads", "drop_surplus"]


class StoredVerdicts:
    """Counts the verdicts that this process stores, by device, and says when the surplus of one should go.

    What it does not count (before a restart, in other processes) is counted by its successors: a device that goes on comes to its turn.
    """

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], int] = {}

    def count(self, identity: UploadIdentity) -> bool:
        """Count one more; whether the device's surplus is due."""
        device = (identity.user_id, identity.client_id)
        if device not in self._stored and len(self._stored) >= DEVICES_COUNTED_MAX:
            self._stored.clear()
        self._stored[device] = self._stored.get(device, 0) + 1
        if self._stored[device] < UPLOADS_BETWEEN_PRUNINGS:
            return False
        del self._stored[device]
        return True


async def drop_old_uploads(connection: AsyncConnection, tables: OwnTables) -> None:
    """Forget verdicts that no device will ask for any more, by their age."""
    oldest = datetime.now(UTC) - timedelta(days=UPLOADS_KEPT_DAYS)
    await connection.execute(tables.uploads.delete().where(tables.uploads.c.created_at < oldest))


async def drop_surplus(connection: AsyncConnection, tables: OwnTables, identity: UploadIdentity) -> None:
    """Forget all but the last UPLOADS_KEPT_MAX verdicts of a device, and old ones of everybody."""
    uploads = tables.uploads
    device = sa.and_(uploads.c.user_id == identity.user_id, uploads.c.client_id == identity.client_id)
    first = sa.select(uploads.c.first_crud_id).where(device).order_by(uploads.c.first_crud_id.desc())
    surplus = (await connection.execute(first.offset(UPLOADS_KEPT_MAX).limit(1))).scalar()
    if surplus is not None:
        await connection.execute(uploads.delete().where(device, uploads.c.first_crud_id <= surplus))
    await drop_old_uploads(connection, tables)
