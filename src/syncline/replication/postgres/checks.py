"""Is the source set up for replication? Each answer says which SQL to run."""

from __future__ import annotations

import psycopg

from syncline.errors import SourceNotReady
from syncline.replication.postgres.connection import PUBLICATION_HINT, Row

__all__ = ["check_source"]

VERSION_MIN = 140000  # logical messages reach pgoutput from Postgres 14 on


async def check_source(connection: psycopg.AsyncConnection[Row], publication: str) -> None:
    """Raise SourceNotReady where something is missing."""
    version = connection.info.server_version
    if version < VERSION_MIN:
        raise SourceNotReady(
            f"The source runs Postgres {version // 10000}; 14 or newer is needed.",
            code="PSYNC_S1101",
            hint="Upgrade the source: older versions cannot put markers into the replication stream.",
        )
    row = await (await connection.execute("SELECT current_setting('wal_level')")).fetchone()
    if row is None or row[0] != "logical":
        raise SourceNotReady(
            f"The source's wal_level is {row[0] if row else 'unknown'}; replication needs logical.",
            code="PSYNC_S1120",
            hint="Run on the source, then restart it:\nALTER SYSTEM SET wal_level = 'logical';",
        )
    await _check_publication(connection, publication)


async def _check_publication(connection: psycopg.AsyncConnection[Row], publication: str) -> None:
    cursor = await connection.execute(
        "SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication WHERE pubname = %s",
        (publication,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise SourceNotReady(f"The source has no publication named {publication}.", hint=PUBLICATION_HINT)
    missing = [name for name, there in zip(("insert", "update", "delete", "truncate"), row, strict=False) if not there]
    if missing:
        raise SourceNotReady(
            f"The publication {publication} does not publish {', '.join(missing)}.",
            code="PSYNC_S1142",
            hint=f"ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate');",
        )
    if row[4]:
        raise SourceNotReady(
            f"The publication {publication} has publish_via_partition_root, which hides the partitions.",
            code="PSYNC_S1143",
            hint=f"ALTER PUBLICATION {publication} SET (publish_via_partition_root = false);",
        )
