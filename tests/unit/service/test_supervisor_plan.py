"""The supervisor's decisions, with the time as an argument: no process is started here."""

from __future__ import annotations

import random
import signal
from itertools import pairwise

import pytest

from syncline.service.supervisor_plan import (
    CRASH_LOOP_ENDS,
    HANG_TIMEOUT_S,
    LATE_STEP_S,
    RESTART_DELAY_MAX_S,
    RESTART_DELAY_MIN_S,
    STABLE_AFTER_S,
    STOP_TIMEOUT_S,
    Finish,
    Instruction,
    Kill,
    Part,
    Say,
    StartChild,
    SupervisorPlan,
    TellStop,
)


def names(instructions: list[Instruction]) -> list[str]:
    """Whom the instructions start."""
    return [one.name for one in instructions if isinstance(one, StartChild)]


def events(instructions: list[Instruction]) -> list[str]:
    """Events of the lines for the log."""
    return [one.event for one in instructions if isinstance(one, Say)]


def running(workers: int = 2, *, now_s: float = 0.0) -> SupervisorPlan:
    """A service whose replicator is child 1 and whose workers are 2, 3, …; all of them run."""
    plan = SupervisorPlan(replicates=True, workers=workers)
    for _ in range(2):
        for one in plan.step(now_s):
            if isinstance(one, StartChild):
                plan.started(one.child, now_s)
    return plan


def test_workers_wait_for_the_replicator_which_brings_the_storage_up_to_date() -> None:
    plan = SupervisorPlan(replicates=True, workers=2)
    assert plan.step(0.0) == [StartChild(1, "replicator", Part.REPLICATOR)]
    assert plan.step(100.0) == []
    plan.started(1, 100.0)
    assert names(plan.step(100.0)) == ["worker-1", "worker-2"]


def test_without_a_replicator_workers_start_at_once() -> None:
    assert names(SupervisorPlan(replicates=False, workers=3).step(0.0)) == ["worker-1", "worker-2", "worker-3"]


@pytest.mark.parametrize("code", [1, 150])
def test_who_gives_up_before_it_ever_ran_ends_the_service_with_its_code(code: int) -> None:
    plan = SupervisorPlan(replicates=True, workers=1)
    plan.step(0.0)
    plan.ended(1, code, 1.0)
    assert plan.step(1.0) == [Finish(code)]


def test_a_worker_that_gives_up_at_first_has_the_replicator_stopped_too() -> None:
    plan = SupervisorPlan(replicates=True, workers=1)
    plan.step(0.0)
    plan.started(1, 0.0)
    plan.step(0.0)
    plan.ended(2, 150, 0.0)
    assert plan.step(0.0) == [TellStop(1)]
    plan.ended(1, 0, 1.0)
    assert plan.step(1.0) == [Finish(150)]


def test_a_killed_child_is_started_again_after_a_delay_that_doubles_up_to_its_limit() -> None:
    plan = running(1)
    now_s, child, delays = 1.0, 2, list[float]()
    for _ in range(12):
        plan.ended(child, -signal.SIGKILL, now_s)
        plan.step(now_s)
        due_s = plan.next_due_s()
        assert due_s is not None
        assert plan.step(due_s - 0.001) == []
        starts = [one for one in plan.step(due_s) if isinstance(one, StartChild)]
        assert [one.name for one in starts] == ["worker-1"]
        delays.append(round(due_s - now_s, 6))
        child, now_s = starts[0].child, due_s
        plan.started(child, now_s)
    assert delays[0] == RESTART_DELAY_MIN_S
    assert all(later == min(earlier * 2, RESTART_DELAY_MAX_S) for earlier, later in pairwise(delays))
    assert delays[-1] == RESTART_DELAY_MAX_S


