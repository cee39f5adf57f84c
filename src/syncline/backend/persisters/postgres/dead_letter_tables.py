"""The tables of dead letters, of reports about them, and of failures of unknown cause."""

from __future__ import annotations

from typing import Any

import psycopg

from syncline.backend.limits import DEAD_LETTERS_KEPT_DAYS, UPLOADS_KEPT_DAYS
from syncline.errors import ConfigError

__all__ = ["DEAD_LETTERS_TABLE_SQL", "WRITE_RESULTS_TABLE_SQL", "drop_old_letters", "make_dead_letter_tables"]

# JSON stands in text columns: jsonb cannot hold every text that a device can send (a zero character).
DEAD_LETTERS_TABLE_SQL = """
CREATE TABLE IF NOT EXISTS syncline_dead_letters (
  id text COLLATE "C" PRIMARY KEY,
  created_at timestamptz NOT NULL,
  user_id text NOT NULL,
  client_id text,
  content text NOT NULL,
  content_hash text NOT NULL,
  content_bytes integer NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  details text,
  operation_index integer,
  claims text NOT NULL,
  state text NOT NULL,
  settled_at timestamptz,
  occurrences integer NOT NULL,
  last_at timestamptz,
  retries integer NOT NULL
);
CREATE INDEX IF NOT EXISTS syncline_dead_letters_open ON syncline_dead_letters (user_id) INCLUDE (content_bytes) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS syncline_dead_letters_settled ON syncline_dead_letters (settled_at) WHERE state <> 'open';
CREATE TABLE IF NOT EXISTS syncline_upload_failures (
  user_id text NOT NULL,
  client_id text NOT NULL,
  content_hash text NOT NULL,
  failures integer NOT NULL,
  last_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, client_id, content_hash)
);
"""

WRITE_RESULTS_TABLE_SQL = """
CREATE TABLE IF NOT EXISTS powersync_write_results (
  id text PRIMARY KEY,
  user_id text NOT NULL,
  client_id text,
  transaction_id bigint,
  operations text NOT NULL,
  operation_index integer,
  code text NOT NULL,
  message text NOT NULL,
  created_at timestamptz NOT NULL,
  resolved boolean NOT NULL
);
CREATE INDEX IF NOT EXISTS powersync_write_results_user_id ON powersync_write_results (user_id);
"""
"""One row for each letter, with its id, for a stream to sync back. `operations` is a JSON list of `op`, `table`, `id`: no values."""

_DROP_RESULTS = """
DELETE FROM powersync_write_results USING syncline_dead_letters AS letter
 WHERE powersync_write_results.id = letter.id AND letter.state <> 'open' AND letter.settled_at < now() - make_interval(days => %s)
"""
_DROP_LETTERS = (
    "DELETE FROM syncline_dead_letters WHERE state <> 'open' AND settled_at < now() - make_interval(days => %s)"
)
_DROP_FAILURES = "DELETE FROM syncline_upload_failures WHERE last_at < now() - make_interval(days => %s)"

_TABLES = {
    "syncline_dead_letters": DEAD_LETTERS_TABLE_SQL,
    "syncline_upload_failures": DEAD_LETTERS_TABLE_SQL,
    "powersync_write_results": WRITE_RESULTS_TABLE_SQL,
}


async def make_dead_letter_tables(connection: psycopg.AsyncConnection[Any], *, write_results: bool) -> None:
    """Make the tables that are missing. Raises ConfigError where the role may not.

    Postgres asks for the right to create before it looks whether there is anything to create, hence the look beforehand.
    """
    wanted = [name for name in _TABLES if write_results or name != "powersync_write_results"]
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('syncline_dead_letters'))")
    cursor = await connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NULL", (wanted,)
    )
    missing = [str(name) for (name,) in await cursor.fetchall()]
    statements = "".join(dict.fromkeys(_TABLES[name] for name in missing))
    if not missing:
        return
    try:
        await connection.execute(statements.encode())
    except psycopg.errors.InsufficientPrivilege as exc:
        names = ", ".join(missing)
        raise ConfigError(
            f"The backend's database role may not make {names}, where refused transactions are kept.",
            hint=f"Run this as the owner of the database, and grant the role SELECT, INSERT, UPDATE and DELETE on {names}:{statements}",
        ) from exc


async def drop_old_letters(connection: psycopg.AsyncConnection[Any], *, write_results: bool) -> None:
    """Forget letters that were settled long ago, reports about them, and failures that no device will repeat any more."""
    if write_results:
        await connection.execute(_DROP_RESULTS, (DEAD_LETTERS_KEPT_DAYS,))
    await connection.execute(_DROP_LETTERS, (DEAD_LETTERS_KEPT_DAYS,))
    await connection.execute(_DROP_FAILURES, (UPLOADS_KEPT_DAYS,))
