"""What a check of `doctor` says, and all of it together, as a value for JSON and YAML and as lines for people. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Diagnosis", "Outcome", "Verdict", "fault", "healthy", "unjudged"]

MARKS = {"ok": "✓", "failed": "✗", "skipped": "-"}


class Outcome(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be judged: `reason` says why


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's result. `problem` and `fix` belong to a failed one, `reason` to a skipped one; `notes` are worth knowing."""

    outcome: Outcome
    problem: str = ""
    fix: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()


def healthy(*notes: str) -> Verdict:
    """Nothing is wrong."""
    return Verdict(Outcome.OK, notes=notes)


def fault(problem: str, fix: str, *notes: str) -> Verdict:
    """Something that keeps rows from syncing; `fix` is what to do, ready to run or paste where that is possible."""
    return Verdict(Outcome.FAILED, problem=problem, fix=fix, notes=notes)


def unjudged(reason: str) -> Verdict:
    """Nothing can be said, because of `reason`."""
    return Verdict(Outcome.SKIPPED, reason=reason)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All verdicts, in the order of the checks: (name, title, verdict)."""

    verdicts: Sequence[tuple[str, str, Verdict]]

    @property
    def first_failed(self) -> str | None:
        """The name of the first cause that was found: those below may follow from it."""
        return next((name for name, _, verdict in self.verdicts if verdict.outcome is Outcome.FAILED), None)

    def as_value(self) -> dict[str, Any]:
        """The result as it stands in JSON; what is empty is left out."""
        checks = [
            {"name": name, "title": title, "outcome": verdict.outcome.value}
            | {key: getattr(verdict, key) for key in ("problem", "fix", "reason") if getattr(verdict, key)}
            | ({"notes": list(verdict.notes)} if verdict.notes else {})
            for name, title, verdict in self.verdicts
        ]
        return {"passed": self.first_failed is None, "first_failed": self.first_failed, "checks": checks}

    def as_text(self) -> str:
        """The result for people: every check on a line, and the first cause again at the end."""
        lines: list[str] = []
        for name, title, verdict in self.verdicts:
            lines.append(f"{MARKS[verdict.outcome]} {title} [{name}]")
            lines += [f"    {line}" for line in verdict.problem.splitlines()]
            lines += [f"    fix: {line}" for line in verdict.fix.splitlines()]
            if verdict.reason:
                lines.append(f"    skipped: because {verdict.reason}")
            lines += [f"    note: {note}" for note in verdict.notes]
        return "\n".join([*lines, "", self._summary()])

    def _summary(self) -> str:
        for name, _, verdict in self.verdicts:
            if name == self.first_failed:
                return "\n".join([f"First cause: {name}", verdict.problem, "What to do:", verdict.fix])
        skipped = sum(verdict.outcome is Outcome.SKIPPED for _, _, verdict in self.verdicts)
        return "Nothing is wrong." if not skipped else f"Nothing is wrong with what was looked at; {skipped} skipped."
