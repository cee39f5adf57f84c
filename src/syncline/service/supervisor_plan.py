"""What the supervisor decides: which process to start when, whom to stop, when to kill. Pure: events and the time in, instructions out.

- Start: the replicator first, for it brings the storage up to date; workers when it has started.
- End: a process that ends unasked is started again after a delay that doubles; many ends in a row are a crash loop, which is told.
- Hang: a process that ran and shows no sign of life any more is killed, which is an end as any other.
- First start: a process that gives up before it ever ran ends the service with its exit code: the configuration cannot be used.
- Roll: workers are replaced one after the other; the new one serves before the old one is stopped.
- Stop: everybody is told; whoever is still there at the deadline is killed.
"""

from __future__ import annotations

import enum
import logging
import math
from collections import deque
from dataclasses import dataclass

__all__ = [
    "CRASH_LOOP_ENDS",
    "HANG_TIMEOUT_S",
    "RESTART_DELAY_MAX_S",
    "RESTART_DELAY_MIN_S",
    "STABLE_AFTER_S",
    "STOP_TIMEOUT_S",
    "Finish",
    "Instruction",
    "Kill",
    "Part",
    "Say",
    "StartChild",
    "SupervisorPlan",
    "TellStop",
]

RESTART_DELAY_MIN_S = 0.1  # seconds until a process is started again that ran well before it ended
RESTART_DELAY_MAX_S = 10.0  # seconds: each end in a row doubles the delay up to here
STABLE_AFTER_S = 30.0  # seconds after which a process has run well: an end then is no part of a loop
CRASH_LOOP_ENDS = 5  # ends in a row that are told as a crash loop
HANG_TIMEOUT_S = 60.0
"""Seconds without a sign of life, which come each second, after which a process that ran hangs. Longer than any step of storage takes on
a disk that answers; the liveness probe is red long before, and whoever watches it may act sooner."""
LATE_STEP_S = (
    5.0  # seconds between two steps, of which there is one each second, from which on it was us who stood still
)
STOP_TIMEOUT_S = 12.0  # seconds that a process gets to end streams and close storage before it is killed


class Part(enum.Enum):
    """What a child does."""

    REPLICATOR = "replicator"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start a process; `child` is the number by which it is spoken of, `name` that of its place in logs and metrics."""

    child: int
    name: str
    part: Part


@dataclass(frozen=True, slots=True)
class TellStop:
    """Tell the child to end."""

    child: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End the child now."""

    child: int


@dataclass(frozen=True, slots=True)
class Say:
    """Write a line to the log. `level` is a number of `logging`."""

    level: int
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """No child is left: leave with this exit code."""

    code: int


Instruction = StartChild | TellStop | Kill | Say | Finish


@dataclass(slots=True)
class _Place:
    """Where one child at a time belongs. `start_at_s` is None while there is one."""

    name: str
    part: Part
    start_at_s: float | None = 0.0
    ends: int = 0  # in a row
    has_run: bool = False


@dataclass(slots=True)
class _Child:
    place: _Place
    since_s: float
    running: bool = False
    alive_s: float = 0.0  # its newest sign of life
    stopping: bool = False
    kill_at_s: float | None = None
    replaces: int | None = None  # the child whose place it takes once it runs


