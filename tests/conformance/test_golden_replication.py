"""Recorded replication scenarios of the reference: after each step our buckets hold what its buckets hold.

Where they differ on purpose (`differences.yaml`) ours must hold the source's truth, and the recording must not.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

import syncline.replication.job as job_module
from syncline.embedded.server import EmbeddedPostgres
from syncline.sync_config.plan import ConnectionData
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.conformance.replication_traces import BucketState, Player, Scenario, Step, plain_name, read_scenario
from tests.conformance.storage_suite.builders import ops_of
from tests.integration.replication.replicating import Replica, replicating

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "replication"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.sql"))
DIFFERENCES: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load((GOLDEN / "differences.yaml").read_text()) or {}
STEP_TIMEOUT_S = 10.0


async def our_buckets(replica: Replica) -> dict[str, BucketState]:
    """The buckets of `user1` with its default streams, reduced at the newest checkpoint."""
    version = await replica.version()
    query = replica.plan.query_buckets(
        ConnectionData({"sub": "user1"}), None, version.bucket_prefix, buckets_max=100, parameter_results_max=100
    )
    view = await replica.reader.view(version.number, query)
    assert view is not None
    buckets: dict[str, BucketState] = {}
    for bucket in view.resolved.buckets:
        totals = view.totals.get(bucket.name)
        state = buckets[plain_name(bucket.name)] = BucketState(op_count=totals.op_count if totals is not None else 0)
        for op in await ops_of(replica.reader, bucket.name, checkpoint_op=view.checkpoint.op_id):
            state.apply(op.op.value, (op.object_type or "", op.object_id or "", op.subkey or ""), op.data)
    return buckets


def as_recorded(step: Step, ours: dict[str, BucketState]) -> list[str]:
    """How ours differ from the recording after this step; empty where they agree."""
    problems = [f"buckets {sorted(ours)}"] if set(ours) != {*step.recorded, *step.recorded_counts} else []
    for bucket, state in ours.items():
        if bucket in step.recorded_counts and state.op_count != step.recorded_counts[bucket]:
            problems.append(f"{bucket}: {state.op_count} operations, recorded {step.recorded_counts[bucket]}")
        elif bucket in step.recorded and state.rows() != step.recorded[bucket]:
            mine, theirs = set(state.rows()), set(step.recorded[bucket])
            problems.append(f"{bucket}: only ours {sorted(mine - theirs)}, only recorded {sorted(theirs - mine)}")
    return problems


def as_true(database: ScratchDatabase, truth: str, ours: dict[str, BucketState]) -> list[str]:
    """How ours differ from the source's rows, which `truth` selects: (object type, object id) or with the row as jsonb, or as a list."""
    rows = database.execute(truth)
    width = len(rows[0]) if rows else 2
    true = sorted(json.dumps(list(row), sort_keys=True) for row in rows)
    objects = [json.loads(row)[:width] for state in ours.values() for row in state.rows()]
    mine = sorted(json.dumps(one, sort_keys=True) for one in objects)
    return [] if mine == true else [f"ours {mine}, the source has {true}"]


def differing_columns(step: Step, ours: dict[str, BucketState]) -> set[str]:
    """Columns in which objects that both have differ; `*` where an object is only on one side."""
    columns = set[str]()
    for bucket, state in ours.items():
        mine, theirs = _by_id(state.rows()), _by_id(step.recorded.get(bucket, []))
        columns |= {"*"} if set(mine) != set(theirs) else set()
        for one in set(mine) & set(theirs):
            for column in set(mine[one]) | set(theirs[one]):
                if json.dumps(mine[one].get(column, ...), default=str) != json.dumps(
                    theirs[one].get(column, ...), default=str
                ):
                    columns.add(column)
    return columns


def _by_id(rows: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(kind, one): data for kind, one, data in map(json.loads, rows)}


async def check_step(replica: Replica, database: ScratchDatabase, step: Step, difference: dict[str, Any] | None) -> str:
    """Wait until the state after this step is the expected one; the last problems where it does not come."""
    problems: list[str] = []

    async def agrees() -> bool:
        ours = await our_buckets(replica)
        problems[:] = as_recorded(step, ours) if difference is None else as_true(database, difference["truth"], ours)
        if difference is not None and "columns" in difference:
            columns = differing_columns(step, ours)
            problems.extend([f"columns {sorted(columns)}"] if columns != set(difference["columns"]) else [])
        return not problems

    try:
        await replica.caught_up()
        await eventually(agrees, timeout_s=STEP_TIMEOUT_S, what=step.label)
    except AssertionError as error:
        return f"{step.label}: {problems or error}"
    if difference is not None and not as_recorded(step, await our_buckets(replica)):
        return f"{step.label}: listed as a difference ({difference['reason']}), but equals the recording"
    return ""


async def play(scenario: Scenario, database: ScratchDatabase, folder: Path, player: Player) -> list[str]:
    """Play all steps; the problems found."""
    problems: list[str] = []
    differences = DIFFERENCES.get(scenario.name, {})
    assert set(differences) <= {step.label for step in scenario.steps}, "every listed step exists"
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(AsyncExitStack())
        replica = await service.enter_async_context(replicating(database.dsn, folder, sync_config=scenario.sync_config))
        for step in scenario.steps:
            if step.is_down:
                await service.aclose()
            refused = player.play(step.sql)
            if bool(refused) != ("ERROR" in step.printed):
                problems.append(f"{step.label}: Postgres refused {refused}, recorded {step.printed!r}")
            if step.is_down:
                replica = await service.enter_async_context(
                    replicating(database.dsn, folder, sync_config=scenario.sync_config)
                )
            problem = await check_step(replica, database, step, differences.get(step.label))
            problems += [problem] if problem else []
    return problems


def without_xml(setup: str, database: ScratchDatabase) -> str:
    """The set-up with its XML column as text, which looks the same in a bucket, where the server is built without XML."""
    try:
        database.execute("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        print("this server has no XML: the column is text")
        return setup.replace("xm xml", "xm text")
    return setup


@pytest.fixture
def source_database(name: str, request: pytest.FixtureRequest) -> Generator[ScratchDatabase]:
    """A database on the server of the test run, or on one of its own where the scenario needs a setting."""
    if not name.startswith("19-"):
        yield request.getfixturevalue("postgres_database")
        return
    with EmbeddedPostgres(settings={"max_prepared_transactions": "10"}) as server:
        yield ScratchDatabase(server.dsn(), "postgres")


@pytest.mark.parametrize("name", NAMES)
async def test_buckets_after_each_step_are_as_recorded(
    name: str, source_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "PUBLICATION_INTERVAL_S", 0.1)
    scenario = read_scenario(GOLDEN, name)
    player = Player(source_database.dsn)
    try:
        refused = player.play(without_xml(scenario.setup, source_database))
        assert not refused, f"the set-up fails here: {refused}"
        problems = await play(scenario, source_database, tmp_path / "storage", player)
    finally:
        player.close()
    rows = sum(len(rows) for step in scenario.steps for rows in step.recorded.values())
    print(
        f"{name}: {len(scenario.steps)} steps, {rows} recorded rows compared, {len(DIFFERENCES.get(name, {}))} differences"
    )
    assert not problems, "\n".join(problems)
