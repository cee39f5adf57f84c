"""Recorded sync rules give every connection the same rows after a migration, and those that are refused are listed."""

from __future__ import annotations

from collections import Counter

import pytest

from syncline.errors import SyncConfigError
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.migration import migrate_to_streams
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.schema import SourceSchema
from tests.conformance.corpus.cases import Case, load_cases
from tests.conformance.corpus.values import row_value
from tests.unit.sync_config.migration.seeing import Connection, SeenRow, SourceRow, visible

CASES = [case for case in load_cases() if "bucket_definitions" in case.config and case.expect["valid"]]

REFUSED = {
    "legacy_data-077": "Streams have no json_valid()",
    "legacy_json_each-021": "This cannot be written as a stream: this condition mixes sources outside of an equality",
    "legacy_wildcards-008": '"other" is no connection of the source, so that this query finds nothing',
}
"""Cases that streams cannot say, with the reason that a person is told."""


@pytest.mark.requirement(174)
def test_connections_of_recorded_sync_rules_see_the_same_rows_after_a_migration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts: Counter[str] = Counter()
    refused: dict[str, str] = {}
    wrong: list[str] = []
    for case in CASES:
        try:
            text = migrate_to_streams(case.config, schema=_schema_of(case)).text
        except SyncConfigError as exc:
            refused[case.name] = exc.problems[0].message
            continue
        before, after = (_seen(case, compile_sync_config(config)) for config in (case.config, text))
        counts["migrated"] += 1
        counts["connections"] += len(before)
        counts["connections that see rows"] += sum(map(bool, before))
        counts["rows seen"] += sum(map(len, before))
        if before != after:
            wrong.append(f"{case.name}\n{case.config}\n{text}\n{before}\n{after}")
    with capsys.disabled():
        print(f"\nrecorded sync rules: {dict(counts)}; refused {refused}")
    assert not wrong, "\n".join(wrong)
    assert refused == REFUSED
    assert counts["migrated"] > 200
    assert counts["connections that see rows"] > 150


def _schema_of(case: Case) -> SourceSchema:
    """The tables as the rows show them."""
    columns: dict[tuple[str, str], frozenset[str]] = {}
    for table, row in _rows(case):
        key = table.schema, table.name
        columns[key] = columns.get(key, frozenset()) | row.keys()
    return SourceSchema(columns)


def _rows(case: Case) -> list[tuple[TablePattern, dict[str, object]]]:
    found: list[tuple[TablePattern, dict[str, object]]] = []
    for entry in case.rows:
        table = entry["table"]
        if isinstance(table, str):
            schema, _, name = table.rpartition(".")
            table = {"schema": schema or "public", "name": name}
        if table.get("connection", "default") == "default":
            found.append((TablePattern(table.get("schema", "public"), table["name"]), entry["row"]))
    return found


def _seen(case: Case, plan: CompiledPlan) -> list[dict[SeenRow, int]]:
    rows = [
        SourceRow(table.name, {c: row_value(v, plan.value_format) for c, v in row.items()}, table.schema)
        for table, row in _rows(case)
    ]
    connections = [Connection(entry["token"], entry.get("parameters", {})) for entry in case.connections]
    return visible(plan, rows, connections)
