"""Verdicts over uploads, in the same database as their effects (design decision 12).

A repeat with the same content hears its stored verdict again, success or refusal. The same ids with other content mean a copied or
restored file on the device: CLIENT_FORKED, upon which the device takes a new client id and sends again.
"""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

from syncline.backend.limits import UPLOADS_KEPT_DAYS
from syncline.backend.persisters.base import CLIENT_FORKED, UploadIdentity, WriteRefused
from syncline.errors import ConfigError
from syncline.protocol.crud import TransactionResult

__all__ = ["UPLOADS_TABLE_SQL", "claim_upload", "drop_old_uploads", "make_uploads_table"]

UPLOADS_TABLE_SQL = """
CREATE TABLE IF NOT EXISTS syncline_uploads (
  user_id text NOT NULL,
  client_id text NOT NULL,
  first_crud_id bigint NOT NULL,
  last_crud_id bigint NOT NULL,
  content_hash text NOT NULL,
  verdict text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, client_id, first_crud_id, last_crud_id)
);
CREATE INDEX IF NOT EXISTS syncline_uploads_created_at ON syncline_uploads (created_at);
"""

# Uploads of one device wait for each other: ranges that overlap must be seen, also while both are being applied.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s || '/' || %s, 0))"
_INSERT = """
INSERT INTO syncline_uploads (user_id, client_id, first_crud_id, last_crud_id, content_hash, verdict)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_OVERLAPPING = """
SELECT first_crud_id, last_crud_id, content_hash, verdict FROM syncline_uploads
 WHERE user_id = %s AND client_id = %s AND first_crud_id <= %s AND last_crud_id >= %s
"""


async def make_uploads_table(connection: psycopg.AsyncConnection[Any]) -> None:
    """Make the table of verdicts where there is none. Raises ConfigError where the role may not.

    Postgres asks for the right to create before it looks whether there is anything to create, hence the look beforehand.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('syncline_uploads'))")
    cursor = await connection.execute("SELECT to_regclass('syncline_uploads') IS NOT NULL")
    if await cursor.fetchone() == (True,):
        return
    try:
        await connection.execute(UPLOADS_TABLE_SQL)
    except psycopg.errors.InsufficientPrivilege as exc:
        raise ConfigError(
            "The backend's database role may not make the table syncline_uploads.",
            hint=f"Run this as the owner of the database, and grant the role SELECT, INSERT and DELETE on it:{UPLOADS_TABLE_SQL}",
        ) from exc


async def claim_upload(
    connection: psycopg.AsyncConnection[Any], identity: UploadIdentity, verdict: TransactionResult
) -> TransactionResult | None:
    """Store the verdict that will hold once this transaction commits; None where the upload is new.

    A repeat gets the stored verdict. Waits for a concurrent upload of the same device to end. Raises WriteRefused (CLIENT_FORKED).
    """
    await connection.execute(_LOCK, (identity.user_id, identity.client_id))
    cursor = await connection.execute(_INSERT, _row(identity, verdict))
    inserted = cursor.rowcount == 1
    cursor = await connection.execute(
        _OVERLAPPING, (identity.user_id, identity.client_id, identity.last_crud_id, identity.first_crud_id)
    )
    for first, last, content_hash, stored in await cursor.fetchall():
        same = (first, last) == (identity.first_crud_id, identity.last_crud_id)
        if same and inserted:
            continue  # our own
        if same and content_hash == identity.content_hash:
            result = msgspec.json.decode(stored, type=TransactionResult)
            return msgspec.structs.replace(result, deduplicated=True)
        raise WriteRefused(
            CLIENT_FORKED,
            "These operation ids were used for other content: the device's file is a copy. Take a new client id and send again.",
        )
    return None


async def drop_old_uploads(connection: psycopg.AsyncConnection[Any]) -> None:
    """Forget verdicts that no device will ask for any more."""
    await connection.execute(
        "DELETE FROM syncline_uploads WHERE created_at < now() - make_interval(days => %s)", (UPLOADS_KEPT_DAYS,)
    )


def _row(identity: UploadIdentity, verdict: TransactionResult) -> tuple[Any, ...]:
    return (
        identity.user_id,
        identity.client_id,
        identity.first_crud_id,
        identity.last_crud_id,
        identity.content_hash,
        msgspec.json.encode(verdict).decode(),
    )
