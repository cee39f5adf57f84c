"""A copy that is killed goes on where it was, and misses nothing that changes meanwhile."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from syncline.failpoints import EXIT_STATUS
from syncline.replication.postgres import snapshot as snapshot_module
from syncline.replication.postgres.source import PostgresSource
from syncline.replication.source import Relation
from syncline.storage.model import SnapshotProgress
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.following import ALL_TABLES, SLOT
from tests.integration.replication.replicating import SYNC_CONFIG, replicating
from tests.integration.replication.replicator_process import ReplicatorProcess

ROWS = 300_000
RANGE_BLOCKS = 512
BIG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 200))"  # 6 kB: stored out of line


def ranges_read(process: ReplicatorProcess) -> list[tuple[int, int]]:
    """The block ranges that the process asked the source for."""
    found = [re.findall(r"\d+", message)[:2] for message in process.messages("replication.range")]
    return [(int(start), int(end)) for start, end in found]


async def test_a_copy_of_300000_rows_killed_three_times_reads_no_finished_range_again(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(
        "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text); CREATE PUBLICATION powersync FOR ALL TABLES;"
        f"INSERT INTO t SELECT 'row ' || n, 'ann', n, repeat(md5(n::text), 4) FROM generate_series(1, {ROWS}) n"
    )
    [(blocks,)] = postgres_database.execute("SELECT pg_relation_size('t') / current_setting('block_size')::int")
    runs: list[list[tuple[int, int]]] = []
    # Killed between ranges, in the middle of one with its rows stored but not its progress, and from outside.
    for failpoint in ("after-snapshot-progress:3", "after-snapshot-flush-before-progress:4", ""):
        with ReplicatorProcess(
            postgres_database.dsn, tmp_path, SYNC_CONFIG, failpoint=failpoint, range_blocks=RANGE_BLOCKS
        ) as process:
            if failpoint:
                await eventually(lambda p=process: p.exit_status is not None, timeout_s=60, what=failpoint)
                assert process.exit_status == EXIT_STATUS, process.output
            else:
                await eventually(lambda p=process: len(ranges_read(p)) == 3, timeout_s=60, what="three ranges")
            process.kill()
            runs.append(ranges_read(process))
    with ReplicatorProcess(postgres_database.dsn, tmp_path, SYNC_CONFIG, range_blocks=RANGE_BLOCKS) as process:
        await eventually(lambda: process.messages("replication.copied"), timeout_s=120, what="the copy is complete")
        runs.append(ranges_read(process))
    first, second, third, last = runs
    print(f"{blocks} blocks; ranges read in each run: {[len(run) for run in runs]}")
    assert [len(first), len(second)] == [3, 4]
    assert second[0] == (first[-1][1], first[-1][1] + RANGE_BLOCKS), (
        "the second run goes on behind the last finished range"
    )
    assert third[0] == second[-1], "only the range whose progress was not saved is read again"
    assert last[0] in (third[-1], (third[-1][1], min(third[-1][1] + RANGE_BLOCKS, blocks)))
    read = [one for run in runs for one in run]
    assert len(read) - len(set(read)) <= 2, "at most the two ranges that were not finished are read twice"
    assert sorted(set(read)) == [(n, min(n + RANGE_BLOCKS, blocks)) for n in range(0, blocks, RANGE_BLOCKS)]
    async with replicating(postgres_database.dsn, tmp_path / "storage") as replica:
        await replica.caught_up()
        found = await replica.rows("ann")
    assert len(found) == ROWS
    assert {row["n"] for row in found.values()} == set(range(1, ROWS + 1))


async def relation_of(source: PostgresSource) -> Relation:
    (relation,) = [relation for relation in await source.relations(ALL_TABLES) if relation.name == "t"]
    return relation


async def test_a_rewritten_table_is_begun_again(
    database: ScratchDatabase, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_RANGE_BLOCKS", 4)
    database.execute("CREATE TABLE t (id int PRIMARY KEY, pad char(500))")
    database.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 300) n")
    await source.create_slot(SLOT)
    relation = await relation_of(source)
    progress: list[SnapshotProgress] = []
    ids: list[object] = []
    async for chunk in source.snapshot(relation, slot_name=SLOT):
        ids += [row[0] for row in chunk.rows]
        if chunk.progress is not None:
            progress.append(chunk.progress)
            if len(progress) == 2:
                database.execute("VACUUM FULL t")
    starts = [one.next_block for one in progress]
    assert starts[:3] == [4, 8, 4]
    assert progress[0].filenode != progress[-1].filenode
    assert progress[-1].next_block == progress[-1].blocks
    assert set(ids) == set(range(1, 301))


async def test_progress_of_another_file_is_not_gone_on_with(database: ScratchDatabase, source: PostgresSource) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 3000)")
    await source.create_slot(SLOT)
    stale = SnapshotProgress(filenode=1, next_block=5, blocks=14, rows=1000)
    rows = [
        row
        async for chunk in source.snapshot(await relation_of(source), slot_name=SLOT, resume=stale)
        for row in chunk.rows
    ]
    assert sorted(rows) == [(n,) for n in range(1, 3001)]


async def ranges_looked_up(
    database: ScratchDatabase, source: PostgresSource, *, resume: SnapshotProgress | None = None
) -> list[tuple[int, bool]]:
    """Copy the table while its last row is changed; where each range ended, and whether its rows have to be looked up."""
    looked_up: list[tuple[int, bool]] = []
    async for chunk in source.snapshot(await relation_of(source), slot_name=SLOT, resume=resume):
        if not looked_up:
            database.execute("UPDATE t SET n = n + 1 WHERE id = 9000")  # stays on the last page
        if chunk.progress is not None:
            looked_up.append((chunk.progress.next_block, chunk.look_up))
    return looked_up


async def test_only_ranges_with_rows_written_since_the_copy_began_are_looked_up(
    database: ScratchDatabase, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_RANGE_BLOCKS", 4)
    database.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    await source.create_slot(SLOT)
    database.execute("INSERT INTO t SELECT n, 0 FROM generate_series(1, 9000) n")
    looked_up = await ranges_looked_up(database, source)
    blocks = looked_up[-1][0]
    assert len(looked_up) > 5
    assert looked_up == [(min(n + 4, blocks), n + 4 >= blocks) for n in range(0, blocks, 4)]


async def test_a_copy_that_is_gone_on_with_looks_up_what_was_written_since_the_slot(
    database: ScratchDatabase, source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_RANGE_BLOCKS", 4)
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 9000) n"
    )
    await source.create_slot(SLOT)
    database.execute("INSERT INTO t SELECT n, 0 FROM generate_series(10001, 12000) n")
    (filenode, blocks) = database.execute("SELECT pg_relation_filenode('t'), pg_relation_size('t') / 8192")[0]
    [(first_new,)] = database.execute("SELECT (ctid::text::point)[0]::int FROM t WHERE id = 10001")
    looked_up = await ranges_looked_up(database, source, resume=SnapshotProgress(filenode, 4, blocks, 904))
    expected = [(min(n + 4, blocks), n == 4 or n + 4 > first_new) for n in range(4, blocks, 4)]
    assert looked_up == expected
    assert {flag for _, flag in expected} == {True, False}


async def test_rows_that_move_between_pages_while_they_are_copied_are_neither_lost_nor_left_behind(
    postgres_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each owner's rows, with values out of line, are changed at random between any two ranges; the buckets equal the table."""
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_RANGE_BLOCKS", 2)
    postgres_database.execute(
        "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text, pad char(1000)); CREATE PUBLICATION powersync FOR ALL TABLES;"
        f"INSERT INTO t SELECT 'r' || n, 'ann', n, CASE WHEN n % 2 = 0 THEN {BIG} END, 'x' FROM generate_series(1, 300) n"
    )
    moved = 0
    original = PostgresSource.snapshot

    async def disturbed(self: PostgresSource, relation: Relation, **options: object) -> object:
        nonlocal moved
        async for chunk in original(self, relation, **options):  # type: ignore[arg-type] # passes on what it was given
            yield chunk
            for _ in range(3):
                row_id, owner = f"r{draw.randrange(1, 301)}", draw.choice(["ann", "bob", "cy"])
                postgres_database.execute(
                    draw.choice(
                        [
                            f"UPDATE t SET owner = '{owner}' WHERE id = '{row_id}'",
                            f"UPDATE t SET n = n + 1 WHERE id = '{row_id}'",
                            f"UPDATE t SET id = 'x' || id WHERE id = '{row_id}'",
                            f"DELETE FROM t WHERE id = '{row_id}'",
                            "VACUUM t",
                        ]
                    )
                )
                moved += 1

    monkeypatch.setattr(PostgresSource, "snapshot", disturbed)
    async with replicating(postgres_database.dsn, tmp_path) as replica:
        await replica.caught_up()
        count = 0
        for owner in ("ann", "bob", "cy"):
            rows = postgres_database.execute("SELECT id, n, note FROM t WHERE owner = %s", (owner,))
            assert await replica.rows(owner) == {i: {"id": i, "n": n, "note": note} for i, n, note in rows}, (
                f"seed {seed}"
            )
            count += len(rows)
    print(f"seed {seed}: {moved} changes between ranges, {count} rows compared")
    assert moved > 50
    assert count > 100


