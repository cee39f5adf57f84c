"""What a conflict strategy is: it is shown a write and the current row, and says what becomes of the write. PURE.

Facts: docs/reference/write-path.md, 4 and 7.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from syncline.backend.persisters.base import Write

__all__ = ["Apply", "ConflictStrategy", "CurrentRow", "Decision", "Keep", "LastWriteWins", "Reject"]

CurrentRow = Mapping[str, Any]
"""Columns of the row as it is in the database, locked until the transaction ends, in the values that devices know: text, integers,
reals and None; booleans are 0 and 1, JSON and arrays are JSON text, times are ISO text (with `Z` where the column has a zone)."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Perform this write: the one that came, or another made of it (`dataclasses.replace(write, data=…)`).

    `records` are written along with it, in the same database transaction.
    """

    write: Write
    records: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """The row stays as it is and the transaction goes on; the device gets the row back at its next checkpoint."""

    records: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """The whole client transaction is refused for good. `message` and `details` (JSON) go to the device: no values of rows."""

    code: str
    message: str
    details: Any = None


Decision = Apply | Keep | Reject


class ConflictStrategy(Protocol):
    """Judges writes to one table. It keeps no state: a transaction may be tried several times, and repeated by the device."""

    def needs(self, write: Write) -> Collection[str]:
        """Columns of the current row that `decide` looks at; with none, the row is neither read nor locked."""
        ...

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """What becomes of the write. `current` has the needed columns, or is None where the user has no such row (or none was needed).

        A PATCH or DELETE of a missing row has no effect whatever is decided here: deletes win.
        """
        ...


@dataclass(frozen=True, slots=True)
class LastWriteWins:
    """The default: what arrives last wins, column by column, for a PATCH has changed columns only."""

    def needs(self, write: Write) -> Collection[str]:
        """Nothing."""
        del write
        return ()

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """As it came."""
        del current
        return Apply(write)
