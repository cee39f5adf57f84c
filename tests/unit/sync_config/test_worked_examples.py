"""Every case of the worked examples: rows to buckets, connections to buckets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from syncline.sync_config import CompiledPlan, compile_sync_config
from tests.unit.sync_config.resolving import evaluate, resolve

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "fixtures/sync_config/worked-examples.yaml").read_text()
)
CASES: list[dict[str, Any]] = DOCUMENT["cases"]


def plan_of(case: dict[str, Any]) -> CompiledPlan:
    streams = {
        name: {
            "auto_subscribe": case.get("auto_subscribe", True),
            "queries": [query] if isinstance(query, str) else query,
        }
        for name, query in case["queries"].items()
    }
    config: dict[str, Any] = {"config": {"edition": 3}, "streams": streams}
    if "with" in case:
        config["with"] = case["with"]
    return compile_sync_config(yaml.safe_dump(config, sort_keys=False))


def rows_of(case: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(entry["table"], entry["row"]) for entry in [*DOCUMENT["rows"], *case.get("rows", [])]]


@pytest.mark.parametrize("case", CASES, ids=[case["name"].replace(" ", "_") for case in CASES])
def test_rows_and_connections_meet_in_the_buckets(case: dict[str, Any]) -> None:
    plan, rows = plan_of(case), rows_of(case)
    found = {row.get("id"): evaluate(plan, table, row) for table, row in rows}
    assert not [evaluation.errors for evaluation in found.values() if evaluation.errors]
    for row_id, buckets in case.get("in", {}).items():
        assert sorted(row.bucket for row in found[row_id].rows) == sorted(buckets)
        assert all(row.object_id == row_id for row in found[row_id].rows)
    for row_id, data in case.get("data", {}).items():
        assert {row.data for row in found[row_id].rows} == {data}
    for row_id, object_type in case.get("types", {}).items():
        assert {row.object_type for row in found[row_id].rows} == {object_type}
    for connection in case.get("connections", []):
        token, subscriptions = connection.get("token", {"sub": "u1"}), connection.get("subscriptions", [])
        resolved = resolve(plan, rows, token, subscriptions=subscriptions)
        assert sorted(bucket.name for bucket in resolved.buckets) == sorted(connection["buckets"])
