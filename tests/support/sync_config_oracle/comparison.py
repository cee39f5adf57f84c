"""Runs one case on both sides and says how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncline.errors import SyncConfigError
from syncline.sync_config import SyncPlan, compile_sync_config
from tests.support.sync_config_oracle.cases import Case, Change
from tests.support.sync_config_oracle.service import EvaluationFailed, MemoryService, VisibleRow
from tests.support.sync_config_oracle.source import PostgresSource
from tests.support.sync_config_oracle.sync_sql import config_text

__all__ = ["Comparison", "Difference", "compare"]

_LIMITS = ("more than 100 alternatives", "more than 100 bucket sources")


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that only one side says that a user (by number) sees."""

    when: str
    user: int
    only_ours: frozenset[VisibleRow]
    only_postgres: frozenset[VisibleRow]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out of a case. `rows_seen`: by all users, before and after the changes, in Postgres's view."""

    rows_seen: int = 0
    changed: bool = False  # whether the changes altered what some user sees
    differences: tuple[Difference, ...] = ()
    problem: str = ""  # the config was refused, or a row or connection gave an error
    over_limit: bool = False  # it was refused for having too many alternatives

    @property
    def failed(self) -> bool:
        """Whether the sides do not agree."""
        return bool(self.differences or (self.problem and not self.over_limit))


def compare(case: Case, source: PostgresSource) -> Comparison:
    """Compile, evaluate and resolve; ask Postgres; make the changes on both sides; do it again."""
    try:
        plan = compile_sync_config(config_text(case.config))
    except SyncConfigError as exc:
        text = "; ".join(str(problem) for problem in exc.problems)
        return Comparison(problem=text, over_limit=any(limit in text for limit in _LIMITS))
    with source.case(case):
        try:
            return _compare(case, plan, source)
        except EvaluationFailed as exc:
            return Comparison(problem=str(exc))


def _compare(case: Case, plan: SyncPlan, source: PostgresSource) -> Comparison:
    service = MemoryService(plan)
    for table, rows in case.rows.items():
        for row in rows:
            service.apply(Change(table, None, row))
    differences: list[Difference] = []
    seen: list[Sequence[set[VisibleRow]]] = []
    for when in ("before the changes", "after the changes"):
        ours = [service.visible_rows(user) for user in case.users]
        theirs = source.visible_rows(case)
        seen.append(theirs)
        for number, (mine, true) in enumerate(zip(ours, theirs, strict=True)):
            if mine != true:
                differences.append(Difference(when, number, frozenset(mine - true), frozenset(true - mine)))
        if when.startswith("before"):
            for change in case.changes:
                service.apply(change)
            source.apply(case.changes)
    count = sum(len(rows) for users in seen for rows in users)
    return Comparison(count, seen[0] != seen[1], tuple(differences))
