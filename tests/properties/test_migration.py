"""Users see the same rows with migrated sync rules as with the sync rules themselves.

Seeds are printed; SYNCLINE_MIGRATION_SEED=… plays a run again, SYNCLINE_MIGRATION_CASE=… one case of it.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from syncline.errors import SyncConfigError
from syncline.sync_config import compile_sync_config
from syncline.sync_config.migration import Migration, migrate_to_streams
from syncline.sync_config.schema import SourceSchema
from tests.properties.sync_rules_cases import COLUMNS, RulesCase, make_case
from tests.unit.sync_config.migration.seeing import SeenRow, visible

CASES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 400
LEAST_SHARE_WITH_ROWS = 0.3
REFUSED_SHARE_MAX = 0.12
LEAST_TIMES = 3  # that each construct occurs; the rarest is expected 20 times
SCHEMA = SourceSchema.of({f"public.{table}": dict.fromkeys(columns, "text") for table, columns in COLUMNS.items()})

_CONSTRUCTS = {
    "data: OR of matches", "data: alias", "data: match of a constant", "data: match of an expression", "data: parameter IN row",
    "data: parameter matched twice", "data: row filter", "data: star", "data: wildcard",
    "definition: accept_potentially_dangerous_queries", "definition: global", "definition: priority",
    "definition: several parameter queries", "option: edition 2", "option: fixed_json_extract", "parameters: OR of matches",
    "parameters: _priority", "parameters: json_each", "parameters: json_each filter", "parameters: json_each mixed with the request",
    "parameters: json_each request filter", "parameters: json_each twice", "parameters: match", "parameters: request IN row",
    "parameters: request filter", "parameters: row IN request", "parameters: row filter", "parameters: static", "parameters: table",
    "parameters: table and request filter", "parameters: table, existence", "parameters: table, one column",
    "parameters: table, several columns",
}  # fmt: skip


@dataclass(slots=True)
class Report:
    """What a run tried, and what it found."""

    seed: int
    cases: int = 0
    with_rows: int = 0
    rows: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    constructs: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        """The report for a person."""
        lines = [
            f"migration: {self.cases} cases of seed {self.seed}; in {self.with_rows} a user saw rows ({self.rows} rows)",
            f"  refused: {dict(self.refused)}",
            *(f"  {count:6} {name}" for name, count in sorted(self.constructs.items())),
        ]
        return "\n".join([*lines, *self.failures[:3]])


@pytest.mark.timeout(1800)
def test_users_see_the_same_rows_after_a_migration(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SYNCLINE_MIGRATION_SEED") or random.randrange(2**32))
    only = os.environ.get("SYNCLINE_MIGRATION_CASE")
    report = Report(seed)
    for number in [int(only)] if only else range(CASES):
        _try(make_case(seed, number), number, report)
    with capsys.disabled():
        print(f"\n{report.text()}")
    assert not report.failures, report.text()
    if not only:
        assert report.with_rows >= LEAST_SHARE_WITH_ROWS * report.cases
        assert report.refused.total() <= REFUSED_SHARE_MAX * report.cases
        assert {name for name in _CONSTRUCTS if report.constructs[name] < LEAST_TIMES} == set()
        assert set(report.constructs) == _CONSTRUCTS


def _try(case: RulesCase, number: int, report: Report) -> None:
    report.cases += 1
    report.constructs.update(case.constructs)
    schema = SCHEMA if number % 2 else None
    rules = compile_sync_config(case.config)
    try:
        migration = migrate_to_streams(case.config, schema=schema)
    except SyncConfigError as exc:
        report.refused[exc.problems[0].message] += 1
        if not case.may_be_refused:
            report.failures.append(f"case {number} was refused: {exc}\n{case.config}")
        return
    streams = compile_sync_config(migration.text)
    before = visible(rules, case.rows, case.connections)
    after = visible(streams, case.rows, case.connections)
    if schema is None and _says_that_star_is_unsure(migration):
        before, after = [_without_hidden(rows) for rows in before], [_without_hidden(rows) for rows in after]
    report.with_rows += any(before)
    report.rows += sum(map(len, before))
    if before != after:
        differing = [_difference(one, other) for one, other in zip(before, after, strict=True)]
        report.failures.append(f"case {number}: {differing}\n{case.config}\n{migration.text}\n{case.connections}")
    known = {str(warning.kind) for warning in rules.warnings}
    new = [warning for warning in streams.warnings if str(warning.kind) not in known]
    told = [note.text for note in migration.notes]
    if any(not any(warning.message in text for text in told) for warning in new):
        report.failures.append(f"case {number}: a new warning is not told: {new}\n{case.config}\n{migration.text}")


def _says_that_star_is_unsure(migration: Migration) -> bool:
    return any("In sync rules * leaves out" in note.text for note in migration.notes)


def _without_hidden(rows: dict[SeenRow, int]) -> dict[SeenRow, int]:
    """The rows without columns that begin with `_`: what `*` has of those was told in a note."""
    return {(table, row_id, _shown(data)): priority for (table, row_id, data), priority in rows.items()}


def _shown(data: str) -> str:
    return json.dumps({key: value for key, value in json.loads(data).items() if not key.startswith("_")})


def _difference(before: dict[SeenRow, int], after: dict[SeenRow, int]) -> tuple[object, object]:
    lost = {row: priority for row, priority in before.items() if after.get(row) != priority}
    gained = {row: priority for row, priority in after.items() if before.get(row) != priority}
    return lost, gained
