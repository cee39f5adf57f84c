"""Every supported version of Postgres as a source and as storage: copied, followed, restarted. `make soak` runs all other tests on each."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from tools.postgres_versions import VERSIONS, programs

from syncline.embedded import EmbeddedPostgres
from syncline.replication.postgres.source import PostgresSource
from syncline.storage.base import BucketStorage
from syncline.storage.postgres import PostgresStorage
from syncline.storage.sqlite import SqliteStorage
from syncline.testing.postgres import ScratchDatabase
from tests.integration.replication.replicating import Replica, replicating

BIG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 200))"  # 6 kB: left out of updates elsewhere
CHANGES = (
    f"INSERT INTO t SELECT 'new ' || n, 'ann', n, {BIG} FROM generate_series(1, 20) n",
    "UPDATE t SET n = n + 1 WHERE n % 2 = 0",  # without their large values
    "UPDATE t SET id = 'renamed ' || id WHERE n % 5 = 0",
    "UPDATE t SET owner = 'bob' WHERE n % 7 = 0; DELETE FROM t WHERE n % 3 = 0",
)


async def assert_equal(replica: Replica, database: ScratchDatabase) -> int:
    """Each owner's buckets hold exactly the owner's rows; how many these are."""
    await replica.caught_up()
    count = 0
    for owner in ("ann", "bob"):
        rows = database.execute("SELECT id, n, note FROM t WHERE owner = %s", (owner,))
        assert await replica.rows(owner) == {i: {"id": i, "n": n, "note": note} for i, n, note in rows}
        count += len(rows)
    return count


@pytest.mark.requirement(221)
@pytest.mark.parametrize(
    ("version", "storage_kind"),
    [*((version, "sqlite") for version in VERSIONS), (VERSIONS[0], "postgres"), (VERSIONS[-1], "postgres")],
)
async def test_a_source_of_this_version_is_copied_and_followed(version: str, storage_kind: str, tmp_path: Path) -> None:
    try:
        found = programs(version)
    except (OSError, subprocess.SubprocessError) as exc:
        pytest.skip(f"the programs of Postgres {version} could not be fetched: {exc}")
    with EmbeddedPostgres(bin_directory=found) as server:
        database = ScratchDatabase(server.dsn(), "postgres")
        [(text,)] = database.execute("SHOW server_version")
        assert text.partition(".")[0] == version
        database.execute("CREATE DATABASE buckets")
        database.execute(
            "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text); CREATE PUBLICATION powersync FOR TABLE t;"
            f"INSERT INTO t SELECT 'row ' || n, 'ann', n, {BIG} FROM generate_series(1, 500) n"
        )
        storage: BucketStorage = (
            SqliteStorage(tmp_path) if storage_kind == "sqlite" else PostgresStorage(server.dsn("buckets"))
        )
        source = PostgresSource(server.dsn(), application_name="syncline/test")
        await source.check()
        await source.close()
        async with replicating(server.dsn(), tmp_path, storage=storage) as replica:
            compared = await assert_equal(replica, database)
            number = (await replica.version()).number
            for statements in CHANGES:
                database.execute(statements)
                compared += await assert_equal(replica, database)
            await asyncio.to_thread(server.restart)
            database.execute("INSERT INTO t VALUES ('after', 'ann', 1, 'x')")
            compared += await assert_equal(replica, database)
            database.execute("TRUNCATE t")
            assert await assert_equal(replica, database) == 0
            assert (await replica.version()).number == number
    print(f"Postgres {text}, {storage_kind}: {compared} rows compared")
    assert compared > 1000
