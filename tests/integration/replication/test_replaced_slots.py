"""A slot that nobody needs any more keeps the source's log until its disk is full: replaced ones are dropped, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.replication.postgres.source import PostgresSource
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.replicating import SYNC_CONFIG, Replica, replicating

OF_ANOTHER = "another_service_1"


def config(number: int) -> str:
    """A sync config of the same rows that differs from the others."""
    return SYNC_CONFIG.replace("by_owner", f"by_owner_{number}")


@pytest.fixture
def database(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """Rows of ann, and a slot of somebody else's."""
    postgres_database.execute(
        "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text); CREATE PUBLICATION powersync FOR ALL TABLES;"
        "INSERT INTO t SELECT 'r' || n, 'ann', n, 'x' FROM generate_series(1, 20) n"
    )
    postgres_database.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (OF_ANOTHER,))
    return postgres_database


def slots(database: ScratchDatabase) -> set[str]:
    """Names of the slots of this database, without that of the other service."""
    rows = database.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
    assert (OF_ANOTHER,) in rows, "nobody else's slot is touched"
    return {name for (name,) in rows} - {OF_ANOTHER}


async def only_slot_is_of(replica: Replica, database: ScratchDatabase, *, above: int) -> int:
    """Wait until a version above `above` serves, and its slot and data are the only ones; its number."""

    async def alone() -> bool:
        version = await replica.version()
        numbers = [one.number for one in replica.writer.versions()]
        return version.number > above and slots(database) == {version.slot_name} and numbers == [version.number]

    await eventually(alone, timeout_s=20, what="one version with one slot")
    assert len(await replica.rows("ann")) == 20
    return (await replica.version()).number


@pytest.mark.requirement(178, missing="the fields in the diagnostics")
async def test_the_slot_of_a_replaced_config_is_dropped_with_its_data(
    database: ScratchDatabase, tmp_path: Path
) -> None:
    number = 0
    for deployed in range(3):
        async with replicating(database.dsn, tmp_path, sync_config=config(deployed)) as replica:
            number = await only_slot_is_of(replica, database, above=number)
    async with replicating(database.dsn, tmp_path, sync_config=config(2)) as replica:
        await replica.caught_up()
        assert (await replica.version()).number == number, "the same config goes on with its version and slot"


@pytest.mark.requirement(178, missing="the fields in the diagnostics")
async def test_configs_replaced_before_they_were_copied_leave_no_slot(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicating(database.dsn, tmp_path, sync_config=config(0)) as replica:
        served = await only_slot_is_of(replica, database, above=0)
        slot_of_served = (await replica.version()).slot_name
    never = asyncio.Event()

    async def stuck(self: PostgresSource, *_: object, **__: object) -> AsyncGenerator[object]:
        await never.wait()
        yield  # makes it a generator

    with monkeypatch.context() as patched:
        patched.setattr(PostgresSource, "snapshot", stuck)
        seen: set[str] = set()
        for deployed in (1, 2):
            async with replicating(database.dsn, tmp_path, sync_config=config(deployed)) as replica:
                await eventually(lambda r=replica: r.job.status.phase.startswith("copying"), what="it is being copied")
                assert slot_of_served in slots(database), "what serves can be gone back to"
                assert len(slots(database)) == 2, "that of the config before, which was never served, is gone"
                assert (await replica.version()).number == served
                (new,) = slots(database) - {slot_of_served}
                assert new not in seen
                seen.add(new)
    async with replicating(database.dsn, tmp_path, sync_config=config(3)) as replica:
        await only_slot_is_of(replica, database, above=served)
