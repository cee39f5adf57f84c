"""Write checkpoints of the app's own: rows of a replicated table become those of its users, at the checkpoint that holds the row."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncline.testing.postgres import ScratchDatabase
from tests.integration.replication.replicating import replicating

CONFIG = """
bucket_definitions:
  all:
    data:
      - SELECT id, n, note FROM t
event_definitions:
  write_checkpoints:
    payloads:
      - SELECT user_id, client_id, checkpoint FROM checkpoints
"""


@pytest.mark.requirement(255)
async def test_rows_of_the_table_are_write_checkpoints(postgres_database: ScratchDatabase, tmp_path: Path) -> None:
    database = postgres_database
    database.execute(
        "CREATE TABLE t (id text PRIMARY KEY, n int, note text);"
        "CREATE TABLE checkpoints (user_id text, client_id text, checkpoint bigint, PRIMARY KEY (user_id, client_id));"
        "INSERT INTO checkpoints VALUES ('ann', 'c', 5), ('bob', '', 7); CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    async with replicating(database.dsn, tmp_path, sync_config=CONFIG) as replica:
        await replica.caught_up()
        number = (await replica.version()).number

        async def of(user_key: str) -> int | None:
            return await replica.reader.custom_write_checkpoint(number, user_key)

        assert [await of(key) for key in ("ann/c", "bob", "ann", "cleo")] == [5, 7, None, None], "the copy has them"
        database.execute(
            "BEGIN; INSERT INTO t VALUES ('1', 1, 'x'); UPDATE checkpoints SET checkpoint = 6 WHERE user_id = 'ann'; COMMIT;"
            "BEGIN; UPDATE checkpoints SET checkpoint = 99; ROLLBACK"
        )
        database.execute(
            "INSERT INTO checkpoints VALUES ('cleo', 'd', 1); DELETE FROM checkpoints WHERE user_id = 'bob'"
        )
        await replica.caught_up()
        assert [await of(key) for key in ("ann/c", "bob", "cleo/d")] == [6, 7, 1], "a deleted row takes nothing back"
