"""What is wrong with a sync config: every problem with its place, the line it stands in, and what to write instead."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Problem", "Severity"]


class Severity(enum.StrEnum):
    """Whether the config can still be used."""

    WARNING = "warning"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `line` and `column` count from 1; `start_offset`/`end_offset` are characters of the document."""

    severity: Severity
    message: str
    line: int = 1
    column: int = 1
    source_line: str = ""
    hint: str = ""
    start_offset: int = 0
    end_offset: int = 0

    def __str__(self) -> str:
        place = f"{self.severity}: line {self.line}, column {self.column}: {self.message}"
        parts = [place]
        if self.source_line:
            parts += [f"    {self.source_line}", "    " + " " * (self.column - 1) + "^"]
        if self.hint:
            parts.append(f"    hint: {self.hint}")
        return "\n".join(parts)
