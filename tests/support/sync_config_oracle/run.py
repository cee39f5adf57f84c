"""Runs many cases, counts what occurred in them, and tells of the first failures in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.sync_config_oracle.cases import Case, generate_case
from tests.support.sync_config_oracle.comparison import Comparison, compare
from tests.support.sync_config_oracle.constructs import CONSTRUCTS, constructs_of
from tests.support.sync_config_oracle.postgres_sql import visible_rows_sql
from tests.support.sync_config_oracle.shrinking import shrunk
from tests.support.sync_config_oracle.source import PostgresSource, connections_sql
from tests.support.sync_config_oracle.sync_sql import config_text

__all__ = ["Report", "run_cases"]

TOLD_MAX = 3  # failures that are made smaller and told in full


@dataclass(slots=True)
class Report:
    """What came out of a run."""

    seed: int
    cases: int = 0
    over_limit: int = 0
    with_rows: int = 0
    changed: int = 0
    rows_seen: int = 0
    failed: list[int] = field(default_factory=list[int])
    told: list[str] = field(default_factory=list[str])
    occurred: Counter[str] = field(default_factory=Counter[str])
    occurred_with_rows: Counter[str] = field(default_factory=Counter[str])

    def share(self, count: int) -> float:
        """Of all cases."""
        return count / max(self.cases, 1)

    def rare(self, least: float) -> list[str]:
        """Constructs that occurred in a smaller share of the cases."""
        return [name for name in CONSTRUCTS if self.share(self.occurred[name]) < least]

    def text(self) -> str:
        """The report as it is printed."""
        lines = [
            f"SYNCLINE_ORACLE_SEED={self.seed}: {self.cases} cases, {len(self.failed)} failed {self.failed[:20]}",
            f"over the limit of alternatives: {self.over_limit}; some user sees rows: {self.with_rows} "
            f"({self.share(self.with_rows):.0%}), {self.rows_seen} rows in all; changes alter what is seen: {self.changed}",
            "cases per construct, of these with rows:",
        ]
        pairs = [CONSTRUCTS[start : start + 2] for start in range(0, len(CONSTRUCTS), 2)]
        lines += ["".join(self._entry(name) for name in pair).rstrip() for pair in pairs]
        return "\n".join([*lines, *self.told])

    def _entry(self, name: str) -> str:
        return f"  {name:<42}{self.occurred[name]:>6} {self.occurred_with_rows[name]:>6}"


def run_cases(source: PostgresSource, seed: int, numbers: Iterable[int]) -> Report:
    """Compare the cases of a seed with these numbers."""
    report = Report(seed)
    for number in numbers:
        case = generate_case(seed, number)
        comparison = compare(case, source)
        report.cases += 1
        report.over_limit += comparison.over_limit
        report.with_rows += comparison.rows_seen > 0
        report.changed += comparison.changed
        report.rows_seen += comparison.rows_seen
        occurred = constructs_of(case)
        report.occurred.update(occurred)
        if comparison.rows_seen:
            report.occurred_with_rows.update(occurred)
        if comparison.failed:
            report.failed.append(number)
            if len(report.told) < TOLD_MAX:
                report.told.append(_story(case, source, seed, by_problem=bool(comparison.problem)))
    return report


def _story(case: Case, source: PostgresSource, seed: int, *, by_problem: bool) -> str:
    """A failure made small, with all that is needed to look into it."""

    def fails(candidate: Case) -> bool:
        comparison = compare(candidate, source)
        return comparison.failed and bool(comparison.problem) == by_problem

    small = shrunk(case, fails)
    rows = "\n".join(
        f"  {table.schema}.{table.name}: {dict(row)}" for table, kept in small.rows.items() for row in kept
    )
    changes = "\n".join(
        f"  {change.kind} {change.table.name}: {change.before} -> {change.after}" for change in small.changes
    )
    users = "\n".join(f"  {user}" for user in small.users)
    connections = connections_sql(small.config, small.users)
    statement = visible_rows_sql(small.config, small.schema, connections) if connections else "(no subscription)"
    return (
        f"\nFAILED: case {case.number} of seed {seed} "
        f"(SYNCLINE_ORACLE_SEED={seed} SYNCLINE_ORACLE_CASE={case.number})\n{config_text(small.config)}"
        f"rows:\n{rows}\nchanges:\n{changes}\nusers:\n{users}\n{_outcome(compare(small, source))}\nPostgres:\n{statement}\n"
    )


def _outcome(comparison: Comparison) -> str:
    lines = [comparison.problem]
    for difference in comparison.differences:
        lines.append(f"{difference.when}, user {difference.user}:")
        lines += [f"  only ours: {row}" for row in sorted(difference.only_ours)]
        lines += [f"  only Postgres: {row}" for row in sorted(difference.only_postgres)]
    return "\n".join(lines)
