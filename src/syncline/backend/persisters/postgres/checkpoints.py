"""Custom write checkpoints (write path reference, 6): numbers that a backend gives out, which come back to the device by replication.

For backends that apply uploads later than they answer. The table has to be in the publication, and in the sync config's
`event_definitions`; a backend that commits before it answers, as ours does, needs none of it.
"""

from __future__ import annotations

from typing import Any

import psycopg

__all__ = ["count_checkpoint"]

_TABLE_SQL = """
CREATE TABLE IF NOT EXISTS syncline_checkpoints (
  user_id text NOT NULL,
  client_id text NOT NULL,
  checkpoint bigint NOT NULL,
  PRIMARY KEY (user_id, client_id)
)
"""
_COUNT_SQL = """
INSERT INTO syncline_checkpoints (user_id, client_id, checkpoint) VALUES (%s, %s, 1)
ON CONFLICT (user_id, client_id) DO UPDATE SET checkpoint = syncline_checkpoints.checkpoint + 1
RETURNING checkpoint
"""


async def count_checkpoint(connection: psycopg.AsyncConnection[Any], user_id: str, client_id: str) -> int:
    """Count up and return. The table is made by the first call: most backends never ask for one."""
    cursor = await connection.execute("SELECT to_regclass('syncline_checkpoints') IS NULL")
    if await cursor.fetchone() == (True,):
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('syncline_checkpoints'))")
        await connection.execute(_TABLE_SQL)
    row = await (await connection.execute(_COUNT_SQL, (user_id, client_id))).fetchone()
    assert row is not None
    return int(row[0])
