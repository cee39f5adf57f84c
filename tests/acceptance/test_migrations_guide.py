"""docs/howto/migrations.md: a column and a table that a migration adds arrive at a device that was connected all the time."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tools.page_runner import blocks_of

from syncline.client import Column, Schema, SchemaDrift, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import TokenOnly

PAGE = Path(__file__).parents[2] / "docs/howto/migrations.md"
TIMEOUT_S = 60.0  # seconds, on a busy machine: the catalog is asked every 10 s
SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists: {auto_subscribe: true, query: SELECT * FROM lists WHERE owner_id = auth.user_id()}
  notes: {auto_subscribe: true, query: SELECT * FROM notes WHERE owner_id = auth.user_id()}
"""
LISTS = [Column.text("name"), Column.text("owner_id")]
OLD = Schema([Table("lists", LISTS)])
NEW = Schema(
    [Table("lists", [*LISTS, Column.text("colour")]), Table("notes", [Column.text("body"), Column.text("owner_id")])]
)
# What Alembic sends for the page's migrations, for a machine that has no Alembic.
STATEMENTS = {
    "0001": """
CREATE TABLE lists (id text PRIMARY KEY, name text NOT NULL, owner_id text NOT NULL);
CREATE PUBLICATION powersync FOR TABLE lists;
""",
    "0002": """
ALTER TABLE lists ADD COLUMN colour text DEFAULT 'blue' NOT NULL;
CREATE TABLE notes (id text PRIMARY KEY, body text NOT NULL, owner_id text NOT NULL);
ALTER PUBLICATION powersync ADD TABLE notes;
""",
}
Migrate = Callable[[str], None]


@pytest.mark.requirement(165)
async def test_what_a_migration_adds_arrives_at_a_connected_device(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    await adds_arrive(postgres_database, tmp_path, lambda revision: _run(postgres_database, STATEMENTS[revision]))


@pytest.mark.requirement(165)
async def test_the_migrations_of_the_page_do_it_with_alembic(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    command: Any = importlib.import_module(
        "alembic.command"
    )  # no dependency of ours: it may be missing, with its types
    config: Any = importlib.import_module("alembic.config").Config()
    folder = tmp_path / "migrations"
    for block in blocks_of(PAGE):
        name = re.match(r"# ([\w./-]+\.py)\n", block.text)
        assert name is not None
        (folder / name[1]).parent.mkdir(parents=True, exist_ok=True)
        (folder / name[1]).write_text(block.text)
    config.set_main_option("script_location", str(folder))
    url = postgres_database.dsn.replace("postgresql://", "postgresql+psycopg://")
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))

    def migrate(revision: str) -> None:
        command.upgrade(config, revision)

    await adds_arrive(postgres_database, tmp_path, migrate)
    command.downgrade(config, "base")
    assert postgres_database.execute("SELECT count(*) FROM pg_publication") == [(0,)]


async def adds_arrive(source: ScratchDatabase, folder: Path, migrate: Migrate) -> None:
    """Migrate twice, with rows before, between and after, and look at what a device of u1 has."""
    migrate("0001")
    source.execute("INSERT INTO lists VALUES ('1', 'before', 'u1')")
    with ServiceProcess(folder / "service", dsn=source.dsn, sync_config=SYNC_CONFIG) as service:
        connector = TokenOnly(service.base_url, token("u1"))
        async with SyncDatabase(folder / "device.db", schema=OLD) as db:
            await db.connect(connector)
            await db.wait_for_first_sync(timeout=TIMEOUT_S)
            migrate("0002")
            source.execute(
                "INSERT INTO lists VALUES ('2', 'after', 'u1', 'red'); INSERT INTO notes VALUES ('n', 'x', 'u1')"
            )

            async def has_all() -> bool:
                return await db.schema_drift() == [SchemaDrift("lists", "colour", 2), SchemaDrift("notes", None, 1)]

            await eventually(
                has_all, timeout_s=TIMEOUT_S, what="the old app has the new column and table, out of sight"
            )
            assert [row["name"] for row in await db.get_all("SELECT * FROM lists ORDER BY id")] == ["before", "after"]
            await db.disconnect()
            await db.update_schema(NEW)  # the next release of the app: nothing is downloaded again
            rows = await db.get_all("SELECT colour FROM lists ORDER BY id")
            assert [row["colour"] for row in rows] == ["blue", "red"]
            assert [row["body"] for row in await db.get_all("SELECT body FROM notes")] == ["x"]
            assert await db.schema_drift() == []


def _run(source: ScratchDatabase, statements: str) -> None:
    source.execute(statements)
