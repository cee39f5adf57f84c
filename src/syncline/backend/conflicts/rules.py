"""Strategies of the app's own: rules that see the current row, several strategies one after another, values that merge themselves. PURE.

Facts: docs/reference/write-path.md, 4 (strategies 4 and 9).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from syncline.backend.conflicts.strategy import Apply, ConflictStrategy, CurrentRow, Decision, Keep, Reject
from syncline.backend.conflicts.values import same_value
from syncline.backend.persisters.base import Write
from syncline.protocol.crud import UpdateType

__all__ = ["BusinessRules", "InOrder", "MergeValues", "Rule", "Transitions"]

Rule = Callable[[Write, CurrentRow | None], Reject | None]
"""Looks at a write and the current row; None lets it pass."""


@dataclass(frozen=True, slots=True)
class BusinessRules:
    """The app's own rules, in order; the first that rejects ends it. `columns` of the current row are what they look at."""

    columns: Collection[str]
    rules: tuple[Rule, ...]

    def __init__(self, *rules: Rule, columns: Collection[str]) -> None:
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "columns", tuple(columns))

    def needs(self, write: Write) -> Collection[str]:
        """What the rules look at."""
        del write
        return self.columns

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """Ask the rules."""
        for rule in self.rules:
            refused = rule(write, current)
            if refused is not None:
                return refused
        return Apply(write)


@dataclass(frozen=True, slots=True)
class Transitions:
    """A column that moves through states: `Transitions("status", {"draft": {"sent"}, "sent": {"paid", "draft"}}, first={"draft"})`.

    A write that leaves the state as it is passes, and so does a state for a row that the user has not: a PUT with one of `first`.
    """

    column: str
    allowed: Mapping[str, Collection[str]]
    first: Collection[str]

    def needs(self, write: Write) -> Collection[str]:
        """The state, where the write brings one."""
        return (self.column,) if write.op is not UpdateType.DELETE and self.column in write.data else ()

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """Apply an allowed step; reject others with VALIDATION_ERROR."""
        if not self.needs(write):
            return Apply(write)
        state = write.data[self.column]
        if current is None:
            passes = write.op is not UpdateType.PUT or state in self.first
        else:
            before = current[self.column]
            passes = same_value(state, before) or state in self.allowed.get(str(before), ())
        if passes:
            return Apply(write)
        message = f"The step of {self.column} in {write.table} is not allowed."
        return Reject("VALIDATION_ERROR", message, [{"field": self.column, "rule": "transition"}])


@dataclass(frozen=True, slots=True)
class InOrder:
    """Several strategies, each judging what the one before made of the write. The first that does not apply it decides."""

    strategies: tuple[ConflictStrategy, ...]

    def __init__(self, *strategies: ConflictStrategy) -> None:
        object.__setattr__(self, "strategies", strategies)

    def needs(self, write: Write) -> Collection[str]:
        """What any of them needs."""
        return {column for strategy in self.strategies for column in strategy.needs(write)}

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """Ask one after another."""
        records: tuple[Write, ...] = ()
        for strategy in self.strategies:
            decision = strategy.decide(write, current)
            if isinstance(decision, Reject):
                return decision
            records += decision.records
            if isinstance(decision, Keep):
                return Keep(records)
            write = decision.write
        return Apply(write, records)


@dataclass(frozen=True, slots=True)
class MergeValues:
    """Columns whose values merge without a common ancestor: CRDT payloads (recipe: `syncline.backend.conflicts`).

    Each function gets the current value and the one that arrives, neither of them None, and returns the merged one. It must not matter
    in which order, or how often, values arrive. A ValueError means that a value is none of this kind: the write is rejected.
    """

    merges: Mapping[str, Callable[[Any, Any], Any]]

    def needs(self, write: Write) -> Collection[str]:
        """The current values of the columns that arrive."""
        return [] if write.op is UpdateType.DELETE else [name for name in self.merges if name in write.data]

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """Apply the merged values."""
        data = dict(write.data)
        for name in self.needs(write) if current is not None else ():
            stored = (current or {}).get(name)
            if stored is None or data[name] is None:
                data[name] = stored if data[name] is None else data[name]  # nothing known takes nothing away
                continue
            try:
                data[name] = self.merges[name](stored, data[name])
            except ValueError:
                message = f"The value of {name} cannot be merged."
                return Reject("INVALID_DATA", message, [{"field": name, "rule": "merge"}])
        return Apply(replace(write, data=data))
