"""The dashboard as an app: what is answered when something fails, is too much, or nobody can sign in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from syncline.api.admin.deployments import Deployments, WantedConfig
from syncline.api.dashboard.app import DashboardApp, DashboardOff
from syncline.api.dashboard.limits import (
    REQUESTS_QUEUED_MAX,
    REQUESTS_RUNNING_MAX,
)
from syncline.auth.api_tokens import ApiTokens
from syncline.errors import SourceNotReady, StorageUnavailable
from syncline.testing.waiting import eventually
from tests.unit.api.world import running_world


class Questions:
    """A dashboard whose answers the test gives."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.error: Exception | None = None
        self.asked = 0
        parts: Any = SimpleNamespace(config=self, preview=self, newest=list)
        given: Any = self
        self.app = DashboardApp(
            tokens=ApiTokens(["admin"]),
            overview=given,
            clients=given,
            errors=parts,
            configs=parts,
            explaining=given,
            sizes=given,
            tails=parts,
        )

    async def __call__(self, *_: object) -> dict[str, Any]:
        self.asked += 1
        await self.held.wait()
        if self.error is not None:
            raise self.error
        return {"user": "half of \ud83d"}


async def test_an_administrator_is_told_what_the_source_said_and_of_storage_only_that_it_failed(tmp_path: Path) -> None:
    questions = Questions()
    questions.held.set()
    async with running_world(tmp_path) as world:
        world.app._dashboard = questions.app
        overview: dict[str, Any] = {"path": "/api/dashboard/v1/overview", "bearer": "admin"}
        odd = await world.ask("GET", **overview)
        assert json.loads(odd.body) == {"data": {"user": "half of ?"}}
        questions.error = SourceNotReady("The source refuses the role.", code="PSYNC_S1120", hint="GRANT it.")
        refused = await world.ask("GET", **overview)
        error = json.loads(refused.body)["error"]
        assert (error["code"], error["description"], error["details"]) == (
            "PSYNC_S1120",
            "The source refuses the role.",
            "GRANT it.",
        )
        for failure in (StorageUnavailable("at host db-17"), ValueError("a bug with db-17")):
            questions.error = failure
            failed = await world.ask("GET", **overview)
            assert failed.status >= 500
            assert b"db-17" not in failed.body
            assert failed.headers["cache-control"] == "no-store"


async def test_only_so_many_questions_run_and_wait(tmp_path: Path) -> None:
    questions = Questions()
    async with running_world(tmp_path) as world:
        world.app._dashboard = questions.app
        overview: dict[str, Any] = {"path": "/api/dashboard/v1/overview", "bearer": "admin"}
        begun = [world.begin("GET", **overview) for _ in range(REQUESTS_RUNNING_MAX + REQUESTS_QUEUED_MAX)]
        await eventually(lambda: questions.asked == REQUESTS_RUNNING_MAX)
        assert (await world.ask("GET", **overview)).status == 429
        assert (await world.ask("GET", "/dashboard")).status == 200
        questions.held.set()
        await asyncio.gather(*[task for _, task in begun])
        assert {exchange.status for exchange, _ in begun} == {200}


async def test_without_tokens_there_is_no_dashboard_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_world(tmp_path) as world:
        world.app._dashboard = DashboardOff()
        for path in ("/dashboard", "/dashboard/main.js", "/api/dashboard/v1/overview"):
            assert (await world.ask("GET", path)).status == 404
        assert [record.message for record in caplog.records if "api.tokens" in record.message]
        assert sum("api.tokens" in record.message for record in caplog.records) == 1


def test_a_config_of_the_configuration_is_not_deployed_through_the_page() -> None:
    for configured, expected in ((WantedConfig("streams: {}"), False), (None, True)):
        deployments = Deployments(
            None,  # pyright: ignore[reportArgumentType]  # nothing is deployed
            configured=configured,
            compile_plan=lambda _: None,  # pyright: ignore[reportArgumentType]  # nothing is deployed
            replicate=lambda _: None,
            slot_name_prefix="",
        )
        assert deployments.may_deploy is expected
