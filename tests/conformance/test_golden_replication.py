"""Recorded replication scenarios of the reference: after each step our buckets hold what its buckets hold, and go on to hold it.

Where they differ on purpose (`differences.yaml`) ours must hold the source's truth, and the recording must not. What is true is
computed from the source by SQL, or from the recording: never from what we print.
"""

from __future__ import annotations

import json
import re
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
from tests.conformance.replication_traces import (
    BucketState,
    Player,
    Scenario,
    Step,
    plain_name,
    read_scenario,
    strict_row,
)
from tests.conformance.storage_suite.builders import ops_of
from tests.integration.replication.replicating import Replica, replicating
from tests.support.postgres_version import needs_postgres

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "replication"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.sql"))
DIFFERENCES: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load((GOLDEN / "differences.yaml").read_text()) or {}
STEP_TIMEOUT_S = 30.0


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
            key = (op.object_type or "", op.object_id or "", op.subkey or "")
            state.apply(op.op.value, key, strict_row(op.data or "{}"))
    return buckets


def as_recorded(step: Step, ours: dict[str, BucketState]) -> list[str]:
    """How ours differ from the recording after this step; empty where they agree."""
    problems = [f"buckets {sorted(ours)}"] if set(ours) != {*step.recorded, *step.recorded_counts} else []
    for bucket, state in ours.items():
        if bucket in step.recorded_counts and state.op_count != step.recorded_counts[bucket]:
            problems.append(f"{bucket}: {state.op_count} operations, recorded {step.recorded_counts[bucket]}")
        elif bucket in step.recorded:
            problems += differing(bucket, state, step.recorded[bucket], "recorded")
    return problems


def differing(bucket: str, state: BucketState, expected: list[str], what: str) -> list[str]:
    """How the rows of one bucket differ from those expected."""
    mine, theirs = set(state.rows()), set(expected)
    if state.rows() == sorted(expected):
        return []
    return [f"{bucket}: only ours {sorted(mine - theirs)}, only {what} {sorted(theirs - mine)}"]


def as_amended(
    database: ScratchDatabase, step: Step, difference: dict[str, Any], ours: dict[str, BucketState]
) -> list[str]:
    """How ours differ from the recording as `rewrite` and `overlay` amend it.

    `rewrite` is a pattern and its replacement, for every text in a recorded row; `overlay` a query of the source for (object type,
    object id, columns as jsonb), which take the place of the recorded columns, or are a row that was not recorded.
    """
    [(bucket, recorded)] = step.recorded.items()
    objects = _by_id(recorded)
    if "rewrite" in difference:
        pattern, replacement = difference["rewrite"]
        for columns in objects.values():
            texts = {name: value for name, value in columns.items() if isinstance(value, str)}
            columns.update({name: re.sub(pattern, replacement, text) for name, text in texts.items()})
    for kind, one, columns in database.execute(difference.get("overlay", "SELECT 1, 1, 1 WHERE false")):
        objects[kind, one] = objects.get((kind, one), {}) | columns
    expected = [json.dumps([kind, one, columns], sort_keys=True) for (kind, one), columns in objects.items()]
    if set(ours) != {bucket}:
        return [f"buckets {sorted(ours)}"]
    return differing(bucket, ours[bucket], expected, "expected")


def as_true(database: ScratchDatabase, truth: str, ours: dict[str, BucketState]) -> list[str]:
    """How ours differ from the source's rows, which `truth` selects: (object type, object id) or with the row as jsonb, or as a list."""
    rows = database.execute(truth)
    width = len(rows[0]) if rows else 2
    true = sorted(json.dumps(list(row), sort_keys=True) for row in rows)
    objects = [json.loads(row)[:width] for state in ours.values() for row in state.rows()]
    mine = sorted(json.dumps(one, sort_keys=True) for one in objects)
    return [] if mine == true else [f"ours {mine}, the source has {true}"]


def _by_id(rows: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(kind, one): data for kind, one, data in map(json.loads, rows)}


def found_problems(
    database: ScratchDatabase, step: Step, difference: dict[str, Any] | None, ours: dict[str, BucketState]
) -> list[str]:
    """How ours differ from what is expected after this step."""
    if difference is None:
        return as_recorded(step, ours)
    if "truth" in difference:
        return as_true(database, difference["truth"], ours)
    return as_amended(database, step, difference, ours)


async def check_step(replica: Replica, database: ScratchDatabase, step: Step, difference: dict[str, Any] | None) -> str:
    """Wait until the state after this step is the expected one, and see that it stays; the problems where it does not."""
    problems: list[str] = []

    async def agrees() -> bool:
        problems[:] = found_problems(database, step, difference, await our_buckets(replica))
        return not problems

    try:
        if difference is not None and "error" in difference:
            await eventually(
                lambda: difference["error"] in str(replica.job.status.last_error), what=difference["error"]
            )
            database.execute(difference["heal"])
        await replica.caught_up()
        await eventually(agrees, timeout_s=STEP_TIMEOUT_S, what=step.label)
        for _ in range(2):  # the first leaves a marker in the log, and the second waits until it has passed
            await replica.caught_up()
    except AssertionError as error:
        return f"{step.label}: {problems or error}"
    if not await agrees():
        return f"{step.label}: agreed, and did not stay so: {problems}"
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
        database: ScratchDatabase = request.getfixturevalue("postgres_database")
        if name.startswith("15-"):
            needs_postgres(database, 15, "column lists and row filters")
        yield database
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
