"""What must be true of every run: contracts C2 to C6, each with its checker.

C2  every local transaction reaches the backend once, in the order of its device, and what was refused has no effect
C3  a reader never sees a part of a source transaction or of a checkpoint, per priority
C4  what a device sees never goes back, and holds its own writes from their commit on
C5  at rest, a device has exactly what its user may see, and nothing else is left in its file
C6  when faults end every device is in sync soon; while something waits, the status says why
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.simulation.tables import LEVELS, ROOMS, History, Rows, Snapshot

__all__ = ["Contract", "LocalTransaction", "LocalWrite", "StatusWatch", "Violation", "check_uploads", "check_view"]

HONEST_WITHIN_S = 30.0  # virtual seconds that a status may claim that all is well while something waits


class Contract:
    """Names of what can be violated."""

    UPLOADS = "C2"
    ATOMIC = "C3/C4"
    EXACT = "C5"
    LIVE = "C6"


class Violation(AssertionError):
    """A contract was broken. `contract` is its name."""

    def __init__(self, contract: str, message: str) -> None:
        super().__init__(f"{contract}: {message}")
        self.contract = contract


@dataclass(frozen=True, slots=True)
class LocalWrite:
    """One row that an app wrote. `values` None: deleted; a dictionary by column position for an update."""

    kind: str  # insert, update, delete
    table: str
    row_id: str
    values: Mapping[int, object] = field(default_factory=dict[int, object])
    room: str | None = None

    def apply(self, rows: Rows) -> None:
        """What it does to a table."""
        if self.kind == "insert":
            rows[self.row_id] = tuple(self.values[index] for index in range(len(self.values)))
        elif self.kind == "update" and self.row_id in rows:
            rows[self.row_id] = tuple(self.values.get(index, value) for index, value in enumerate(rows[self.row_id]))
        elif self.kind == "delete":
            rows.pop(self.row_id, None)


@dataclass(slots=True)
class LocalTransaction:
    """One transaction of an app. `position`: where the source has it, None while it has not. `refused`: it has no effect there."""

    tag: str
    writes: tuple[LocalWrite, ...]
    position: int | None = None
    refused: bool = False


def overlays(transactions: Sequence[LocalTransaction], position: int) -> Iterable[list[LocalTransaction]]:
    """The device's own transactions that a state at `position` does not hold, and so has to be shown on top of it.

    A refused transaction has no position of its own: at the one at which it was refused, it is there or already gone.
    """
    going = [tx for tx in transactions if tx.refused and tx.position == position]
    for count in range(len(going) + 1):
        gone = going[:count]
        yield [
            tx
            for tx in transactions
            if tx.position is None
            or tx.position > position
            or (tx.refused and tx.position == position and tx not in gone)
        ]


def check_view(
    history: History,
    *,
    user: str,
    local: Snapshot,
    own: Sequence[LocalTransaction],
    seen: Sequence[int],
    newest: int,
    rooms: frozenset[str] | None = None,
) -> list[int]:
    """C3 and C4: find the source positions, one per level, whose states explain what a reader saw; returns them.

    `seen` are the positions of the reader's last look: none may be older now. `rooms`: messages of exactly these rooms (None: of each
    room all or none). Raises Violation.
    """
    found = [0] * len(LEVELS)
    least = 0
    for level in reversed(range(len(LEVELS))):  # the least urgent is the oldest
        tables = LEVELS[level]
        is_last = level == len(LEVELS) - 1
        least = max(least, seen[level])
        for position in range(least, newest + 1):
            state = history.seen_by(user, position)
            if is_last:
                explained = any(
                    _explains(state, local, tables, overlay) and _explains_rooms(state, local, overlay, rooms)
                    for overlay in overlays(own, position)
                )
            else:
                old = [history.seen_by(user, at) for at in range(found[-1], position)]
                explained = all(
                    _explains_early(state[table], local[table], [rows[table] for rows in old]) for table in tables
                )
            if explained:
                found[level] = least = position
                break
        else:
            raise Violation(
                Contract.ATOMIC,
                f"{user} sees in {', '.join(tables)} what the source never was from position {least} to {newest}: "
                + _difference(history.seen_by(user, least), history.seen_by(user, newest), local, tables),
            )
    return found


def _explains(state: Snapshot, local: Snapshot, tables: Sequence[str], overlay: Sequence[LocalTransaction]) -> bool:
    return all(_with(state[table], table, overlay) == local[table] for table in tables)


def _explains_early(state: Rows, local: Rows, old: Sequence[Rows]) -> bool:
    """Tables that partial checkpoints show early: rows that were deleted stay until the full one (client SQLite reference, 9)."""
    if any(local.get(key) != row for key, row in state.items()):
        return False
    return all(key in state or any(rows.get(key) == row for rows in old) for key, row in local.items())


def _with(
    rows: Rows, table: str, overlay: Sequence[LocalTransaction], concerns: Callable[[LocalWrite], bool] = lambda _: True
) -> Rows:
    writes = [write for tx in overlay for write in tx.writes if write.table == table and concerns(write)]
    if not writes:
        return rows
    result = dict(rows)
    for write in writes:
        write.apply(result)
    return result


def _explains_rooms(
    state: Snapshot, local: Snapshot, overlay: Sequence[LocalTransaction], rooms: frozenset[str] | None
) -> bool:
    for room in ROOMS:
        here = {key: row for key, row in local["messages"].items() if row[0] == room}
        full = {key: row for key, row in state["messages"].items() if row[0] == room}
        options: list[Rows] = [full, {}] if rooms is None else [full if room in rooms else {}]
        if not any(
            _with(option, "messages", overlay, lambda w, room=room: w.room == room) == here for option in options
        ):
            return False
    return True


def _difference(old: Snapshot, new: Snapshot, local: Snapshot, tables: Sequence[str]) -> str:
    lines: list[str] = []
    for table in (*tables, "messages"):
        for key in sorted(old[table].keys() | new[table].keys() | local[table].keys()):
            states = [rows[table].get(key) for rows in (old, new, local)]
            if states[0] != states[2] or states[1] != states[2]:
                was, now, seen = (f"{state}".replace("x" * 50, "") for state in states)
                lines.append(f"{table}/{key}: was {was}, is {now}, seen {seen}")
    return "; ".join(lines[:6]) or "each table alone could be"


def check_uploads(
    committed: Mapping[str, Sequence[LocalTransaction]],
    executed: Sequence[tuple[str, bool]],
    *,
    given_up: frozenset[str] = frozenset(),
) -> None:
    """C2: `committed` by device, in the order of their commits; `executed` are (tag, refused) as the backend committed them.

    `given_up` went with files that were replaced before the backend had them. Raises Violation.
    """
    counted: dict[str, int] = {}
    for tag, _ in executed:
        counted[tag] = counted.get(tag, 0) + 1
    twice = sorted(tag for tag, count in counted.items() if count > 1)
    if twice:
        raise Violation(Contract.UPLOADS, f"the backend executed {', '.join(twice)} more than once")
    for device, transactions in committed.items():
        order = [tx.tag for tx in transactions]
        missing = [tag for tag in order if tag not in counted]
        if missing:
            raise Violation(Contract.UPLOADS, f"the backend never got {', '.join(missing)} of {device}")
        arrived = [tag for tag, _ in executed if tag in set(order)]
        if arrived != order:
            raise Violation(Contract.UPLOADS, f"the transactions of {device} came in another order: {arrived}")
    known = given_up.union(*({tx.tag for tx in transactions} for transactions in committed.values()))
    unknown = sorted(counted.keys() - known)
    if unknown:
        raise Violation(Contract.UPLOADS, f"the backend executed {', '.join(unknown)}, which no device has committed")


class StatusWatch:
    """C6 while faults happen: something waits, and the status claims that nothing does."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._since: float | None = None

    def look(self, now_s: float, *, claims_well: bool, waits: bool) -> None:
        """Note the status of this moment. Raises Violation when it has not been honest for too long."""
        if not (claims_well and waits):
            self._since = None
            return
        if self._since is None:
            self._since = now_s
        if now_s - self._since > HONEST_WITHIN_S:
            raise Violation(
                Contract.LIVE,
                f"{self._name} has claimed that all is well for {now_s - self._since:.0f} s while work waits",
            )
