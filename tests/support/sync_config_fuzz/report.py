"""Adds up what became of trials, so that one can see that they were worth something."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.sync_config_fuzz.memory import peak_bytes
from tests.support.sync_config_fuzz.trial import Ending

__all__ = ["MEMORY_MAX_BYTES", "Report"]

MEMORY_MAX_BYTES = 100_000_000  # that a text may take to a plan or to problems
SHOWN_CHARS = 600  # of a text that something is wrong with


@dataclass(slots=True)
class Report:
    """The sum of trials. `wrong` holds what should not have happened, each with its text."""

    seed: int
    seeds: int = 0
    seed_plans: int = 0
    memory_before_bytes: int = 0
    bombs: int = 0
    bombs_s: float = 0.0
    took_s: float = 0.0
    memory_bytes: int = 0
    wrong: list[str] = field(default_factory=list[str])
    endings: Counter[str] = field(default_factory=Counter[str])
    by_mutator: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict[str, Counter[str]](Counter))
    slowest: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])
    hungriest: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def add_seed(self, text: str, ending: Ending) -> None:
        """Count a seed, tried as it is, before all mutations."""
        self.seeds += 1
        self.seed_plans += ending.what == "plan"
        self.memory_before_bytes = peak_bytes()
        if ending.wrong:
            self._add_wrong("a seed", (), text, ending)

    def add_bomb(self, name: str, text: str, ending: Ending, grown_bytes: int) -> None:
        """Count a bomb, which was tried apart and took so much memory."""
        self.bombs += 1
        self.by_mutator["a bomb"][ending.what] += 1
        self.hungriest = sorted([*self.hungriest, (grown_bytes, name)], reverse=True)[:5]
        if grown_bytes > MEMORY_MAX_BYTES and not ending.wrong:
            ending = Ending(ending.what, ending.took_s, f"took {grown_bytes / 1e6:.0f} MB")
        self._judge(("a bomb",), name, text, ending)

    def add(self, mutators: Sequence[str], name: str, text: str, ending: Ending) -> None:
        """Count a mutation."""
        for mutator in dict.fromkeys(mutators):
            self.by_mutator[mutator][ending.what] += 1
        self.endings[ending.what] += 1
        self._judge(mutators, name, text, ending)
        self.memory_bytes = peak_bytes() - self.memory_before_bytes

    def _judge(self, mutators: Sequence[str], name: str, text: str, ending: Ending) -> None:
        self.slowest = sorted([*self.slowest, (ending.took_s, name, ending.what)], reverse=True)[:5]
        if ending.wrong:
            self._add_wrong(name, mutators, text, ending)

    def _add_wrong(self, name: str, mutators: Sequence[str], text: str, ending: Ending) -> None:
        shown = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… ({len(text):,} characters)"
        self.wrong.append(f"{name} ({', '.join(mutators)}): {ending.what}: {ending.wrong}\n    {shown!a}")

    def share(self, ending: str) -> float:
        """The share of mutations that ended so."""
        return self.endings[ending] / max(1, self.endings.total())

    def text(self) -> str:
        """The report for people."""
        lines = [
            f"SYNCLINE_FUZZ_SEED={self.seed}: {self.endings.total():,} mutations of {self.seeds} configs ({self.seed_plans} of them "
            f"plans) and {self.bombs} bombs, {self.took_s:.1f} s ({self.bombs_s:.1f} s for bombs)",
            "mutations ended in " + ", ".join(f"{what} {self.share(what):.1%}" for what in sorted(self.endings)),
            *(
                f"    {mutator}: " + ", ".join(f"{what} {number:,}" for what, number in sorted(endings.items()))
                for mutator, endings in self.by_mutator.items()
            ),
            "slowest: " + ", ".join(f"{name} {took_s:.2f} s ({what})" for took_s, name, what in self.slowest),
            f"memory: {self.memory_bytes / 1e6:.0f} MB for all mutations together; of the bombs "
            + ", ".join(f"{name} {grown / 1e6:.0f} MB" for grown, name in self.hungriest),
            f"wrong: {len(self.wrong)}",
            *self.wrong[:20],
        ]
        return "\n".join(lines)
