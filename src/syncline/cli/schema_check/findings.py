"""One finding of `check schema` or `check policies`: its rule, whether it fails the check, where, and what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

__all__ = ["Finding", "Rule", "Severity"]


class Severity(enum.StrEnum):
    """Whether a finding fails the check."""

    DRIFT = "drift"  # the sides do not agree: exit 1
    ADVICE = "advice"  # they agree, and something is worth a look: exit 1 with --strict only


class Rule(enum.StrEnum):
    """What a finding is about; the names stand in JSON and behind `--allow`."""

    TABLE_NOT_ON_DEVICE = "table-not-on-device"
    TABLE_NOT_SYNCED = "table-not-synced"
    TABLE_NOT_IN_SOURCE = "table-not-in-source"
    COLUMN_NOT_ON_DEVICE = "column-not-on-device"
    COLUMN_NEVER_ARRIVES = "column-never-arrives"
    TYPE_DIFFERS = "type-differs"
    NULL_DIFFERS = "null-differs"
    ID_MISSING = "id-missing"
    ID_NOT_UNIQUE = "id-not-unique"
    PAIR_NOT_UNIQUE = "pair-not-unique"
    NO_OWNER_COLUMN = "no-owner-column"
    OWNER_NOT_INJECTED = "owner-not-injected"
    READ_ONLY_TABLE = "read-only-table"
    READ_ONLY_COLUMN = "read-only-column"
    INVISIBLE_TABLE = "invisible-table"
    INVISIBLE_COLUMN = "invisible-column"


@dataclass(frozen=True, slots=True)
class Finding:
    """`column` is empty where the table is meant. Messages name tables and columns, never values."""

    rule: Rule
    severity: Severity
    table: str
    column: str
    message: str
    hint: str

    def as_value(self) -> dict[str, Any]:
        """The finding as it stands in JSON."""
        return {
            "rule": self.rule.value,
            "severity": self.severity.value,
            "table": self.table,
            "column": self.column or None,
            "message": self.message,
            "hint": self.hint,
        }

    def as_text(self) -> str:
        """The finding for people."""
        place = f"{self.table}.{self.column}" if self.column else self.table
        return f"  • [{self.severity}] {place}: {self.message} [{self.rule}]\n    {self.hint}"
