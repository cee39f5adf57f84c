"""An event loop with a virtual clock: an hour of sync takes milliseconds, and a seed makes the same run again.

`simulate(main, seed=…)` runs a coroutine function in a `SimulatedLoop`. Time stands still while code runs, and jumps to the next timer
when nothing is left to do. Calls into threads (of any `ThreadPoolExecutor`) run in the loop's own thread, each after a small random
delay, in order per executor: what interleaves in production interleaves here, and always in the same way. The clock (`time.time` and the
like), the random source of the process and `random` are the loop's while it runs. Real sockets, processes and threads have no place in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import apsw

__all__ = ["START_S", "Deadlock", "Machine", "MachineDied", "SimulatedLoop", "simulate"]

START_S = 1_800_000_000.0  # seconds since 1970 at which every simulation begins
CALL_DELAY_MAX_S = 0.002  # virtual seconds until a call into a thread runs
CALL_GAP_S = 1e-6  # virtual seconds between two calls of one executor: timers of one instant have no order
AFTERLIFE_TURNS_MAX = 200  # turns of the loop in which the tasks of a machine that died have to end

_T = TypeVar("_T")


class Deadlock(AssertionError):
    """Nothing is left that could ever happen, and the main coroutine still waits."""


class MachineDied(BaseException):
    """Raised inside of a call into a thread of a machine that dies at this very step. No handler for Exception may take it."""


class Machine:
    """One computer of the simulation, which can die at any step. Run its code with `start`; every task that it makes belongs to it.

        When it dies, calls into threads that have not begun never run, its tasks are cancelled, and what these still try has no effect:
    code of the world outside (links) must ask `is_dead`. Every statement on its SQLite files is a step; what was not committed is gone.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.steps = 0
        """Steps of its threads so far: calls, and what `step` is called for besides."""
        self.dies_at: int | None = None
        """The step at which it dies; None for not by itself."""
        self.tasks: set[asyncio.Task[Any]] = set()
        self._files: list[apsw.Connection] = []

    @staticmethod
    def current() -> Machine | None:
        """The machine whose code runs now; None for code of the world itself."""
        return _current.get()

    @staticmethod
    def nobodys_context() -> Context:
        """A context for tasks that belong to no machine, whichever calls: those of a server."""
        context = copy_context()
        context.run(_current.set, None)
        return context

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run a coroutine on this machine."""
        token = _current.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            _current.reset(token)

    def step(self) -> None:
        """Its thread is about to do something. Raises MachineDied where it is dead, or dies here."""
        self.steps += 1
        if self.dies_at is not None and self.steps >= self.dies_at:
            self.die()
        if self.is_dead:
            raise MachineDied(self.name)

    def opened(self, connection: apsw.Connection) -> None:
        """Its code has opened a SQLite file."""

        def step(*_: object) -> bool:
            self.step()
            return True

        connection.set_exec_trace(step)
        self._files.append(connection)

    def die(self) -> None:
        """End without any warning."""
        if self.is_dead:
            return
        self.is_dead = True
        for task in list(self.tasks):
            task.cancel()

    async def buried(self) -> None:
        """Wait until all tasks of a dead machine have ended, and close its files. Raises AssertionError where a task does not end."""
        for _ in range(AFTERLIFE_TURNS_MAX):
            if not self.tasks:
                for file in self._files:
                    file.close(True)
                self._files.clear()
                return
            for task in list(self.tasks):
                task.cancel()
            await asyncio.sleep(0)
        raise AssertionError(f"tasks of {self.name} do not end when cancelled: {self.tasks}")


_current: ContextVar[Machine | None] = ContextVar("syncline_simulated_machine", default=None)


class _NoSelector:
    """In the place of a selector: nothing ever arrives from outside, waiting is turning the clock."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("The simulation has no timer left and nothing to do.")
        if timeout > 0:
            self._loop.advance(timeout)
        return []

    def close(self) -> None:
        pass


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. `seed` decides the delays of calls into threads."""

    def __init__(self, seed: int | str) -> None:
        super().__init__()
        self._now_s = 0.0
        self._selector = _NoSelector(self)
        self._draws: dict[str, random.Random] = {}
        self._seed = seed
        self._busy_until: dict[int, float] = {}  # executor -> when its last call has run
        self.machines: WeakKeyDictionary[asyncio.Task[Any], Machine] = WeakKeyDictionary()
        """Whose tasks are whose, as long as there are any."""
        self.thread: int | None = None
        """The thread whose call runs now; None in the loop's own code."""
        self.set_task_factory(_create_task)

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Turn the clock."""
        self._now_s += seconds

    def submit(self, executor: object, function: Callable[..., _T], /, *args: Any, **options: Any) -> Future[_T]:
        """`ThreadPoolExecutor.submit`: run a call in this thread, a little later, after the executor's calls before it."""
        future: Future[_T] = Future()
        machine = Machine.current()
        if machine is not None and machine.is_dead:
            future.cancel()
            return future
        delay_s = self._draw(machine).random() * CALL_DELAY_MAX_S
        due_s = max(self._now_s + delay_s, self._busy_until.get(id(executor), 0.0) + CALL_GAP_S)
        self._busy_until[id(executor)] = due_s
        context = Context()  # threads inherit nothing
        context.run(_current.set, machine)
        call = partial(function, *args, **options)
        self.call_at(due_s, self._run_call, id(executor), machine, future, call, context=context)
        return future

    def _run_call(self, thread: int, machine: Machine | None, future: Future[Any], call: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        self.thread = thread
        try:
            if machine is not None:
                machine.step()
            result = call()
            if machine is not None:
                machine.step()  # it is done, and nobody knows yet
        except BaseException as exc:
            # Whoever waits for the call of a dead machine is told what ends it.
            died = isinstance(exc, MachineDied) or (machine is not None and machine.is_dead)
            future.set_exception(CancelledError() if died else exc)
        else:
            future.set_result(result)
        finally:
            self.thread = None

    def _draw(self, machine: Machine | None) -> random.Random:
        """Each machine draws for itself, so that what one does never moves the others."""
        name = machine.name if machine is not None else ""
        if name not in self._draws:
            self._draws[name] = random.Random(f"{self._seed} calls of {name}")  # noqa: S311 - no secret: a run can be played again
        return self._draws[name]

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _create_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any],
    *,
    context: Context | None = None,
    **options: Any,
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context, **options)
    if context is not None and _current not in context:
        context.run(_current.set, _current.get())  # made by code of a machine that wants nothing else of its context
    machine = _current.get() if context is None else context.get(_current)
    if machine is not None:
        machine.tasks.add(task)
        if isinstance(loop, SimulatedLoop):
            loop.machines[task] = machine
        task.add_done_callback(machine.tasks.discard)
    return task


