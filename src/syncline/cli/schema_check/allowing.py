"""`--allow`: findings that were looked at and are meant. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from syncline.cli.schema_check.findings import Finding, Rule

__all__ = ["Allowed", "allow"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Findings after the allow list: what is left, how many were allowed, and entries that allow nothing (any more)."""

    left: tuple[Finding, ...]
    count: int
    unused: tuple[str, ...]


def allow(findings: Iterable[Finding], entries: Sequence[str]) -> Allowed:
    """Take out what the entries allow.

    An entry is a table (`lists`), a column (`lists.done`, `*.created_at`), a rule (`null-differs`), or a rule of a place
    (`null-differs:lists.done`). A table without a column allows everything about it.
    """
    used: set[str] = set()
    left: list[Finding] = []
    count = 0
    for finding in findings:
        matching = [entry for entry in entries if _matches(entry, finding)]
        used.update(matching)
        count += bool(matching)
        if not matching:
            left.append(finding)
    return Allowed(tuple(left), count, tuple(entry for entry in entries if entry not in used))


def _matches(entry: str, finding: Finding) -> bool:
    rule, colon, place = entry.partition(":")
    if not colon:
        if entry in tuple(Rule):
            return finding.rule.value == entry
        rule, place = "", entry
    if rule and finding.rule.value != rule:
        return False
    table, dot, column = place.partition(".")
    if not fnmatchcase(finding.table.lower(), table.lower()):
        return False
    return not dot or fnmatchcase(finding.column.lower(), column.lower())
