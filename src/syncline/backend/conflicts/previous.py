"""Strategies that rest on previous values, which the device sends for tables that track them: differences, three-way merges. PURE.

Facts: docs/reference/write-path.md, 4 (strategies 7 and 8).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from syncline.backend.conflicts.detection import conflict_over
from syncline.backend.conflicts.merging import Merge, Unmergeable
from syncline.backend.conflicts.strategy import Apply, CurrentRow, Decision, Reject
from syncline.backend.conflicts.values import number, same_value
from syncline.backend.persisters.base import Write
from syncline.protocol.crud import UpdateType

__all__ = ["IDENTITY_REQUIRED", "Delta", "ThreeWay"]

IDENTITY_REQUIRED = (
    "IDENTITY_REQUIRED"  # code of a refusal: the write must not be repeated, and a repeat could not be recognised
)


@dataclass(frozen=True, slots=True)
class Delta:
    """Cumulative columns, such as a stock: a PATCH adds what the device added, new minus previous, to what is there now.

    Added twice it would count twice, so the upload must bring the ids by which a repeat is recognised; else it is refused
    (IDENTITY_REQUIRED). A PATCH without a previous value is refused too. NULL counts as 0 before, and sets NULL after. A PUT sets.
    """

    columns: tuple[str, ...]

    def __init__(self, *columns: str) -> None:
        object.__setattr__(self, "columns", columns)

    def needs(self, write: Write) -> list[str]:
        """The current values of the columns that arrive."""
        return [name for name in self.columns if name in write.data] if write.op is UpdateType.PATCH else []

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """Apply the sums."""
        changed = self.needs(write)
        if not changed or current is None:
            return Apply(write)
        if not write.context.identified:
            message = f"A change of {changed[0]} in {write.table} must bring client_id and client_op_id."
            return Reject(IDENTITY_REQUIRED, message)
        data = dict(write.data)
        previous = write.previous_values or {}
        for name in changed:
            if data[name] is None:
                continue
            if name not in previous:
                return _without_previous(write, name)
            parts = [_amount(value) for value in (current.get(name), data[name], previous[name])]
            if None in parts:
                return Reject("INVALID_DATA", f"The value of {name} is no number.", [{"field": name, "rule": "number"}])
            stored, new, before = (part or Decimal(0) for part in parts)
            data[name] = _plain(stored + (new - before))
        return Apply(replace(write, data=data))


@dataclass(frozen=True, slots=True)
class ThreeWay:
    """Merge each changed column from what the device read, what it wrote, and what is there now.

    A column that only one side changed takes that side's value. Where both did, its function of `merges` joins them (`merge_text`,
    `merge_json`, `merge_set`, or the app's own). For other columns, and where a function cannot, `otherwise` holds: "reject" the
    transaction, or "apply" what the device wrote. A PATCH without a previous value for a column counts as changed on both sides.
    """

    merges: Mapping[str, Merge]
    otherwise: Literal["reject", "apply"] = "reject"

    def needs(self, write: Write) -> Collection[str]:
        """The current values of the columns that arrive."""
        return list(write.data) if write.op is UpdateType.PATCH else []

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """Apply the merged columns."""
        if current is None:
            return Apply(write)
        data: dict[str, Any] = {}
        for name, mine in write.data.items():
            try:
                data[name] = self._merged(name, write.previous_values or {}, mine, current.get(name))
            except Unmergeable:
                if self.otherwise == "reject":
                    return conflict_over(write, name)
                data[name] = mine
        return Apply(replace(write, data=data))

    def _merged(self, name: str, previous: Mapping[str, Any], mine: Any, theirs: Any) -> Any:
        if same_value(mine, theirs):
            return theirs
        if name not in previous:
            raise Unmergeable("no previous value")
        base = previous[name]
        if same_value(base, theirs):
            return mine
        if same_value(base, mine):
            return theirs
        merge = self.merges.get(name)
        if merge is None or mine is None or theirs is None:
            raise Unmergeable("changed on both sides")
        return merge(base, mine, theirs)


def _amount(value: Any) -> Decimal | None:
    return Decimal(0) if value is None else number(value)


def _plain(value: Decimal) -> int | str:
    """A whole number as such; another as text, exact."""
    return int(value) if value == value.to_integral_value() else format(value, "f")


def _without_previous(write: Write, name: str) -> Reject:
    message = f"A change of {name} in {write.table} must bring its previous value."
    return Reject("VALIDATION_ERROR", message, [{"field": name, "rule": "previous_value"}])