def simulate(main: Callable[[SimulatedLoop], Coroutine[Any, Any, _T]], *, seed: int | str) -> _T:
    """Run `main(loop)` in a simulated loop; returns its result. Raises what it raises, and Deadlock.

    Exceptions of tasks that nobody waits for go to the loop's exception handler, as always.
    """
    loop = SimulatedLoop(seed)
    loop.set_exception_handler(_handle)
    apsw.connection_hooks.append(_opened)
    with _in_the_world_of(loop, seed):
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(main(loop))
        finally:
            _end(loop)
            asyncio.set_event_loop(None)
            apsw.connection_hooks.remove(_opened)


def _opened(connection: apsw.Connection) -> None:
    machine = Machine.current()
    if machine is not None:
        machine.opened(connection)


def _end(loop: SimulatedLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio complains of, unless it is about tasks of the dead."""
    task: Any = context.get("task") or context.get("future")
    machine: Machine | None = None
    if isinstance(loop, SimulatedLoop) and isinstance(task, asyncio.Task):
        machine = loop.machines.get(cast("asyncio.Task[Any]", task))
    if machine is None or not machine.is_dead:
        loop.default_exception_handler(context)


@contextlib.contextmanager
def _in_the_world_of(loop: SimulatedLoop, seed: int | str) -> Generator[None]:
    """The clock and the randomness of the process are the loop's, and no garbage collection moves what happens when."""
    own_thread = threading.get_ident()

    def submit(
        executor: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **options: Any
    ) -> Future[Any]:
        return loop.submit(executor, function, *args, **options)

    replaced: list[tuple[Any, str, Any]] = [
        (time, "time", lambda: START_S + loop.time()),
        (time, "time_ns", lambda: int((START_S + loop.time()) * 1_000_000) * 1000),
        (time, "monotonic", loop.time),
        (time, "monotonic_ns", lambda: int(loop.time() * 1_000_000_000)),
        (threading, "get_ident", lambda: loop.thread or own_thread),
        (ThreadPoolExecutor, "submit", submit),
        (os, "urandom", random.Random(f"{seed} bytes").randbytes),  # noqa: S311 - no secret: a run can be played again
    ]
    replaced.append((sys, "unraisablehook", _ignore_files_of_the_dead(sys.unraisablehook)))
    state, collects = random.getstate(), gc.isenabled()
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    gc.disable()
    gc.freeze()  # what the process had before is not looked at when the simulation's own garbage is collected
    random.seed(f"{seed} random")
    try:
        for module, name, value in replaced:
            setattr(module, name, value)
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        for module, name, value in before:
            setattr(module, name, value)
        random.setstate(state)
        if collects:
            gc.enable()


def _ignore_files_of_the_dead(hook: Callable[[Any], object]) -> Callable[[Any], None]:
    """Generators that a dead machine left behind find their file closed when they are collected."""

    def handle(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, apsw.ConnectionClosedError | MachineDied):
            hook(unraisable)

    return handle
