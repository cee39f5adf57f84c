"""Statuses of sync configs: what is told of slots, tables and signs of life."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncline.api.admin.status import SourceAnswer, StatusWriter
from syncline.api.admin.sync_rules import SourceTables, described_plan
from syncline.replication.inspection import SlotReport, SourceColumn, SourceTable
from syncline.storage.control_model import VersionReport
from syncline.storage.model import SnapshotProgress, SnapshotState, StoredTable, Version, VersionState
from syncline.sync_config import compile_sync_config

NOW_S = 1_800_000_000.0
CONFIG = """
config: {edition: 3}
streams:
  a: {query: "SELECT * FROM lists WHERE name IN (SELECT name FROM names WHERE owner = auth.user_id())"}
  logs: {query: 'SELECT * FROM "log_%"'}
"""
PLAN = compile_sync_config(CONFIG)
VERSION = Version(
    number=5,
    state=VersionState.ACTIVE,
    sync_config=CONFIG,
    slot_name="slot_5",
    source_identity="s",
    snapshot_done=True,
    consistent_from="A",
)
REPORT = VersionReport(VERSION, (), "B", "B")
TABLES = tuple(
    SourceTable("public", name, (SourceColumn("id", "text", "text", 2),), ("id",))
    for name in ("lists", "log_1", "log_2", "names")
)
SOURCE = SourceAnswer(SourceTables(TABLES))


class Replication:
    def __init__(self, *, silent_s: float = 1.0, last_error: str = "") -> None:
        self.touched_s = NOW_S - silent_s
        self.last_error = last_error

    def checkpoint_ms(self, version: int) -> int | None:
        return int(NOW_S * 1000) if version == 5 else None


def status(
    report: VersionReport = REPORT,
    source: SourceAnswer = SOURCE,
    *,
    replication: Replication | None = None,
    is_replicated: bool = True,
) -> dict[str, Any]:
    writer = StatusWriter(
        connection_id="default", tag="default", replication=replication or Replication(), clock=lambda: NOW_S
    )
    return writer.of_version(report, PLAN, source, content=False, is_replicated=is_replicated)


def slot(**fields: Any) -> SourceAnswer:
    report = SlotReport(lag_bytes=10, wal_status="reserved", safe_wal_size=None, max_slot_wal_keep_size=None)
    return replace(SOURCE, slots={"slot_5": report._replace(**fields)})


def test_all_is_well_without_errors() -> None:
    found = status()
    assert found["errors"] == []
    [connection] = found["connections"]
    assert (connection["last_lsn"], connection["last_checkpoint_ts"]) == ("B", "2027-01-15T08:00:00.000Z")
    assert connection["last_keepalive_ts"] == "2027-01-15T07:59:59.000Z"
    assert "replication_lag_bytes" not in connection  # the slot is not there: nothing is known of it


@pytest.mark.requirement(177, 178)
@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({}, None),
        ({"safe_wal_size": 51, "max_slot_wal_keep_size": 100}, None),
        ({"safe_wal_size": 50, "max_slot_wal_keep_size": 100}, "warning"),
        ({"safe_wal_size": -3, "max_slot_wal_keep_size": 100}, "warning"),
        ({"wal_status": "lost", "max_slot_wal_keep_size": 100}, "fatal"),
        ({"safe_wal_size": 0, "max_slot_wal_keep_size": 0}, None),
    ],
)
def test_what_is_left_of_the_slot_s_log_is_told(fields: dict[str, Any], level: str | None) -> None:
    found = status(source=slot(**fields))
    assert [(error["level"], error["message"][:14]) for error in found["errors"]] == (
        [(level, "[PSYNC_S1146] ")] if level else []
    )
    assert {key: found["connections"][0][key] for key in fields} == fields


@pytest.mark.parametrize(("silent_s", "level"), [(299.0, None), (300.0, "warning"), (900.0, "fatal")])
def test_replication_without_a_sign_of_life_is_told(silent_s: float, level: str | None) -> None:
    levels = [error["level"] for error in status(replication=Replication(silent_s=silent_s))["errors"]]
    assert levels == ([level] if level else [])
    assert status(replication=Replication(silent_s=silent_s), is_replicated=False)["errors"] == []


def test_errors_are_told_once_wherever_they_come_from() -> None:
    broken = replace(REPORT, version=replace(VERSION, last_error="[PSYNC_S1141] no publication"))
    waiting = replace(REPORT, version=replace(VERSION, last_error="a slot can be made when a transaction has ended"))
    assert [error["level"] for error in status(waiting)["errors"]] == ["warning"]
    found = status(
        broken,
        replace(SOURCE, problems=("[PSYNC_S1141] no publication",)),
        replication=Replication(last_error="[PSYNC_S1141] no publication"),
    )
    assert found["errors"] == [{"level": "fatal", "message": "[PSYNC_S1141] no publication"}]
    replaced = replace(REPORT, version=replace(VERSION, last_error="It is being replaced: the sync config has changed"))
    assert status(replaced)["errors"] == []
    lost = replace(REPORT, version=replace(VERSION, last_error="It is being replaced: [PSYNC_S1146] its slot is gone"))
    assert [error["level"] for error in status(lost)["errors"]] == ["fatal"]
    fresh = replace(REPORT, position="", checkpoint_position="")
    assert [error["level"] for error in status(fresh)["errors"]] == ["warning"]


def test_tables_tell_how_far_their_copy_is() -> None:
    stored = (
        StoredTable(1, "public", "lists", 7, ("id",), SnapshotState.PENDING, SnapshotProgress(1, 25, 100, 5000)),
        StoredTable(2, "public", "names", 8, ("id",), SnapshotState.PENDING),
        StoredTable(3, "public", "log_1", 9, ("id",), SnapshotState.DONE),
    )
    [connection] = status(replace(REPORT, tables=stored))["connections"]
    tables = {table["name"]: table for table in connection["tables"]}
    assert tables["lists"]["snapshot"] == {"state": "pending", "rows": 5000, "share": 0.25}
    assert tables["names"]["snapshot"] == {"state": "pending", "rows": 0, "share": 0.0}
    assert "snapshot" not in tables["log_1"]
    assert [tables[name]["pattern"] for name in ("log_1", "log_2")] == ["log_%"] * 2
    assert (tables["lists"]["data_queries"], tables["lists"]["parameter_queries"]) == (True, False)
    assert (tables["names"]["data_queries"], tables["names"]["parameter_queries"]) == (False, True)


def test_a_source_that_is_away_is_told_with_each_table() -> None:
    away = SourceAnswer(SourceTables(failure="no route to host", failed_at="2027-01-15T08:00:00.000Z"))
    found = status(source=away)
    assert [table["name"] for table in found["connections"][0]["tables"]] == ["lists", "log_%", "names"]
    assert found["errors"] == [
        {"level": "fatal", "message": "no route to host", "ts": "2027-01-15T08:00:00.000Z"},
    ]


def test_a_described_config_shows_its_queries_and_patterns() -> None:
    found = described_plan(PLAN, SOURCE.tables)
    assert found["bucket_definitions"] == ["stream a", "stream logs"]
    patterns = {entry["pattern"]: entry for entry in found["source_tables"]}
    assert patterns["lists"]["table"]["name"] == "lists"
    assert patterns["log_%"]["wildcard"] is True
    assert [table["name"] for table in patterns["log_%"]["tables"]] == ["log_1", "log_2"]
    assert found["data_tables"]["lists"] == [{"query": "SELECT * FROM lists"}]
    legacy = compile_sync_config("bucket_definitions: {mine: {data: [SELECT * FROM lists WHERE done = 1]}}")
    found = described_plan(legacy, SOURCE.tables)
    assert found["bucket_definitions"] == ["mine"]
    assert "WHERE" in found["data_tables"]["lists"][0]["query"]
