"""What the explanations of rows and of connections have in common: values with their SQL, conditions, and how results are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from syncline.sync_config.compiler.model import QueryOrigin
from syncline.sync_config.explain.shown_value import ShownValue, short

__all__ = ["Condition", "Explained", "NamedValue", "indented", "origin_line"]

SQL_CHARS = 140  # characters of a query in a line of text


class Explained(ABC):
    """A result: a frozen dataclass of plain fields, with a text for people and JSON for programs."""

    __slots__ = ()

    @abstractmethod
    def lines(self) -> Iterator[str]:
        """The explanation as lines of text."""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_json(self) -> bytes:
        """The explanation as JSON, with the names of the fields."""
        return msgspec.json.encode(self)


@dataclass(frozen=True, slots=True)
class NamedValue:
    """What an expression gave. `error` says why it gave nothing; it never has values in it."""

    sql: str
    value: ShownValue | None
    error: str = ""

    def __str__(self) -> str:
        return f"{self.sql} = {self.value}" if self.value is not None else f"{self.sql}: {self.error}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter and what it gave. Where `value` is a text, its leading number counts: `'0 apples'` does not pass."""

    sql: str
    passed: bool
    value: ShownValue | None
    error: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"✗ {self.sql}: {self.error}"
        plain = "1" if self.passed else "0"
        return f"{'✓' if self.passed else '✗'} {self.sql}{'' if self.value.text == plain else f' (gives {self.value})'}"


def origin_line(origins: Sequence[QueryOrigin], fallback: str) -> str:
    """Where something comes from: `todos, query 2 (line 7): SELECT …`; `fallback` where no query is known."""
    if not origins:
        return fallback
    first, more = origins[0], len(origins) - 1
    others = f" (and {more} more quer{'y' if more == 1 else 'ies'})" if more else ""
    return f"{first.definition}, {first.label} (line {first.line}){others}: {short(first.sql, SQL_CHARS)}"


def indented(lines: Iterator[str] | Sequence[str], by: int = 2) -> Iterator[str]:
    """Lines moved to the right."""
    return (f"{' ' * by}{line}" for line in lines)
