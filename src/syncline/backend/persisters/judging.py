"""Asking a table's conflict strategy: the part of it that no database has a say in. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from syncline.backend.conflicts.strategy import Apply, ConflictStrategy, Decision, Keep, Reject
from syncline.backend.persisters.base import Write, WriteRefused
from syncline.backend.rule_failures import rule_failed
from syncline.protocol.crud import UpdateType

__all__ = ["Judged", "judged_by", "needed_columns"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be done. `inserts`: the row was not there, so the write may only make it; where it has come meanwhile, judge again."""

    write: Write | None
    records: tuple[Write, ...] = ()
    inserts: bool = False


def needed_columns(write: Write, strategy: ConflictStrategy) -> list[str]:
    """Columns of the current row that the strategy wants to see. Raises UnknownFailure where the strategy itself failed."""
    try:
        return sorted({*strategy.needs(write)})
    except Exception as exc:
        raise rule_failed(exc, write.table) from exc


def judged_by(
    strategy: ConflictStrategy, write: Write, current: Mapping[str, Any] | None, *, row_exists: bool | None
) -> Judged:
    """What the strategy makes of the write. `row_exists` is None where nobody looked.

    Raises WriteRefused for a rejection, UnknownFailure where the strategy itself failed.
    """
    decision = _decide(strategy, write, current)
    if isinstance(decision, Reject):
        raise WriteRefused(decision.code, decision.message, operation_index=write.index, details=decision.details)
    if isinstance(decision, Keep):
        return Judged(None, decision.records)
    inserts = write.op is UpdateType.PUT and row_exists is False
    return Judged(replace(decision.write, only_new=decision.write.only_new or inserts), decision.records, inserts)


def _decide(strategy: ConflictStrategy, write: Write, current: Mapping[str, Any] | None) -> Decision:
    try:
        decision = strategy.decide(write, current)
        if not isinstance(decision, (Apply, Keep, Reject)):  # pyright: ignore[reportUnnecessaryIsInstance]  # the app's code
            raise TypeError("no decision")
    except Exception as exc:
        raise rule_failed(exc, write.table) from exc
    return decision