def test_a_crash_loop_is_told_once_and_a_long_run_ends_it() -> None:
    plan = running(1)
    now_s, child, told = 0.0, 2, list[str]()
    for ended in range(CRASH_LOOP_ENDS + 3):
        plan.ended(child, 1, now_s)
        told += events(plan.step(now_s))
        assert told.count("service.crash_loop") == (ended + 1 >= CRASH_LOOP_ENDS)
        now_s += RESTART_DELAY_MAX_S
        child = next(one.child for one in plan.step(now_s) if isinstance(one, StartChild))
        plan.started(child, now_s)
    now_s += STABLE_AFTER_S
    plan.ended(child, 1, now_s)
    plan.step(now_s)
    assert plan.next_due_s() == now_s + RESTART_DELAY_MIN_S


def test_a_restarted_replicator_does_not_stop_workers() -> None:
    plan = running(2)
    plan.ended(1, -signal.SIGKILL, 5.0)
    assert names(plan.step(5.0 + RESTART_DELAY_MIN_S)) == ["replicator"]
    plan.ended(2, -signal.SIGKILL, 6.0)
    assert names(plan.step(6.0 + RESTART_DELAY_MIN_S)) == ["worker-1"], "the storage is ready since the first start"


def test_stopping_tells_everybody_and_kills_who_stays() -> None:
    plan = running(1)
    plan.stop()
    assert plan.step(10.0) == [TellStop(1), TellStop(2)]
    plan.ended(2, 0, 11.0)
    assert plan.next_due_s() == 10.0 + STOP_TIMEOUT_S
    assert plan.step(10.0 + STOP_TIMEOUT_S - 0.1) == []
    assert [one for one in plan.step(10.0 + STOP_TIMEOUT_S) if not isinstance(one, Say)] == [Kill(1)]
    plan.ended(1, -signal.SIGKILL, 23.0)
    assert plan.step(23.0) == [Finish(0)]


def test_a_second_signal_kills_at_once() -> None:
    plan = running(1)
    plan.stop()
    plan.step(10.0)
    plan.stop()
    assert [one for one in plan.step(10.0) if isinstance(one, Kill)] == [Kill(1), Kill(2)]


def test_workers_are_replaced_one_after_the_other_and_the_new_one_serves_first() -> None:
    plan = running(2)
    plan.roll()
    step = plan.step(1.0)
    assert names(step) == ["worker-1"]
    assert not [one for one in step if isinstance(one, TellStop)], "the old one goes on until the new one serves"
    plan.started(4, 2.0)
    assert plan.step(2.0) == [TellStop(2)]
    plan.ended(2, 0, 3.0)
    assert names(plan.step(3.0) + plan.step(3.0)) == ["worker-2"]
    plan.started(5, 4.0)
    assert plan.step(4.0) == [TellStop(3)]
    plan.ended(3, 0, 5.0)
    assert plan.step(5.0) == []
    assert plan.next_due_s() is None


def test_a_new_worker_that_cannot_start_leaves_the_old_ones() -> None:
    plan = running(2)
    plan.roll()
    plan.step(1.0)
    plan.ended(4, 150, 2.0)
    step = plan.step(2.0)
    assert events(step) == ["service.roll_failed"]
    assert not [one for one in step if not isinstance(one, Say)]
    assert not plan.stopping


def test_an_old_worker_that_is_stuck_is_killed_at_the_deadline() -> None:
    plan = running(1)
    plan.roll()
    plan.step(1.0)
    plan.started(3, 2.0)
    plan.step(2.0)
    assert Kill(2) in plan.step(2.0 + STOP_TIMEOUT_S)


def seconds_of(plan: SupervisorPlan, start_s: float, end_s: float, *, alive: tuple[int, ...]) -> list[Instruction]:
    """What is done in a time in which these children show signs of life, each second."""
    done: list[Instruction] = []
    now_s = start_s
    while now_s < end_s:
        for number in alive:
            plan.alive(number, now_s)
        done += plan.step(now_s)
        now_s += 1.0
    return done


