"""Which sync config is wanted, by the service's configuration and by what was deployed, on real SQLite storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.api.admin.deployments import (
    Deployments,
    DeploymentsDisabled,
    NothingActive,
    StillDeploying,
    WantedConfig,
)
from syncline.errors import SyncConfigError
from syncline.replication.job import DeployedConfig
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.control import SqliteControl
from syncline.storage.sqlite.writer import SqliteWriter
from syncline.sync_config import compile_sync_config
from syncline.testing.waiting import eventually

ONE = "config: {edition: 3}\nstreams: {a: {query: SELECT * FROM lists}}\n"
TWO = ONE.replace("lists", "todos")


class World:
    def __init__(self, folder: Path) -> None:
        storage = SqliteStorage(folder)
        self.control: SqliteControl = storage.open_control()
        self.writer: SqliteWriter = storage.open_writer()
        self.replicated: list[DeployedConfig | None] = []

    def deployments(self, configured: WantedConfig | None = None) -> Deployments:
        return Deployments(
            self.control,
            configured=configured,
            compile_plan=compile_sync_config,
            replicate=self.replicated.append,
            slot_name_prefix="slot_",
        )

    def version(self, number: int, text: str, *, active: bool = True) -> None:
        self.writer.start_version(number, sync_config=text, slot_name=f"slot_{number}", source_identity="s")
        if active:
            self.writer.finish_snapshot(number)
            self.writer.commit(number, "A")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    world = World(tmp_path)
    yield world
    world.writer.close()
    await world.control.close()


def configured(text: str) -> WantedConfig:
    return WantedConfig(text, plan=compile_sync_config(text))


async def test_with_nothing_deployed_nothing_is_replicated(world: World) -> None:
    deployments = world.deployments()
    assert await deployments.begin() is None
    standing = await deployments.standing()
    assert (standing.active, standing.is_deploying) == (None, False)
    with pytest.raises(NothingActive):
        await deployments.reprocess()


async def test_what_is_deployed_is_replicated_here_and_after_a_restart(world: World) -> None:
    deployments = world.deployments()
    await deployments.begin()
    following = asyncio.create_task(deployments.run())
    slot_name = await deployments.deploy(ONE)
    await eventually(lambda: world.replicated)
    [config] = world.replicated
    assert config is not None
    assert (config.text, f"slot_{config.number}") == (ONE, slot_name)
    following.cancel()
    again = await world.deployments().begin()
    assert again is not None
    assert (again.text, again.number) == (ONE, config.number)


async def test_another_process_follows_what_was_deployed(world: World) -> None:
    there = world.deployments()
    await there.begin()
    following = asyncio.create_task(there.run())
    await world.deployments().deploy(TWO)
    await eventually(lambda: world.replicated)
    assert world.replicated[0] is not None
    assert world.replicated[0].text == TWO
    following.cancel()


async def test_a_config_that_cannot_be_used_is_not_deployed(world: World) -> None:
    deployments = world.deployments()
    with pytest.raises(SyncConfigError):
        await deployments.deploy("streams: 1")
    assert await world.control.deployments() == []


async def test_the_service_s_configuration_wins_and_can_only_be_copied_again(world: World) -> None:
    await world.control.deploy(TWO, now_ms=1, random_bits=0)
    deployments = world.deployments(configured(ONE))
    config = await deployments.begin()
    assert config is not None
    assert (config.text, config.number) == (ONE, 0)
    with pytest.raises(DeploymentsDisabled):
        await deployments.deploy(TWO)
    world.version(10**9, ONE)
    slot_name = await deployments.reprocess()
    standing = await deployments.standing()
    assert standing.wish is not None
    assert deployments.slot_name_of(standing.wish) == slot_name
    with pytest.raises(StillDeploying):
        await deployments.reprocess()
    world.version(int(slot_name.removeprefix("slot_")), ONE)
    assert not (await deployments.standing()).is_deploying


async def test_a_version_of_an_older_deployment_is_not_what_is_deploying(world: World) -> None:
    deployments = world.deployments()
    world.version(5, ONE)
    await deployments.deploy(TWO)
    standing = await deployments.standing()
    assert standing.wish is not None
    world.version(standing.wish.number, TWO, active=False)
    standing = await deployments.standing()
    assert standing.processing is not None
    assert standing.wish is None
    await deployments.deploy(TWO)  # the same text again: another version
    standing = await deployments.standing()
    assert (standing.processing, standing.wish is None) == (None, False)
    assert standing.active is not None
    assert standing.active.version.number == 5


async def test_a_config_that_cannot_be_used_leaves_what_is_active_in_place(world: World) -> None:
    broken = WantedConfig("streams: 1", error="it is no map")
    assert await world.deployments(broken).begin() is None
    world.version(5, ONE)
    config = await world.deployments(broken).begin()
    assert config is not None
    assert (config.text, config.number) == (ONE, 0)
    standing = await world.deployments(broken).standing()
    assert standing.active is not None
    assert standing.wish == broken


async def test_without_a_file_any_more_what_is_active_goes_on(world: World) -> None:
    world.version(5, ONE)
    config = await world.deployments().begin()
    assert config is not None
    assert config.text == ONE
    assert not (await world.deployments().standing()).is_deploying
