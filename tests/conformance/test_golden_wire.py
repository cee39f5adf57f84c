"""The recorded conversations of the reference, played against `syncline start`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from tests.conformance.golden import Segment, check_conversation, segments

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
LIST_1, LIST_2 = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
STEP_TIMEOUT_S = 20.0


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    sql = (GOLDEN / "golden-data.sql").read_text()
    # A server may be built without XML; what is sent of it is its text either way.
    postgres_database.execute(sql.replace("c_xml xml", "c_xml text"))
    return postgres_database


@pytest.fixture
def service(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    config = (GOLDEN / "golden-streams.yaml").read_text()
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=config) as process:
        yield process


@pytest.fixture
def service_of_rules(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    config = (GOLDEN / "golden-rules.yaml").read_text()
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=config) as process:
        yield process


def request(**fields: Any) -> dict[str, Any]:
    return {"buckets": [], "include_checksum": True, "raw_data": True, "client_id": "golden", **fields}


def subscriptions(*entries: tuple[str, dict[str, Any] | None, int | None], defaults: bool) -> dict[str, Any]:
    listed = [{"stream": s, "parameters": p, "override_priority": o} for s, p, o in entries]
    return {"include_defaults": defaults, "subscriptions": listed}


async def play(
    service: ServiceProcess, body: dict[str, Any], steps: list[tuple[str, Callable[[], object]]]
) -> list[str]:
    """The lines of one stream; a step is done after each complete line, and the stream is closed after the last."""
    waiting = list(steps)
    lines: list[str] = []
    headers = {"authorization": f"Token {token('user1')}", "content-type": "application/json"}
    async with (
        asyncio.timeout(STEP_TIMEOUT_S),
        aiohttp.ClientSession(read_bufsize=1 << 20) as session,
        session.post(f"{service.base_url}/sync/stream", json=body, headers=headers) as response,
    ):
        assert response.status == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["access-control-allow-origin"] == "*"
        async for raw in response.content:
            lines.append(raw.decode())
            if b'"checkpoint_complete"' in raw:
                if not waiting:
                    return lines
                label, step = waiting.pop(0)
                lines.append(f"# step: {label}\n")
                await asyncio.to_thread(step)
    raise AssertionError("the service ended the stream")


def compare(name: str, lines: list[str], *, positions: dict[str, int] | None = None) -> None:
    check_conversation(lines, positions=positions)
    recorded = (GOLDEN / name).read_text().splitlines()
    _, dirty_theirs = segments(recorded)
    ours, dirty_ours = segments(lines, dirty_too=dirty_theirs)
    theirs, _ = segments(recorded, dirty_too=dirty_ours)
    assert [segment[0] for segment in ours] == [segment[0] for segment in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == other


def compare_nested(name: str, lines: list[str]) -> None:
    """As `compare`; and rows are objects, in every line of both."""
    recorded = (GOLDEN / name).read_text().splitlines()
    data: list[dict[str, Any]] = [
        json.loads(text)["data"] for text in (*lines, *recorded) if text.startswith('{"data"')
    ]
    assert all(isinstance(entry["data"], dict) for line in data for entry in line["data"])
    compare(name, lines)


def comparable_first_sync(recorded: list[str]) -> list[Segment]:
    """A first sync; which table is copied first, and so has the first ops of a bucket, is the service's choice."""
    found, _ = segments(recorded, dirty_too={"#global[]"})
    return [
        ("ops", {bucket: sorted(map(_without_domain, ops), key=repr) for bucket, ops in segment[1].items()})
        if segment[0] == "ops"
        else segment
        for segment in found
    ]


def _without_domain(op: Segment) -> Segment:
    """A domain without `custom_postgres_types` is text, as in the reference's stream; in its first copy it is the base type's value."""
    kind, object_type, object_id, row, checksum = op
    return kind, object_type, object_id, {key: row[key] for key in row if key != "c_dom"}, checksum


