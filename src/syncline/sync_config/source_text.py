"""The config's text, and problems that know their place in it."""

from __future__ import annotations

from bisect import bisect_right

from syncline.sync_config.problems import Problem, ProblemKind, Severity

__all__ = ["ProblemList", "SourceText", "Span"]

Span = tuple[int, int]
"""Start and end as character offsets; the end is exclusive."""


class SourceText:
    """A document that can say in which line and column an offset lies. Lines and columns count from 1, in characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._line_starts = [0, *(i + 1 for i, character in enumerate(text) if character == "\n")]

    def line_of(self, offset: int) -> int:
        """The number of the line that an offset lies in."""
        return bisect_right(self._line_starts, min(max(offset, 0), len(self.text)))

    def problem(self, severity: Severity, kind: ProblemKind, message: str, span: Span, *, hint: str = "") -> Problem:
        """A problem at `span`, with the line it stands in."""
        start = min(max(span[0], 0), len(self.text))
        line = bisect_right(self._line_starts, start)
        line_start = self._line_starts[line - 1]
        source_line = self.text[line_start:].partition("\n")[0].rstrip("\r")
        return Problem(
            severity,
            kind,
            message,
            line=line,
            column=start - line_start + 1,
            source_line=source_line,
            hint=hint,
            start_offset=start,
            end_offset=max(start, min(span[1], len(self.text))),
        )


class ProblemList:
    """Collects the problems of one document, so that all are reported at once."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self._problems: list[Problem] = []

    def fatal(self, kind: ProblemKind, message: str, span: Span, *, hint: str = "") -> None:
        """The config cannot be used."""
        self._problems.append(self.source.problem(Severity.FATAL, kind, message, span, hint=hint))

    def warn(self, kind: ProblemKind, message: str, span: Span, *, hint: str = "") -> None:
        """The config can be used, but probably means something else."""
        self._problems.append(self.source.problem(Severity.WARNING, kind, message, span, hint=hint))

    @property
    def any_fatal(self) -> bool:
        """Whether the config cannot be used."""
        return any(problem.severity is Severity.FATAL for problem in self._problems)

    def in_order(self) -> list[Problem]:
        """All problems, each once, in the order of the document."""
        return sorted(dict.fromkeys(self._problems), key=lambda problem: problem.start_offset)
