"""What a killed copy asks the source for again, by the source's own log of statements."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.storage.sqlite import SqliteStorage
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.replicating import SYNC_CONFIG, replicating
from tests.integration.replication.replicator_process import ReplicatorProcess

ROWS = 300_000 if os.environ.get("SYNCLINE_SOAK") else 60_000
KILLS = 3
RANGE_BLOCKS = 64
# Only what was asked: where a killed copy's socket breaks, the server logs the same text once more as the STATEMENT of its error.
COPIED_RANGE = re.compile(r"LOG:  statement: COPY \(SELECT .*ctid >= '\((\d+),0\)'::tid AND ctid < '\((\d+),0\)'::tid")


@pytest.fixture
def server() -> Generator[EmbeddedPostgres]:
    """A server that logs every statement."""
    with EmbeddedPostgres(settings={"log_statement": "all"}) as server:
        ScratchDatabase(server.dsn(), "postgres").execute(
            "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text); CREATE PUBLICATION powersync FOR ALL TABLES;"
            f"INSERT INTO t SELECT 'row ' || n, 'ann', n, repeat(md5(n::text), 4) FROM generate_series(1, {ROWS}) n"
        )
        yield server


def ranges_asked(server: EmbeddedPostgres) -> list[tuple[int, int]]:
    """First block and the one behind the last of every range that was ever asked for."""
    text = (server.data_directory / "server.log").read_text()
    return [(int(start), int(end)) for start, end in COPIED_RANGE.findall(text)]


def finished_blocks(folder: Path) -> int:
    """How many blocks of the table are finished, by what the killed process has stored."""
    writer = SqliteStorage(folder).open_writer()
    try:
        (version,) = writer.versions()
        (table,) = writer.tables(version.number)
        return table.progress.next_block if table.progress is not None else 0
    finally:
        writer.close()


@pytest.mark.timeout(600)
async def test_no_finished_range_is_asked_for_again_by_a_copy_that_was_killed_three_times(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    finished = 0
    for _ in range(KILLS):
        before = len(ranges_asked(server))
        goal = before + draw.randrange(3, 6)
        with ReplicatorProcess(server.dsn(), tmp_path, SYNC_CONFIG, range_blocks=RANGE_BLOCKS) as process:
            await eventually(
                lambda goal=goal: len(ranges_asked(server)) >= goal, timeout_s=60, what=f"{goal} ranges asked"
            )
            process.kill()
        asked = ranges_asked(server)[before:]
        assert all(start >= finished for start, _ in asked), f"seed {seed}: {asked} after {finished} finished blocks"
        finished = finished_blocks(tmp_path / "storage")
        assert finished > 0
    before = len(ranges_asked(server))
    async with replicating(server.dsn(), tmp_path / "storage") as replica:
        await replica.caught_up(timeout_s=120)
        rows = await replica.rows("ann")
    assert {row["n"] for row in rows.values()} == set(range(1, ROWS + 1))
    last = ranges_asked(server)[before:]
    assert last[0][0] == finished, f"seed {seed}: the last run begins behind what is finished"
    asked = ranges_asked(server)
    twice = len(asked) - len(set(asked))
    print(f"seed {seed}: {ROWS} rows, {len(asked)} ranges asked for, {twice} of them twice, {KILLS} kills")
    assert twice <= KILLS, "at most the range at hand of each killed run"
