"""The result of `check schema` and `check policies`, as a value for JSON and YAML and as lines for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from syncline.cli.schema_check.allowing import Allowed
from syncline.cli.schema_check.findings import Finding, Severity

__all__ = ["SchemaReport"]


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """What was found. `notes` say what was not compared. `is_strict`: advice fails the check too."""

    allowed: Allowed
    notes: tuple[str, ...] = ()
    is_strict: bool = False

    @property
    def passed(self) -> bool:
        """Whether the check succeeds."""
        return not (self.allowed.left if self.is_strict else self._of(Severity.DRIFT))

    def as_value(self) -> dict[str, Any]:
        """The result as it stands in JSON."""
        return {
            "passed": self.passed,
            "drift": [finding.as_value() for finding in self._of(Severity.DRIFT)],
            "advice": [finding.as_value() for finding in self._of(Severity.ADVICE)],
            "allowed": self.allowed.count,
            "unused_allow": list(self.allowed.unused),
            "notes": list(self.notes),
        }

    def as_text(self, title: str) -> str:
        """The result for people; `title` is what was compared."""
        drift, advice = self._of(Severity.DRIFT), self._of(Severity.ADVICE)
        lines = [f"{'✓' if self.passed else '✗'} {title}"]
        lines += [finding.as_text() for finding in (*drift, *advice)]
        lines += [f"  • [note] {note}" for note in self.notes]
        lines += [f"  • [note] --allow {entry} allows nothing: it can go." for entry in self.allowed.unused]
        counted = f"{len(drift)} drift, {len(advice)} advice, {self.allowed.count} allowed."
        return "\n".join([*lines, "", counted])

    def _of(self, severity: Severity) -> list[Finding]:
        return [finding for finding in self.allowed.left if finding.severity is severity]
