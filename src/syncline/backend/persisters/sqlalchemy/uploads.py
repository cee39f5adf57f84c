"""Verdicts over uploads, in the same database as their effects (design decision 12), and write checkpoints.

A repeat with the same content hears its stored verdict again, success or refusal. The same ids with other content mean a copied or
restored file on the device: CLIENT_FORKED, upon which the device takes a new client id and sends again.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.persisters.base import UploadIdentity
from syncline.backend.persisters.repeats import verdict_of_repeat
from syncline.backend.persisters.sqlalchemy.databases import Database
from syncline.backend.persisters.sqlalchemy.own_tables import OwnTables
from syncline.protocol.crud import TransactionResult

__all__ = ["claim_upload", "count_checkpoint"]


async def claim_upload(
    connection: AsyncConnection,
    database: Database,
    tables: OwnTables,
    identity: UploadIdentity,
    verdict: TransactionResult,
) -> TransactionResult | None:
    """Store the verdict that will hold once this transaction commits; None where the upload is new.

    A repeat gets the stored verdict. Waits for a concurrent upload of the same device to end. Raises WriteRefused (CLIENT_FORKED).
    """
    database.check_key(identity.user_id)
    await database.lock_device(connection, tables.devices, identity.user_id, identity.client_id)
    uploads = tables.uploads.c
    # Stored ranges do not overlap, so only the last one that begins at or before our end can reach into ours.
    latest = (
        sa.select(uploads.first_crud_id, uploads.last_crud_id, uploads.content_hash, uploads.verdict)
        .where(uploads.user_id == identity.user_id, uploads.client_id == identity.client_id)
        .where(uploads.first_crud_id <= identity.last_crud_id)
        .order_by(uploads.first_crud_id.desc())
        .limit(1)
    )
    found = (await connection.execute(latest)).first()
    if found is not None and found[1] >= identity.first_crud_id:
        return verdict_of_repeat(identity, found)
    row = {
        "user_id": identity.user_id,
        "client_id": identity.client_id,
        "first_crud_id": identity.first_crud_id,
        "last_crud_id": identity.last_crud_id,
        "content_hash": identity.content_hash,
        "verdict": msgspec.json.encode(verdict).decode(),
        "created_at": datetime.now(UTC),
    }
    await connection.execute(tables.uploads.insert(), row)
    return None


async def count_checkpoint(
    connection: AsyncConnection, database: Database, tables: OwnTables, user_id: str, client_id: str
) -> int:
    """Count the write checkpoint of a device up by one, and return it (write path reference, 6)."""
    database.check_key(user_id)
    await database.lock_device(connection, tables.devices, user_id, client_id)
    counts = tables.checkpoints
    mine = sa.and_(counts.c.user_id == user_id, counts.c.client_id == client_id)
    counted = counts.update().where(mine).values(checkpoint=counts.c.checkpoint + 1)
    if (await connection.execute(counted)).rowcount == 0:
        with contextlib.suppress(IntegrityError):  # the Postgres persister on the same database takes no lock for it
            async with connection.begin_nested():
                await connection.execute(counts.insert().values(user_id=user_id, client_id=client_id, checkpoint=1))
                return 1
        await connection.execute(counted)
    return int((await connection.execute(sa.select(counts.c.checkpoint).where(mine))).scalar_one())
