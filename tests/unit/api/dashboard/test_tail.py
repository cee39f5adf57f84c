"""The live tail: from when, how long, and how many at a time."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from syncline.api.dashboard.app import DashboardApp
from syncline.api.dashboard.limits import (
    TAIL_OPS_MAX,
    TAILS_MAX,
)
from syncline.api.dashboard.tail import Tails
from syncline.auth.api_tokens import ApiTokens
from syncline.errors import TooManyConnections
from syncline.sync_config.plan import ConnectionData
from tests.unit.api.world import World, running_world


def tails_of(world: World, ops_max: int = TAIL_OPS_MAX) -> Tails:
    return Tails(world.streams._context, ops_max=ops_max)


TAIL: dict[str, Any] = {
    "path": "/api/dashboard/v1/tail",
    "bearer": "admin",
    "body": b'{"user": "u1"}',
    "headers": [(b"content-type", b"application/json")],
}


def dashboard_with(tails: Tails) -> DashboardApp:
    parts: Any = SimpleNamespace(config=None, preview=None)
    return DashboardApp(
        tokens=ApiTokens(["admin"]),
        overview=parts,
        clients=parts,
        errors=parts,
        configs=parts,
        explaining=parts,
        sizes=parts,
        tails=tails,
    )


async def test_a_tail_begins_now_and_ends_after_so_many_operations(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        world.commit("before", data='{"kept": "back"}')
        await world.watcher._look()
        told: list[str] = []
        async with aclosing(tails_of(world, ops_max=2).lines(ConnectionData({"sub": "u1"}))) as lines:
            async for line in lines:
                told.append(line.decode())
                if "began" in told[-1]:
                    world.commit("a", data='{"kept": "back"}')
                    world.commit("b", "c", "d", data='{"kept": "back"}')
        shown = [json.loads(line) for line in told]
        assert [line["id"] for line in shown if "op" in line] == ["a", "b"]
        assert shown[-1] == {"ended": "2 operations were shown"}
        assert "back" not in "".join(told)
        assert next(line["bytes"] for line in shown if "op" in line) == len('{"kept": "back"}')


async def test_there_are_only_so_many_tails_and_each_gives_its_place_back(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        tails, user = tails_of(world), ConnectionData({"sub": "u1"})
        open_ones = [tails.lines(user) for _ in range(TAILS_MAX)]
        for lines in open_ones:
            assert b"began" in await anext(lines)
        with pytest.raises(TooManyConnections):
            await anext(tails.lines(user))
        for lines in open_ones:
            await lines.aclose()
        again = tails.lines(user)
        assert b"began" in await anext(again)
        await again.aclose()
        assert world.watcher.session_count == 0


async def test_a_tail_ends_when_the_service_stops_or_the_page_goes(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        app = world.app._dashboard = dashboard_with(tails_of(world))
        for end in ("the page goes", "the service stops"):
            exchange, task = world.begin("POST", **TAIL)
            await exchange.until("began")
            if end == "the page goes":
                exchange.gone.set()
            else:
                await app.close()
            async with asyncio.timeout(5):
                await task
            assert not exchange.messages[-1].get("more_body", False), end
            assert world.watcher.session_count == 0


async def test_a_tail_ends_after_its_time(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        tails = Tails(world.streams._context, seconds_max=0.05)
        async with asyncio.timeout(5):
            told = [json.loads(line) async for line in tails.lines(ConnectionData({"sub": "u1"}))]
        assert "began" in told[0]
        assert "ended" in told[-1]


async def test_a_page_that_takes_nothing_loses_its_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncline.api.dashboard.app.TAIL_S_MAX", 0.05)
    monkeypatch.setattr("syncline.api.dashboard.app.TAIL_STUCK_S", 0.0)
    monkeypatch.setattr("syncline.api.dashboard.app.TAIL_CLOSE_S", 0.05)
    async with running_world(tmp_path) as world:
        world.app._dashboard = dashboard_with(tails_of(world))
        exchange, task = world.begin("POST", **TAIL, blocked=asyncio.Event())
        async with asyncio.timeout(5):
            await task
        assert exchange.status == 200
        assert exchange.body == b""