def test_a_child_without_signs_of_life_is_killed_once_and_started_again() -> None:
    plan = running(1)
    assert seconds_of(plan, 0.0, HANG_TIMEOUT_S, alive=(1,)) == []
    step = seconds_of(plan, HANG_TIMEOUT_S, HANG_TIMEOUT_S + 5, alive=(1,))
    assert [one for one in step if isinstance(one, Kill)] == [Kill(2)]
    assert events(step) == ["service.child_hangs"]
    plan.ended(2, -signal.SIGKILL, HANG_TIMEOUT_S + 5)
    assert names(seconds_of(plan, HANG_TIMEOUT_S + 6, HANG_TIMEOUT_S + 8, alive=(1,))) == ["worker-1"]


def test_who_is_starting_or_is_told_to_stop_does_not_hang() -> None:
    plan = SupervisorPlan(replicates=True, workers=1)
    assert names(plan.step(0.0)) == ["replicator"]  # it migrates the storage, as long as that takes
    assert seconds_of(plan, 1.0, 2 * HANG_TIMEOUT_S, alive=()) == []
    assert STOP_TIMEOUT_S < HANG_TIMEOUT_S
    stopping = running(1)
    stopping.stop()
    stopping.step(HANG_TIMEOUT_S - 1)
    assert stopping.step(HANG_TIMEOUT_S + 1) == []


def test_a_supervisor_that_stood_still_itself_kills_nobody_for_it() -> None:
    plan = running(1)
    seconds_of(plan, 0.0, 10.0, alive=(1, 2))
    long_s = 10.0 * HANG_TIMEOUT_S
    assert plan.step(10.0 + long_s) == []
    assert seconds_of(plan, 10.0 + long_s, 10.0 + long_s + HANG_TIMEOUT_S - 2, alive=()) == []
    kills = seconds_of(plan, 10.0 + long_s + HANG_TIMEOUT_S - 2, 10.0 + long_s + HANG_TIMEOUT_S + 2, alive=())
    assert {one.child for one in kills if isinstance(one, Kill)} == {1, 2}
    assert LATE_STEP_S < HANG_TIMEOUT_S


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_every_place_has_one_child_in_the_end_and_a_stop_ends_all(seed: int) -> None:
    """Random ends, rolls and starts; then quiet; then a stop. Replay with the seed in the test's name."""
    chance = random.Random(seed)
    plan = SupervisorPlan(replicates=True, workers=3)
    alive: dict[int, str] = {}
    asked: set[int] = set()
    now_s = 0.0

    def step() -> list[Instruction]:
        done = plan.step(now_s)
        for one in done:
            if isinstance(one, StartChild):
                alive[one.child] = one.name
            elif isinstance(one, TellStop):
                asked.add(one.child)
            elif isinstance(one, Kill):
                alive.pop(one.child, None)
                plan.ended(one.child, -signal.SIGKILL, now_s)
        return done

    step()
    plan.started(1, now_s)
    step()
    for number in list(alive):
        plan.started(number, now_s)
    for _ in range(200):
        now_s += chance.random()
        match chance.randrange(4):
            case 0 if alive:
                number = chance.choice(list(alive))
                del alive[number]
                plan.ended(number, chance.choice([0, 1, 150, -9]), now_s)
            case 1:
                plan.roll()
            case 2 if alive:
                plan.started(chance.choice(list(alive)), now_s)
            case _:
                pass
        step()
    for _ in range(100):
        now_s += 1.0
        for number in [one for one in asked if one in alive]:
            del alive[number]
            plan.ended(number, 0, now_s)
        for number in alive:
            plan.started(number, now_s)
            plan.alive(number, now_s)
        step()
    assert sorted(alive.values()) == ["replicator", "worker-1", "worker-2", "worker-3"]
    plan.stop()
    step()
    for number in list(alive):
        del alive[number]
        plan.ended(number, 0, now_s)
    assert step() == [Finish(0)]
