"""Everybody but the devices: other writers of the source, replication, and what happens to the service."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from tests.simulation.tables import ROOMS, TEAMS

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Others"]

TICKERS = 3


class Others:
    """The rest of the world. Everything ends with `end`, but replication, which then is prompt."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._plan = world.plan
        self._active = True
        self._draw = random.Random(f"{world.plan.seed} others")
        self._replication_stalled_until_s = 0.0
        self._tick = 0
        self._rows = 0

    def fill(self) -> None:
        """What the source has before anything begins: nothing at position 0, some rows from position 1 on."""
        with self._world.service.transaction() as source:
            for number in range(TICKERS):
                source.insert("tickers", f"t{number}", n=0)
            for user in ("ada", "bob"):
                source.insert("members", f"{user}-red", user=user, team="red")
            for team in TEAMS:
                source.insert("tasks", f"first-{team}", team=team, text="first", n=1)
            for room in ROOMS:
                source.insert("messages", f"first-{room}", room=room, text="hello")

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """All that goes on beside the devices."""
        return [self._replicate(), self._write(), self._service_faults(), self._device_faults()]

    def end(self) -> None:
        """Faults and writes end."""
        self._active = False

    # -- the source

    async def _replicate(self) -> None:
        service = self._world.service
        while True:
            await asyncio.sleep(self._draw.uniform(0.0, 0.3) if self._active else 0.05)
            if self._active and self._world.loop.time() < self._replication_stalled_until_s:
                continue
            service.replicate(self._draw.choice([1, 3, None]) if self._active else None)

    async def _write(self) -> None:
        while self._active:
            await asyncio.sleep(self._draw.expovariate(self._plan.source_writes))
            if self._active:
                self._write_once()

    def _write_once(self) -> None:
        world, draw = self._world, self._draw
        with world.service.transaction() as source:
            kind = draw.choice(["ticker", "ticker", "alert", "member", "task", "message", "large"])
            world.counts[f"source: {kind}"] += 1
            if kind == "ticker":  # all of them, in one transaction: a reader sees one number
                self._tick += 1
                for number in range(TICKERS):
                    source.insert("tickers", f"t{number}", n=self._tick)
            elif kind == "alert":
                if draw.random() < 0.3 and (rows := world.service.rows("alerts")):
                    source.delete("alerts", draw.choice(rows)["id"])
                else:
                    self._rows += 1
                    source.insert("alerts", f"a{self._rows % 7}", text=f"alert {self._rows}", n=self._rows)
            elif kind == "member":  # granted and revoked
                user, team = draw.choice(["ada", "bob"]), draw.choice(TEAMS)
                if not source.delete("members", f"{user}-{team}"):
                    source.insert("members", f"{user}-{team}", user=user, team=team)
            elif kind == "task":
                self._change_task(source)
            elif kind == "message":
                self._rows += 1
                source.insert("messages", f"m{self._rows}", room=draw.choice(ROOMS), text=f"message {self._rows}")
            else:
                for _ in range(draw.choice([20, 60])):
                    self._rows += 1
                    source.insert("tasks", f"s{self._rows}", team=draw.choice(TEAMS), text="many", n=self._rows)

    def _change_task(self, source: Any) -> None:
        """Change, move to another team, or delete a task, whoever wrote it."""
        rows = self._world.service.rows("tasks")
        if not rows:
            return
        row = self._draw.choice(rows)
        match self._draw.choice(["text", "team", "delete"]):
            case "text":
                source.update("tasks", row["id"], text=f"changed {self._draw.randrange(1000)}")
            case "team":
                source.update("tasks", row["id"], team=self._draw.choice(TEAMS))
            case _:
                source.delete("tasks", row["id"])

    # -- the service

    def _happens(self, rate: float, what: str, seconds: float) -> bool:
        if not rate or self._draw.random() >= rate * seconds:
            return False
        self._world.counts[what] += 1
        self._world.note("world", what)
        return True

    async def _service_faults(self) -> None:
        world, faults, service = self._world, self._plan.faults, self._world.service
        while self._active:
            pause_s = self._draw.uniform(0.3, 1.0)
            await asyncio.sleep(pause_s)
            if not self._active:
                return
            if self._happens(faults.restart, "service restarted", pause_s):
                await service.restart()
            if self._happens(faults.silent_restart, "service restarted in silence", pause_s):
                world.silent_streams = world.silent_streams or service.open_streams > 0
                await service.restart(silently=True)
            if self._happens(faults.redeploy, "redeployed", pause_s):
                service.redeploy()
            if self._happens(faults.write_checkpoints_lost, "write checkpoints lost", pause_s):
                world.lost_write_checkpoints = True
                service.redeploy(lose_write_checkpoints=True)
            if self._happens(faults.compaction, "compaction", pause_s):
                world.counts["operations compacted"] += service.compact()
            if self._happens(faults.tokens_revoked, "tokens revoked", pause_s):
                service.revoke_tokens()
            if self._happens(faults.backend_busy, "backend busy", pause_s):
                world.persister.failures = self._draw.randrange(1, 4)
            if self._happens(faults.replication_stall, "replication stalled", pause_s):
                self._replication_stalled_until_s = world.loop.time() + self._draw.uniform(1.0, 6.0)
        world.persister.failures = 0

    # -- the devices' surroundings

    async def _device_faults(self) -> None:
        faults = self._plan.faults
        while self._active:
            pause_s = self._draw.uniform(0.2, 0.8)
            await asyncio.sleep(pause_s)
            if not self._active:
                return
            for device in self._world.devices:
                link = device.link
                if self._happens(faults.cut, f"{device.name} cut", pause_s):
                    link.cut()
                if self._happens(faults.stall, f"{device.name} stalled", pause_s):
                    link.stall()
                    self._world.loop.call_later(self._draw.uniform(0.5, 20.0), link.resume)
                if self._happens(faults.offline, f"{device.name} offline", pause_s):
                    link.offline = True
                    self._world.loop.call_later(self._draw.uniform(0.5, 8.0), setattr, link, "offline", False)
                if self._happens(faults.crash, f"{device.name} power off", pause_s):
                    device.die()
                if self._happens(faults.crash_at_step, f"{device.name} to die at a step", pause_s):
                    device.die_at_step()
