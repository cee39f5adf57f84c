from __future__ import annotations

import asyncio
import contextvars
import os
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from syncline.testing.simulated_loop import START_S, Deadlock, Machine, SimulatedLoop, simulate


def test_hours_pass_at_once() -> None:
    async def main(loop: SimulatedLoop) -> float:
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        assert time.time() == START_S + 3660
        assert time.monotonic() == loop.time()
        return loop.time()

    before = time.perf_counter()
    assert simulate(main, seed=1) == 3660
    assert time.perf_counter() - before < 1
    assert abs(time.time() - START_S) > 3660  # the clock is the process's own again


def test_what_never_happens_is_told() -> None:
    async def main(_: SimulatedLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        simulate(main, seed=1)


def test_a_seed_decides_all_randomness() -> None:
    async def main(loop: SimulatedLoop) -> list[object]:
        executor = ThreadPoolExecutor(1)
        await asyncio.wrap_future(executor.submit(int))
        return [random.random(), os.urandom(4), uuid.uuid4(), loop.time()]

    assert simulate(main, seed=1) == simulate(main, seed=1)
    assert simulate(main, seed=1) != simulate(main, seed=2)
    assert random.random() != random.random()


def test_calls_of_one_executor_keep_their_order_and_no_thread_is_made() -> None:
    async def main(loop: SimulatedLoop) -> None:
        first, second = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        ran: list[int] = []
        idents: set[int] = set()

        def call(number: int) -> int:
            ran.append(number)
            idents.add(threading.get_ident())
            return number

        calls = [asyncio.wrap_future((first, second)[number % 2].submit(call, number)) for number in range(20)]
        assert ran == []
        assert await asyncio.gather(*calls) == list(range(20))
        assert [number for number in ran if number % 2 == 0] == list(range(0, 20, 2))
        assert ran != sorted(ran)  # between executors there is no order
        assert len(idents | {threading.get_ident()}) == 3
        assert await asyncio.to_thread(call, 20) == 20

    threads = threading.active_count()
    simulate(main, seed=3)
    assert threading.active_count() == threads


def test_errors_of_calls_reach_who_waits() -> None:
    async def main(loop: SimulatedLoop) -> None:
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)

    simulate(main, seed=1)


def test_a_machine_that_dies_loses_what_was_not_committed(tmp_path: Path) -> None:
    path = str(tmp_path / "app.db")

    def write(connection: apsw.Connection, number: int) -> None:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        connection.execute("COMMIT")

    async def app(executor: ThreadPoolExecutor, ended: list[str]) -> None:
        def open_file() -> apsw.Connection:
            connection = apsw.Connection(path)
            connection.execute("CREATE TABLE t (n)")
            return connection

        try:
            connection = await asyncio.wrap_future(executor.submit(open_file))
            for number in range(1000):
                await asyncio.wrap_future(executor.submit(write, connection, number))
        except asyncio.CancelledError:
            ended.append("cancelled")
            await asyncio.wrap_future(executor.submit(ended.append, "after its death"))

    async def main(loop: SimulatedLoop) -> int:
        machine, ended = Machine("phone"), list[str]()
        machine.dies_at = 23
        await asyncio.wait([machine.start(app(ThreadPoolExecutor(1), ended))])
        await machine.buried()
        assert ended == ["cancelled"]
        return int(str(apsw.Connection(path).execute("SELECT count(*) FROM t").get))

    # One step for the call, one for CREATE, one for its end; then five for each insert: the call, three statements, its end.
    assert simulate(main, seed=1) == 4


def test_a_machine_can_die_between_a_commit_and_its_answer() -> None:
    async def main(loop: SimulatedLoop) -> list[str]:
        machine, done = Machine("phone"), list[str]()

        async def app() -> None:
            await asyncio.wrap_future(ThreadPoolExecutor(1).submit(done.append, "committed"))
            done.append("told")

        machine.dies_at = 2
        machine.start(app())
        await asyncio.sleep(1)
        await machine.buried()
        return done

    assert simulate(main, seed=1) == ["committed"]


def test_a_task_with_a_context_of_its_own_belongs_to_its_machine_too() -> None:
    async def main(loop: SimulatedLoop) -> tuple[int, int]:
        machine = Machine("phone")

        async def app() -> None:
            loop.create_task(asyncio.Event().wait(), context=contextvars.Context())
            loop.create_task(asyncio.sleep(1), context=Machine.nobodys_context())
            await asyncio.Event().wait()

        machine.start(app())
        await asyncio.sleep(0.5)
        before = len(machine.tasks)
        machine.die()
        await machine.buried()
        return before, len(asyncio.all_tasks()) - 1

    assert simulate(main, seed=1) == (2, 1)


def test_machines_draw_for_themselves() -> None:
    async def main(loop: SimulatedLoop, others: int) -> list[float]:
        times: list[float] = []

        async def app() -> None:
            executor = ThreadPoolExecutor(1)
            for _ in range(5):
                await asyncio.wrap_future(executor.submit(int))
                times.append(loop.time())

        async def other() -> None:
            await asyncio.to_thread(int)

        for number in range(others):
            Machine(f"other {number}").start(other())
        await Machine("phone").start(app())
        return times

    assert simulate(lambda loop: main(loop, 0), seed=1) == simulate(lambda loop: main(loop, 7), seed=1)
