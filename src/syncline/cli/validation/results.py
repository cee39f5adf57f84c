"""What a check has found, as a value for JSON and YAML and as lines for people. Shape and marks: command line reference, 4 and 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CHECKS", "CheckResult", "as_text", "as_value", "placed", "skipped"]

CHECKS = {
    "configuration": "Validate Configuration Schema",
    "connections": "Test Connections",
    "sync-config": "Validate Sync Config",
}
"""The checks by id, in the order in which they run, with the names that people see."""


@dataclass(slots=True)
class CheckResult:
    """One check. It has passed where it has found no error."""

    id: str
    errors: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])

    @property
    def passed(self) -> bool:
        """Whether nothing is in the way."""
        return not self.errors

    def as_value(self) -> dict[str, Any]:
        """The result as it stands in JSON; what is empty is left out."""
        value: dict[str, Any] = {"id": self.id, "name": CHECKS[self.id]}
        if self.errors:
            value["errors"] = self.errors
        value["passed"] = self.passed
        if self.warnings:
            value["warnings"] = self.warnings
        return value


def skipped(check: str) -> CheckResult:
    """The result of a check that the command line leaves out."""
    return CheckResult(check, warnings=["Test skipped based on input flags."])


def as_value(results: Sequence[CheckResult]) -> dict[str, Any]:
    """All results."""
    return {"passed": all(result.passed for result in results), "tests": [result.as_value() for result in results]}


def as_text(results: Sequence[CheckResult]) -> str:
    """All results for people."""
    lines = ["Running validation tests..."]
    for result in results:
        lines.append(f"{'✓' if result.passed else '✗'} {CHECKS[result.id]}")
        lines += [f"  • [warning] {text}" for text in result.warnings]
        lines += [f"  • [error] {text}" for text in result.errors]
    good = all(result.passed for result in results)
    return "\n".join([*lines, "", "All validation tests passed." if good else "Some validation tests failed."])


def placed(message: str, text: str, offset: int | None) -> str:
    """A message with the place in `text` that it is about: line, column, the line itself, and a caret below it."""
    if offset is None or not 0 <= offset <= len(text):
        return message
    begin = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[begin : end if end >= 0 else len(text)]
    head = f"[Line {text.count(chr(10), 0, offset) + 1}, Column {offset - begin + 1}]: {message}"
    return f"{head}\n{line}\n{' ' * (offset - begin)}^"
