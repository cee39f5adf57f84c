"""What the demo shows, step by step. Every step checks what it says; a step that does not hold ends the demo with what it saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import typer

from syncline.cli.demo.devices import Device
from syncline.cli.demo.model import ALICE
from syncline.cli.demo.stack import Stack

__all__ = ["Scenario", "StepFailed"]

_T = TypeVar("_T")
STEP_TIMEOUT_S = 15.0  # seconds for a change to arrive
POLL_INTERVAL_S = 0.01
OFFLINE_LISTS = ("Offline 1: pack the tent", "Offline 2: buy gas", "Offline 3: tell the neighbours")

# Transaction ids grow in the order of the commits' beginnings; one device's uploads come one after the other.
_ALICE_S_OFFLINE_LISTS = f"""
SELECT name, owner_id::text FROM lists WHERE name LIKE 'Offline %' AND owner_id = '{ALICE}' ORDER BY xmin::text::bigint
"""  # noqa: S608 - a constant is put in


class StepFailed(Exception):
    """A step of the scenario does not hold; the message says what was expected and seen."""


@dataclass(slots=True)
class Scenario:
    """The scenario over a running stack. `started_s` is when the processes were started (monotonic seconds)."""

    stack: Stack
    phone: Device
    second_phone: Device
    bobs_phone: Device
    started_s: float
    _step: int = field(default=0, init=False)

    async def play(self) -> None:
        """Play all steps. Raises StepFailed."""
        await self._first_sync()
        await self._one_write_reaches_the_other_device()
        await self._bob_sees_nothing_of_it()
        await self._offline_writes_arrive_in_order()

    async def _first_sync(self) -> None:
        self._say("Three devices connect: two phones of Alice, and Bob's phone.")
        for device in (self.phone, self.second_phone, self.bobs_phone):
            await device.go_online()
        await self._until(
            self.second_phone.list_names,
            lambda names: names == ["Getting Started"],
            "Alice's second phone has her list",
        )
        self._done(f"The first row is on a device {time.monotonic() - self.started_s:.1f} s after the start.")
        await self._until(
            self.bobs_phone.list_names, lambda names: names == ["Home repairs"], "Bob's phone has his list alone"
        )
        self._done("Bob's phone has Bob's list, and nothing else.")

    async def _one_write_reaches_the_other_device(self) -> None:
        self._say("Alice's phone writes to its local SQLite: a new list, Groceries.")
        written_s = time.monotonic()
        await self.phone.add_list("Groceries")
        await self._until(
            self.second_phone.list_names, lambda names: "Groceries" in names, "the second phone shows Groceries"
        )
        self._done(
            f"It is on her second phone {(time.monotonic() - written_s) * 1000:.0f} ms later, by way of Postgres."
        )

    async def _bob_sees_nothing_of_it(self) -> None:
        self._say("Bob adds a todo, so that his device has certainly heard of everything before.")
        [row] = await self.bobs_phone.db.get_all("SELECT id FROM lists")
        await self.bobs_phone.add_todo(row["id"], "Paint the door")
        await self._until(self.bobs_phone.queue_length, lambda count: count == 0, "Bob's write is uploaded")
        names = await self.bobs_phone.list_names()
        if names != ["Home repairs"]:
            raise StepFailed(f"Bob's phone should hold his list alone, but holds {names}")
        self._done("Bob's device holds none of Alice's rows.")

    async def _offline_writes_arrive_in_order(self) -> None:
        self._say("Alice's phone goes offline and writes three lists.")
        await self.phone.go_offline()
        for name in OFFLINE_LISTS:
            await self.phone.add_list(name)
        waiting = await self.phone.queue_length()
        if waiting != len(OFFLINE_LISTS):
            raise StepFailed(f"{len(OFFLINE_LISTS)} writes should wait in the queue, but {waiting} do")
        self._done(f"They are readable at once on the phone; {waiting} writes wait in its queue.")
        self._say("The phone comes back.")
        await self.phone.go_online()
        await self._until(
            self.second_phone.list_names,
            lambda names: set(OFFLINE_LISTS) <= set(names),
            "the second phone shows the three lists",
        )
        await self._until(self.phone.queue_length, lambda count: count == 0, "the phone's queue is empty")
        rows = await self.stack.postgres_rows(_ALICE_S_OFFLINE_LISTS)
        if [row[0] for row in rows] != list(OFFLINE_LISTS):
            raise StepFailed(f"Postgres should hold the three lists in the order of writing, but holds {rows}")
        self._done(f"Postgres holds them in the order of writing, each with owner_id {rows[0][1]} (Alice).")

    async def _until(self, read: Callable[[], Awaitable[_T]], holds: Callable[[_T], bool], what: str) -> None:
        """Read until it holds, with a deadline."""
        deadline_s = time.monotonic() + STEP_TIMEOUT_S
        while not holds(seen := await read()):
            if time.monotonic() > deadline_s:
                errors = [
                    f"{device.name}: {device.db.current_status}"
                    for device in (self.phone, self.second_phone, self.bobs_phone)
                ]
                raise StepFailed(f"Not within {STEP_TIMEOUT_S:.0f} s: {what}. Seen: {seen}\n" + "\n".join(errors))
            await asyncio.sleep(POLL_INTERVAL_S)

    def _say(self, text: str) -> None:
        self._step += 1
        typer.secho(f"\n{self._step}. {text}", bold=True)

    def _done(self, text: str) -> None:
        typer.secho(f"   ✓ {text}", fg=typer.colors.GREEN)
