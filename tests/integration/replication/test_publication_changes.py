"""What becomes of the stored rows when the publication or its tables are altered: they stay what is published."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from syncline.replication import job as job_module
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.replicating import SYNC_CONFIG, Replica, replicating
from tests.support.postgres_version import needs_postgres

TABLE = "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text)"
ROWS = "INSERT INTO t SELECT 'r' || n, 'ann', n, 'note' FROM generate_series(1, 9) n"
ALL_COLUMNS = """
config: {edition: 3}
streams:
  by_owner:
    auto_subscribe: true
    query: SELECT * FROM t WHERE owner = auth.user_id()
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the publication often."""
    monkeypatch.setattr(job_module, "PUBLICATION_INTERVAL_S", 0.1)


@pytest.fixture
def database(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """Nine rows of a table that the publication names."""
    postgres_database.execute(f"{TABLE}; {ROWS}; CREATE PUBLICATION powersync FOR TABLE t")
    return postgres_database


@asynccontextmanager
async def followed(database: ScratchDatabase, folder: Path, sync_config: str = SYNC_CONFIG) -> AsyncGenerator[Replica]:
    async with replicating(database.dsn, folder, sync_config=sync_config) as replica:
        await replica.caught_up()
        yield replica


async def settled(
    replica: Replica, expected: dict[str, dict[str, object]], *, always: frozenset[str] = frozenset()
) -> None:
    """Wait until the bucket holds `expected`; no checkpoint until then lacks the rows `always`."""
    found: dict[str, dict[str, object]] = {}

    async def equal() -> bool:
        nonlocal found
        found = await replica.rows("ann")
        assert always <= found.keys(), "a table that is copied again becomes visible in whole"
        return found == expected

    try:
        await eventually(equal)
    except AssertionError:
        assert found == expected


def published(database: ScratchDatabase, condition: str = "true") -> dict[str, dict[str, object]]:
    rows = database.execute(f"SELECT id, n, note FROM t WHERE owner = 'ann' AND {condition}")
    return {row_id: {"id": row_id, "n": n, "note": note} for row_id, n, note in rows}


async def test_rows_of_a_table_taken_out_are_removed_and_copied_again_when_it_is_back(
    database: ScratchDatabase, tmp_path: Path
) -> None:
    async with followed(database, tmp_path) as replica:
        assert len(await replica.rows("ann")) == 9
        database.execute("ALTER PUBLICATION powersync DROP TABLE t")
        await settled(replica, {})
        await eventually(lambda: replica.job.status.unpublished == {"public.t"}, what="status says so")
        database.execute("DELETE FROM t WHERE n = 1; UPDATE t SET note = 'changed while out' WHERE n = 2")
        database.execute("ALTER PUBLICATION powersync ADD TABLE t")
        await settled(replica, published(database))
        await eventually(lambda: replica.job.status.unpublished == set(), what="status says so")


@pytest.mark.parametrize(
    ("alter", "condition"),
    [
        ("ALTER PUBLICATION powersync SET TABLE t WHERE (id > 'r5')", "id > 'r5'"),
        ("ALTER PUBLICATION powersync SET TABLE t WHERE (id > 'r5'); ALTER PUBLICATION powersync SET TABLE t", "true"),
    ],
    ids=["filter", "filter-and-back"],
)
async def test_rows_follow_the_row_filter(
    database: ScratchDatabase, tmp_path: Path, alter: str, condition: str
) -> None:
    needs_postgres(database, 15, "row filters")
    async with followed(database, tmp_path) as replica:
        for statement in alter.split("; "):
            database.execute(statement)
            database.execute("UPDATE t SET note = note || '!' WHERE n < 8")
        await settled(replica, published(database, condition), always=frozenset({"r6", "r7", "r8", "r9"}))
        database.execute("UPDATE t SET n = n + 1")
        await settled(replica, published(database, condition))


async def test_columns_that_are_not_listed_any_more_are_gone_from_every_row(
    database: ScratchDatabase, tmp_path: Path
) -> None:
    needs_postgres(database, 15, "column lists")
    async with followed(database, tmp_path) as replica:
        database.execute("ALTER PUBLICATION powersync SET TABLE t (id, owner, n)")
        await settled(replica, {f"r{n}": {"id": f"r{n}", "n": n} for n in range(1, 10)})


async def test_an_added_column_with_a_default_is_in_rows_that_nobody_touched(
    database: ScratchDatabase, tmp_path: Path
) -> None:
    async with followed(database, tmp_path, ALL_COLUMNS) as replica:
        database.execute("ALTER TABLE t ADD COLUMN colour text DEFAULT 'red'; ALTER TABLE t DROP COLUMN note")
        await settled(
            replica, {f"r{n}": {"id": f"r{n}", "owner": "ann", "n": n, "colour": "red"} for n in range(1, 10)}
        )


async def test_values_of_a_composite_type_follow_its_attributes(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(
        "CREATE TYPE pair AS (a int, b text); CREATE TABLE t (id text PRIMARY KEY, owner text, p pair);"
        "INSERT INTO t VALUES ('r1', 'ann', (1, 'x')); CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    async with followed(postgres_database, tmp_path, ALL_COLUMNS) as replica:
        await settled(replica, {"r1": {"id": "r1", "owner": "ann", "p": '{"a":1,"b":"x"}'}})
        postgres_database.execute("ALTER TYPE pair ADD ATTRIBUTE c int; ALTER TYPE pair RENAME ATTRIBUTE a TO first")
        await settled(replica, {"r1": {"id": "r1", "owner": "ann", "p": '{"first":1,"b":"x","c":null}'}})
        postgres_database.execute("UPDATE t SET p = (2, 'y', 3)")
        await settled(replica, {"r1": {"id": "r1", "owner": "ann", "p": '{"first":2,"b":"y","c":3}'}})


async def test_a_publication_without_deletes_is_an_error_and_what_was_missed_is_made_good(
    database: ScratchDatabase, tmp_path: Path
) -> None:
    async with followed(database, tmp_path) as replica:
        database.execute("ALTER PUBLICATION powersync SET (publish = 'insert, update, truncate')")

        def error() -> str:
            (version,) = replica.writer.versions()
            return version.last_error

        await eventually(lambda: "PSYNC_S1142" in error(), what="the version says what is wrong")
        assert replica.job.status.last_error is not None
        database.execute("DELETE FROM t WHERE n < 5")
        database.execute("ALTER PUBLICATION powersync SET (publish = 'insert, update, delete, truncate')")
        await settled(replica, published(database))
        await eventually(lambda: error() == "", what="the error is cleared")
        assert replica.job.status.last_error is None


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE t RENAME TO elsewhere",
        "DROP TABLE t",
        "ALTER SCHEMA public RENAME TO other",
        "ALTER TABLE t SET UNLOGGED",
    ],
    ids=["renamed", "dropped", "schema", "unlogged"],
)
async def test_rows_of_a_table_that_is_no_more_are_removed(
    postgres_database: ScratchDatabase, tmp_path: Path, statement: str
) -> None:
    postgres_database.execute(f"{TABLE}; {ROWS}; CREATE PUBLICATION powersync FOR ALL TABLES")
    async with followed(postgres_database, tmp_path) as replica:
        postgres_database.execute(statement)
        await settled(replica, {})


async def test_a_table_in_a_renamed_schema_gives_nothing_more(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(f"{TABLE}; {ROWS}; CREATE PUBLICATION powersync FOR ALL TABLES")
    async with followed(postgres_database, tmp_path) as replica:
        postgres_database.execute("ALTER SCHEMA public RENAME TO other")
        await settled(replica, {})
        postgres_database.execute("INSERT INTO other.t VALUES ('r10', 'ann', 10, 'x')")
        await replica.caught_up()
        assert await replica.rows("ann") == {}
        postgres_database.execute("ALTER SCHEMA other RENAME TO public")
        await settled(replica, published(postgres_database))


async def test_a_renamed_table_is_followed_under_its_new_name(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(f"{TABLE}; {ROWS}; CREATE PUBLICATION powersync FOR ALL TABLES")
    config = SYNC_CONFIG.replace("FROM t", "FROM t2 AS t")
    async with followed(postgres_database, tmp_path, config) as replica:
        assert await replica.rows("ann") == {}
        postgres_database.execute("ALTER TABLE t RENAME TO t2")
        await settled(replica, {f"r{n}": {"id": f"r{n}", "n": n, "note": "note"} for n in range(1, 10)})
        postgres_database.execute("ALTER TABLE t2 RENAME TO t")
        await settled(replica, {})


@pytest.mark.parametrize(
    ("statements", "condition"),
    [
        (
            ("INSERT INTO t VALUES ('r0', 'ann', 1, 'x')", "ALTER PUBLICATION powersync SET TABLE t WHERE (id > 'r5')"),
            "id > 'r5'",
        ),
        (
            (
                "DROP TABLE t",
                TABLE,
                "ALTER PUBLICATION powersync ADD TABLE t",
                "INSERT INTO t VALUES ('a', 'ann', 1, 'x')",
                "DROP TABLE t",
                TABLE,
                "ALTER PUBLICATION powersync ADD TABLE t",
                "INSERT INTO t VALUES ('b', 'ann', 1, 'x')",
            ),
            "true",
        ),
        (
            (
                "ALTER TABLE t REPLICA IDENTITY FULL",
                "UPDATE t SET n = n + 1",
                "DELETE FROM t WHERE n = 4",
                "ALTER TABLE t REPLICA IDENTITY DEFAULT",
                "UPDATE t SET note = 'y'",
            ),
            "true",
        ),
        (("ALTER TABLE t ADD COLUMN more int DEFAULT 3", "UPDATE t SET n = 7 WHERE n = 1"), "true"),
    ],
    ids=["filter", "recreated-twice", "identity-and-back", "column"],
)
async def test_what_was_altered_while_nobody_looked_is_followed(
    database: ScratchDatabase, tmp_path: Path, statements: tuple[str, ...], condition: str
) -> None:
    if any("WHERE (id" in statement for statement in statements):
        needs_postgres(database, 15, "row filters")
    async with followed(database, tmp_path):
        pass
    for statement in statements:
        database.execute(statement)
    async with replicating(database.dsn, tmp_path) as replica:
        await settled(replica, published(database, condition))
        database.execute("INSERT INTO t VALUES ('last', 'ann', 100, 'z')")
        await settled(replica, published(database, condition))


async def test_a_table_that_came_and_went_while_nobody_looked_holds_nothing_up(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute("CREATE PUBLICATION powersync FOR ALL TABLES")
    async with followed(postgres_database, tmp_path):
        pass
    for _ in range(3):
        postgres_database.execute(f"{TABLE}; {ROWS}")
        postgres_database.execute("DROP TABLE t")
    async with followed(postgres_database, tmp_path) as replica:
        assert await replica.rows("ann") == {}
        postgres_database.execute(f"{TABLE}; {ROWS}")
        await settled(replica, published(postgres_database))
