"""Recorded runs of the official command line: reading them, and what is left of a text once that which may differ is taken out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["INPUTS", "RECORDINGS", "Place", "Recording", "places", "recording"]

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "golden" / "cli"
INPUTS = RECORDINGS / "inputs"
_PLACED = re.compile(r"\[Line (\d+), Column (\d+)\]: [^\n]*\n([^\n]*)\n( *\^)")


@dataclass(frozen=True)
class Recording:
    """One run. Texts are without the lines that only separate; `arguments` are what followed the name of the program."""

    name: str
    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    tree: tuple[str, ...]

    @property
    def value(self) -> Any:
        """What stands on standard output as JSON. Sizes were recorded as `<N>`."""
        return json.loads(self.out.replace(": <N>", ": 0"))


def recording(name: str) -> Recording:
    """The recorded run of this name."""
    folder = RECORDINGS / name

    def text(file: str) -> str:
        path = folder / file
        return path.read_text("utf-8") if path.exists() else ""

    return Recording(
        name,
        tuple(text("command.txt").split()[1:]),
        int(text("exit.txt")),
        text("stdout.txt").strip("\n"),
        text("stderr.txt").strip("\n"),
        tuple(text("tree.txt").splitlines()),
    )


class Place(NamedTuple):
    """Where a finding stands, and what was printed there."""

    line: int
    column: int
    source_line: str
    caret: str


def places(texts: list[str]) -> list[Place]:
    """The places of findings that have one; the wording is each program's own."""
    found = [match for text in texts for match in _PLACED.finditer(text)]
    return [Place(int(match[1]), int(match[2]), match[3], match[4]) for match in found]
