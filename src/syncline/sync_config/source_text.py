"""The config's text, and problems that know their place in it."""

from __future__ import annotations

from bisect import bisect_right

from syncline.sync_config.problems import Problem, ProblemKind, Severity

__all__ = ["LINE_CHARS_MAX", "PROBLEMS_MAX", "ProblemList", "SourceText", "Span"]

PROBLEMS_MAX = 100  # problems of each severity that are reported; nobody reads more, and a broken config can have one for each word
LINE_CHARS_MAX = (
    500  # characters of a line that a problem repeats; of a longer one it only has the number and the column
)

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
        line_end = self.text.find("\n", line_start)
        line_end = len(self.text) if line_end < 0 else line_end
        shown = line_end - line_start <= LINE_CHARS_MAX
        return Problem(
            severity,
            kind,
            message,
            line=line,
            column=start - line_start + 1,
            source_line=self.text[line_start:line_end].rstrip("\r") if shown else "",
            hint=hint,
            start_offset=start,
            end_offset=max(start, min(span[1], len(self.text))),
        )


class ProblemList:
    """Collects the problems of one document, so that all are reported at once: each once, up to `PROBLEMS_MAX` of a severity."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self._problems: dict[Severity, dict[Problem, None]] = {severity: {} for severity in Severity}

    def fatal(self, kind: ProblemKind, message: str, span: Span, *, hint: str = "") -> None:
        """The config cannot be used."""
        self._add(Severity.FATAL, kind, message, span, hint)

    def warn(self, kind: ProblemKind, message: str, span: Span, *, hint: str = "") -> None:
        """The config can be used, but probably means something else."""
        self._add(Severity.WARNING, kind, message, span, hint)

    def _add(self, severity: Severity, kind: ProblemKind, message: str, span: Span, hint: str) -> None:
        problems = self._problems[severity]
        if len(problems) < PROBLEMS_MAX:
            problems[self.source.problem(severity, kind, message, span, hint=hint)] = None

    @property
    def any_fatal(self) -> bool:
        """Whether the config cannot be used."""
        return bool(self._problems[Severity.FATAL])

    def in_order(self) -> list[Problem]:
        """The problems in the order of the document."""
        found = [problem for problems in self._problems.values() for problem in problems]
        return sorted(found, key=lambda problem: problem.start_offset)