class SupervisorPlan:
    """Decides for one replicator, if `replicates`, and `workers` workers. Hand it every event, then ask `step`, each second at least."""

    def __init__(self, *, replicates: bool, workers: int, hang_timeout_s: float = HANG_TIMEOUT_S) -> None:
        self._hang_timeout_s = hang_timeout_s
        self._stepped_s: float | None = None
        self._places = [_Place("replicator", Part.REPLICATOR)] if replicates else []
        self._places += [_Place(f"worker-{number}", Part.WORKER) for number in range(1, workers + 1)]
        self._children: dict[int, _Child] = {}
        self._storage_ready = not replicates
        self._to_roll: deque[int] = deque()
        self._said: list[Say] = []
        self._next_child = 1
        self._stopping = False
        self._code = 0

    @property
    def stopping(self) -> bool:
        """Whether the service is about to end."""
        return self._stopping

    def step(self, now_s: float) -> list[Instruction]:
        """What is to be done now."""
        instructions: list[Instruction] = [*self._said]
        self._said.clear()
        self._make_up_for_standstill(now_s)
        if self._stopping:
            instructions += [
                self._tell_stop(number, now_s) for number, child in self._children.items() if not child.stopping
            ]
        else:
            instructions += self._starts(now_s)
            instructions += self._rolled(now_s)
        for number, child in self._children.items():
            if child.running and not child.stopping and now_s - child.alive_s >= self._hang_timeout_s:
                child.alive_s = math.inf  # it is told once
                text = f"{child.place.name} has shown no sign of life for {self._hang_timeout_s:g} s and is killed"
                instructions += [Say(logging.ERROR, "service.child_hangs", text), Kill(number)]
            if child.kill_at_s is not None and child.kill_at_s <= now_s:
                child.kill_at_s = None
                text = f"{child.place.name} has not ended within {STOP_TIMEOUT_S:.0f} s and is killed"
                instructions += [Say(logging.WARNING, "service.child_killed", text), Kill(number)]
        if self._stopping and not self._children:
            instructions.append(Finish(self._code))
        return instructions

    def next_due_s(self) -> float | None:
        """When `step` has something to do even if nothing happens; None for never."""
        times = [child.kill_at_s for child in self._children.values()]
        if not self._stopping:
            times += [place.start_at_s for place in self._places if self._may_start(place)]
        return min((time_s for time_s in times if time_s is not None), default=None)

    def started(self, number: int, now_s: float) -> None:
        """The child serves, or its storage is open."""
        child = self._children.get(number)
        if child is None or child.running:
            return
        child.running = True
        child.since_s = child.alive_s = now_s
        child.place.has_run = True
        if child.place.part is Part.REPLICATOR:
            self._storage_ready = True

    def alive(self, number: int, now_s: float) -> None:
        """A sign of life: the child's event loop turns, and in the replicator that of replication."""
        child = self._children.get(number)
        if child is not None:
            child.alive_s = max(child.alive_s, now_s)

    def ended(self, number: int, code: int, now_s: float) -> None:
        """The child is gone; a negative code is the signal that ended it."""
        child = self._children.pop(number, None)
        if child is None or self._stopping or child.stopping:
            return
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        old = self._children.get(child.replaces) if child.replaces is not None else None
        if old is not None and not old.stopping:
            self._say(logging.ERROR, "service.roll_failed", f"The new {child.place.name} {how}: the old one stays")
            self._to_roll.clear()
            return
        if not child.place.has_run and code > 0:  # it has said why
            self._code = code
            self._stopping = True
            return
        self._start_again(child, how, now_s)

    def stop(self) -> None:
        """The service is to end. A second time: at once."""
        if self._stopping:
            for child in self._children.values():
                child.kill_at_s = 0.0
        self._stopping = True

    def roll(self) -> None:
        """Replace all workers, one after the other."""
        self._to_roll = deque(
            number
            for number, child in self._children.items()
            if child.place.part is Part.WORKER and child.running and not child.stopping
        )
        self._say(logging.INFO, "service.roll", f"Replacing {len(self._to_roll)} workers, one after the other")

    def _make_up_for_standstill(self, now_s: float) -> None:
        """Where this process itself stood still, signs of life wait to be heard: nobody hangs for that."""
        late_s = now_s - self._stepped_s if self._stepped_s is not None else 0.0
        self._stepped_s = now_s
        if late_s >= LATE_STEP_S:
            for child in self._children.values():
                child.alive_s += late_s

    def _may_start(self, place: _Place) -> bool:
        return place.start_at_s is not None and (place.part is Part.REPLICATOR or self._storage_ready)

    def _starts(self, now_s: float) -> list[Instruction]:
        instructions: list[Instruction] = []
        for place in self._places:
            if self._may_start(place) and place.start_at_s is not None and place.start_at_s <= now_s:
                place.start_at_s = None
                instructions.append(self._start(place, now_s))
        return instructions

    def _start(self, place: _Place, now_s: float, *, replaces: int | None = None) -> StartChild:
        number = self._next_child
        self._next_child += 1
        self._children[number] = _Child(place, now_s, replaces=replaces)
        return StartChild(number, place.name, place.part)

    def _rolled(self, now_s: float) -> list[Instruction]:
        """Stop those whose successor runs; start the next successor when none is under way."""
        instructions: list[Instruction] = []
        under_way = False
        for child in list(self._children.values()):
            if child.replaces is None:
                continue
            old = self._children.get(child.replaces)
            if old is None:  # it has ended, by itself or because it was told to
                child.replaces = None
            elif child.running and not old.stopping:
                instructions.append(self._tell_stop(child.replaces, now_s))
            under_way = under_way or child.replaces is not None
        while self._to_roll and not under_way:
            number = self._to_roll.popleft()
            old = self._children.get(number)
            if old is not None and not old.stopping:
                instructions.append(self._start(old.place, now_s, replaces=number))
                under_way = True
        return instructions

    def _tell_stop(self, number: int, now_s: float) -> TellStop:
        child = self._children[number]
        child.stopping = True
        if child.kill_at_s is None:
            child.kill_at_s = now_s + STOP_TIMEOUT_S
        return TellStop(number)

    def _start_again(self, child: _Child, how: str, now_s: float) -> None:
        place = child.place
        if any(other.place is place and not other.stopping for other in self._children.values()):
            return  # its successor is there already
        ran_well = child.running and now_s - child.since_s >= STABLE_AFTER_S
        place.ends = 1 if ran_well else place.ends + 1
        delay_s = min(RESTART_DELAY_MIN_S * 2 ** min(place.ends - 1, 30), RESTART_DELAY_MAX_S)
        place.start_at_s = now_s + delay_s
        self._say(logging.WARNING, "service.child_ended", f"{place.name} {how}; it is started again in {delay_s:.1f} s")
        if place.ends == CRASH_LOOP_ENDS:
            text = f"{place.name} has ended {place.ends} times in a row: it is in a crash loop, see what it says before each end"
            self._say(logging.ERROR, "service.crash_loop", text)

    def _say(self, level: int, event: str, text: str) -> None:
        self._said.append(Say(level, event, text))
