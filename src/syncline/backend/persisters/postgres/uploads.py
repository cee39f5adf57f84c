"""Verdicts over uploads, in the same database as their effects (design decision 12).

A repeat with the same content hears its stored verdict again, success or refusal. The same ids with other content mean a copied or
restored file on the device: CLIENT_FORKED, upon which the device takes a new client id and sends again.
"""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

from syncline.backend.persisters.base import UploadIdentity
from syncline.backend.persisters.postgres.pipeline import fails_as
from syncline.backend.persisters.repeats import verdict_of_repeat
from syncline.errors import ConfigError
from syncline.protocol.crud import TransactionResult

__all__ = ["CLAIM_SQL", "UPLOADS_TABLE_SQL", "claim_upload", "make_uploads_table"]

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
VALUES (%s, %s, %s, %s, %s, %s)
"""
# Ranges that are stored do not overlap, so that only the last one that begins at or before our end can reach into ours. A device has
# thousands of others, which need not be looked at.
_LATEST = """
SELECT first_crud_id, last_crud_id, content_hash, verdict FROM syncline_uploads
 WHERE user_id = %s AND client_id = %s AND first_crud_id <= %s ORDER BY first_crud_id DESC LIMIT 1
"""

CLAIM_SQL = f"""
WITH claimed AS (
  INSERT INTO syncline_uploads (user_id, client_id, first_crud_id, last_crud_id, content_hash, verdict)
  SELECT $1::text, $2::text, $3::bigint, $4::bigint, $5::text, $6::text
   WHERE coalesce((SELECT last_crud_id FROM syncline_uploads
                    WHERE user_id = $1::text AND client_id = $2::text AND first_crud_id <= $4::bigint
                    ORDER BY first_crud_id DESC LIMIT 1) < $3::bigint, true)
  RETURNING 1
)
SELECT CASE WHEN count(*) = 1 THEN 0 ELSE {fails_as("the operations have come before, or some of them")} END FROM claimed
"""  # noqa: S608 - of constants
"""Stores a new verdict; fails where any of its ids is taken. The device's lock must be held: `claim_upload` says the rest."""


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
    cursor = await connection.execute(_LATEST, (identity.user_id, identity.client_id, identity.last_crud_id))
    latest = await cursor.fetchone()
    if latest is None or latest[1] < identity.first_crud_id:
        await connection.execute(_INSERT, _row(identity, verdict))
        return None
    return verdict_of_repeat(identity, latest)


def _row(identity: UploadIdentity, verdict: TransactionResult) -> tuple[Any, ...]:
    return (
        identity.user_id,
        identity.client_id,
        identity.first_crud_id,
        identity.last_crud_id,
        identity.content_hash,
        msgspec.json.encode(verdict).decode(),
    )
