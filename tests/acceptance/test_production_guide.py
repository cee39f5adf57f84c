"""docs/howto/production.md: its SQL makes a source that lacks nothing, for a role that may do no more; the old slots can be dropped."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.replication.postgres.checks import setup_sql
from syncline.replication.postgres.connection import connect

PAGE = (Path(__file__).parents[2] / "docs/howto/production.md").read_text("utf-8")
SET_UP, DROP_SLOTS = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
TABLES = (
    "CREATE TABLE lists (id text PRIMARY KEY); CREATE TABLE todos (id text PRIMARY KEY); CREATE TABLE private (id text)"
)


@pytest.fixture(scope="module")
def postgres() -> Generator[EmbeddedPostgres]:
    """A server of its own: the page alters the settings of a whole server."""
    with EmbeddedPostgres() as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(TABLES.encode())
        yield server


def run_as_psql(server: EmbeddedPostgres, statements: str) -> list[tuple[object, ...]]:
    """Each statement by itself; the rows of the last."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        cursor = connection.cursor()
        for statement in filter(None, map(str.strip, statements.split(";\n"))):
            cursor.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_the_source_lacks_nothing_then_and_the_role_may_only_read(postgres: EmbeddedPostgres) -> None:
    run_as_psql(postgres, SET_UP)
    dsn = postgres.dsn().replace("postgres@", "syncline@")

    async def what_is_missing() -> str:
        connection = await connect(dsn, application_name="test")
        try:
            return await setup_sql(connection, "powersync", slot_name_prefix="syncline_")
        finally:
            await connection.close()

    assert asyncio.run(what_is_missing()) == ""
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute("SELECT * FROM lists").fetchall() == []
        for refused in ("SELECT * FROM private", "INSERT INTO lists VALUES ('1')", "DROP PUBLICATION powersync"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())


def test_the_old_service_s_slots_go_and_ours_stay(postgres: EmbeddedPostgres) -> None:
    for name in ("powersync_1_abcd", "syncline_1", "powersyncx"):
        run_as_psql(postgres, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    assert [row[0] for row in run_as_psql(postgres, DROP_SLOTS)] == ["powersync_1_abcd"]
    left = run_as_psql(postgres, "SELECT slot_name FROM pg_replication_slots ORDER BY 1")
    assert left == [("powersyncx",), ("syncline_1",)]