async def test_status_tells_how_far_a_copy_is(
    postgres_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_RANGE_BLOCKS", 4)
    postgres_database.execute(
        "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text); CREATE PUBLICATION powersync FOR ALL TABLES;"
        "INSERT INTO t SELECT 'r' || n, 'ann', n, repeat('x', 200) FROM generate_series(1, 3000) n"
    )
    async with replicating(postgres_database.dsn, tmp_path) as replica:
        halfway = await eventually(lambda: replica.job.status.copied.get("public.t"))
        assert halfway is not None
        assert 0 < halfway.blocks_done <= halfway.blocks
        await replica.caught_up()
        done = replica.job.status.copied["public.t"]
    assert (done.rows, done.share, done.seconds_left) == (3000, 1.0, 0.0)
    assert done.rows_per_s > 0


async def test_rows_stored_by_an_attempt_without_any_progress_leave_the_buckets_that_they_have_left(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(
        "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text); CREATE PUBLICATION powersync FOR ALL TABLES;"
        "INSERT INTO t SELECT 'r' || n, 'ann', n, 'x' FROM generate_series(1, 20) n"
    )
    failpoint = "after-snapshot-flush-before-progress"
    with ReplicatorProcess(postgres_database.dsn, tmp_path, SYNC_CONFIG, failpoint=failpoint) as process:
        await eventually(lambda: process.exit_status is not None, timeout_s=60, what=failpoint)
        assert process.exit_status == EXIT_STATUS, process.output
    postgres_database.execute("UPDATE t SET owner = 'bob' WHERE n <= 15; DELETE FROM t WHERE n > 18")
    async with replicating(postgres_database.dsn, tmp_path / "storage") as replica:
        await replica.caught_up()
        assert set(await replica.rows("ann")) == {"r16", "r17", "r18"}
        assert set(await replica.rows("bob")) == {f"r{n}" for n in range(1, 16)}
