"""What the source insists on: columns without NULL and without a default, and unique indexes. Asked directly, or through the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString, cast

from syncline.cli.admin_client import AdminClient
from syncline.cli.exit_codes import CommandFailed
from syncline.cli.project import AdminAddress
from syncline.cli.schema_check.alignment import SourceDemands

__all__ = ["demands_of_service", "demands_of_source"]

REQUIRED: LiteralString = """
SELECT n.nspname, c.relname, a.attname
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'syncline')
   AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
"""
UNIQUE: LiteralString = """
SELECT n.nspname, c.relname, (SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid
       AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))::text
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND c.relkind IN ('r', 'p')
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'syncline')
"""
Rows = Iterable[Sequence[Any]]


def demands_of_source(uri: str) -> SourceDemands:
    """Ask a Postgres directly. Raises SourceError."""
    return asyncio.run(_ask(uri))


def demands_of_service(address: AdminAddress) -> tuple[SourceDemands | None, str]:
    """Ask through the service's admin API; None, and why, where it runs no SQL or there is too much of it."""
    client = AdminClient(address)
    answers: list[Rows] = []
    for query in (REQUIRED, UNIQUE):
        try:
            answer = client.execute_sql(query)
        except CommandFailed as exc:
            return None, exc.message
        if not answer.get("success"):
            return None, str(answer.get("error") or "the service does not run it")
        results = cast("dict[str, Any]", answer.get("results") or {})
        answers.append(cast("Rows", results.get("rows") or []))
    return _demands(*answers), ""


async def _ask(uri: str) -> SourceDemands:
    from syncline.replication.postgres.connection import connect, source_errors

    connection = await connect(uri, application_name="syncline check")
    try:
        with source_errors():
            required = await (await connection.execute(REQUIRED)).fetchall()
            unique = await (await connection.execute(UNIQUE)).fetchall()
    finally:
        await connection.close()
    return _demands(required, unique)


def _demands(required: Rows, unique: Rows) -> SourceDemands:
    indexes: dict[tuple[str, str], list[frozenset[str]]] = {}
    for schema, table, columns in unique:
        indexes.setdefault((str(schema), str(table)), []).append(frozenset(json.loads(columns or "[]")))
    return SourceDemands(frozenset((str(row[0]), str(row[1]), str(row[2])) for row in required), dict(indexes))