def steps_of_07(source: ScratchDatabase, service: ServiceProcess) -> list[tuple[str, Callable[[], object]]]:
    new, moved, third = (f"22222222-0000-4000-8000-0000000000{end}" for end in ("a1", "02", "03"))

    def sql(statement: str) -> Callable[[], object]:
        return lambda: source.execute(statement)

    def write_checkpoint() -> None:
        async def ask() -> None:
            headers = {"authorization": f"Token {token('user1')}"}
            url = f"{service.base_url}/write-checkpoint2.json?client_id=golden"
            async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
                assert (await response.json())["data"]["write_checkpoint"].isdecimal()

        asyncio.run(ask())

    return [
        ("insert todo", sql(f"insert into todos(id,description,list_id) values ('{new}','added','{LIST_1}')")),
        (
            "update todo",
            sql(
                "update todos set description='changed', completed=true, completed_at='2026-02-01T00:00:00Z'"
                f" where id='{new}'"
            ),
        ),
        ("delete todo", sql(f"delete from todos where id='{new}'")),
        ("move todo between lists (bucket change)", sql(f"update todos set list_id='{LIST_2}' where id='{moved}'")),
        (
            "new list => new bucket",
            sql("insert into lists(id,name,owner_id) values ('11111111-0000-4000-8000-000000000009','New','user1')"),
        ),
        ("list changes owner => bucket removed", sql(f"update lists set owner_id='user2' where id='{LIST_2}'")),
        ("list returns to owner", sql(f"update lists set owner_id='user1' where id='{LIST_2}'")),
        (
            "primary key change",
            sql(f"update todos set id='22222222-0000-4000-8000-0000000000b1' where id='{third}'"),
        ),
        (
            "one tx, two streams (priority 1 and 3)",
            sql(
                f"with x as (update lists set name='Groceries2' where id='{LIST_1}')"
                " update todos set description='milk2' where id='22222222-0000-4000-8000-000000000001'"
            ),
        ),
        ("write-checkpoint2 (client_id=golden)", write_checkpoint),
    ]


@pytest.mark.requirement(169, 186)
async def test_first_sync_subscriptions_changes_and_resume_are_those_of_the_reference(
    service: ServiceProcess, source: ScratchDatabase
) -> None:
    first = await play(service, request(), [])
    compare("01-initial-sync-defaults.ndjson", first)
    compare("03-initial-sync-no-include_checksum.ndjson", await play(service, request(include_checksum=False), []))
    all_types = subscriptions(("all_types", None, None), defaults=False)
    compare("04-all-types-raw.ndjson", await play(service, request(streams=all_types), []))
    for name, streams in (("02-initial-sync-raw_data-false.ndjson", None), ("05-all-types-not-raw.ndjson", all_types)):
        lines = await play(service, request(raw_data=False, streams=streams), [])
        compare_nested(name, lines)
    several = subscriptions(
        ("list_todos", {"list_id": LIST_1}, None),
        ("list_todos", {"list_id": LIST_2}, 0),
        ("list_todos", {"list_id": "nope"}, None),
        ("missing_stream", None, None),
        defaults=True,
    )
    compare("06-subscriptions-priorities-errors.ndjson", await play(service, request(streams=several), []))
    compare("07-incremental.ndjson", await play(service, request(), steps_of_07(source, service)))

    opening = json.loads(first[0])["checkpoint"]
    positions = {bucket["bucket"]: 0 for bucket in opening["buckets"]}
    for line in first:
        if line.startswith('{"data"'):
            data = json.loads(line)["data"]
            positions[data["bucket"]] = int(data["next_after"])
    known = [{"name": name, "after": str(after)} for name, after in positions.items()]
    compare("08-resume-with-buckets.ndjson", await play(service, request(buckets=known), []), positions=positions)


async def test_sync_rules_give_the_buckets_and_values_of_the_reference(service_of_rules: ServiceProcess) -> None:
    for name, raw_data in (("50-legacy-rules-initial", True), ("51-legacy-rules-not-raw", False)):
        lines = await play(service_of_rules, request(raw_data=raw_data), [])
        check_conversation(lines)
        recorded = (GOLDEN / f"{name}.ndjson").read_text().splitlines()
        assert comparable_first_sync(lines) == comparable_first_sync(recorded)
