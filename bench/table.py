"""Results: each figure beside the wall or baseline of the same run, and the ratio between the two."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Figure", "format_table", "percentile", "write_results"]

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `wall` is what the same machine did in the same run without us; `note` says what was compared."""

    bench: str
    what: str
    value: float
    unit: str
    wall: float | None = None
    wall_is: str = ""
    budget: str = ""
    note: str = ""

    @property
    def ratio(self) -> str:
        """Our figure over the wall: a share of it for speeds, a multiple of it for times."""
        return f"{self.value / self.wall:.2f}" if self.wall else ""


def format_table(figures: Sequence[Figure]) -> str:
    """A markdown table. The machine stands above it: without it no figure means anything."""
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, load {os.getloadavg()[0]:.1f}",
        "",
        "| Bench | What | Ours | Wall or baseline | Ratio | Budget | Note |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        wall = f"{_number(figure.wall)} {figure.unit}: {figure.wall_is}" if figure.wall else ""
        ours = f"{_number(figure.value)} {figure.unit}"
        cells = [figure.bench, figure.what, ours, wall, figure.ratio, figure.budget, figure.note]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_results(figures: Sequence[Figure]) -> Path:
    """Keep the table in `bench/results/`, under the time of the run; return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.md"
    path.write_text(format_table(figures))
    return path


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of some values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
