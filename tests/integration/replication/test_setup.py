"""Sources that are not set up, slots that are gone, connections that break."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.errors import Retry, SlotLost, SourceNotReady, SourceUnavailable
from syncline.replication.postgres.source import PostgresSource
from syncline.replication.source import SlotState, TransactionEnd
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from syncline.testing.waiting import eventually
from tests.integration.replication.following import ALL_TABLES, SLOT, following


@asynccontextmanager
async def opened(dsn: str) -> AsyncGenerator[PostgresSource]:
    source = PostgresSource(dsn, application_name="syncline/test")
    try:
        yield source
    finally:
        await source.close()


@pytest.mark.requirement(175)
async def test_a_missing_publication_is_told_with_the_sql_that_makes_it(postgres_database: ScratchDatabase) -> None:
    async with opened(postgres_database.dsn) as source:
        with pytest.raises(SourceNotReady) as raised:
            await source.check()
        assert (raised.value.error_code, raised.value.retry) == ("PSYNC_S1141", Retry.OPERATOR)
        assert raised.value.hint is not None
        postgres_database.execute(raised.value.hint.partition("\n")[2])
        await source.check()


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        ("publish = 'insert, update'", "PSYNC_S1142", "delete, truncate"),
        ("publish_via_partition_root = true", "PSYNC_S1143", "partition"),
    ],
)
async def test_a_publication_that_hides_changes_is_told_with_the_sql_that_heals_it(
    postgres_database: ScratchDatabase, options: str, code: str, what: str
) -> None:
    postgres_database.execute(f"CREATE PUBLICATION powersync FOR ALL TABLES WITH ({options})")
    async with opened(postgres_database.dsn) as source:
        with pytest.raises(SourceNotReady, match=what) as raised:
            await source.check()
        assert raised.value.error_code == code
        assert raised.value.hint is not None
        postgres_database.execute(raised.value.hint)
        await source.check()


async def test_changes_made_without_the_publication_make_the_slot_useless(
    database: ScratchDatabase, source: PostgresSource
) -> None:
    database.execute("CREATE TABLE t (id int)")
    async with following(source) as follower:
        database.execute("DROP PUBLICATION powersync; INSERT INTO t VALUES (1)")
        await eventually(lambda: follower.error is not None)
    assert isinstance(follower.error, SlotLost)
    assert await source.slot_state(SLOT) is SlotState.MISSING


@pytest.mark.requirement(176)
async def test_a_wal_level_that_cannot_be_decoded_is_told() -> None:
    with EmbeddedPostgres(settings={"wal_level": "replica"}) as server:
        async with opened(server.dsn()) as source:
            with pytest.raises(SourceNotReady, match="wal_level is replica") as raised:
                await source.check()
    assert "wal_level = 'logical'" in (raised.value.hint or "")


async def test_a_role_without_rights_is_told_which_it_needs(database: ScratchDatabase) -> None:
    database.execute("CREATE TABLE t (id int); DROP ROLE IF EXISTS nobody_special; CREATE ROLE nobody_special LOGIN")
    try:
        async with opened(database.dsn.replace("postgres@", "nobody_special@")) as source:
            with pytest.raises(SourceNotReady) as raised:
                await source.create_slot(SLOT)
            assert "WITH REPLICATION" in (raised.value.hint or "")
            (relation,) = await source.relations(ALL_TABLES)
            with pytest.raises(SourceNotReady, match="permission denied") as raised:
                await anext(aiter(source.snapshot(relation)))
            assert "GRANT SELECT" in (raised.value.hint or "")
    finally:
        database.execute("DROP ROLE nobody_special")


async def test_a_source_that_is_not_there_is_unavailable_and_its_password_untold() -> None:
    async with opened("postgresql://someone:hunter2@127.0.0.1:1/none") as source:
        with pytest.raises(SourceUnavailable) as raised:
            await source.check()
    assert "hunter2" not in str(raised.value)


async def test_a_slot_that_was_dropped_is_lost(database: ScratchDatabase, source: PostgresSource) -> None:
    assert await source.slot_state(SLOT) is SlotState.MISSING
    await source.create_slot(SLOT)
    assert await source.slot_state(SLOT) is SlotState.VALID
    await source.drop_slot(SLOT)
    async with following(source, create=False) as follower:
        await eventually(lambda: follower.error is not None)
    assert isinstance(follower.error, SlotLost)


async def test_dropping_a_slot_ends_the_stream_that_holds_it(database: ScratchDatabase, source: PostgresSource) -> None:
    async with following(source) as follower, opened(database.dsn) as other:
        await follower.caught_up()
        await other.drop_slot(SLOT)
        await eventually(lambda: follower.error is not None)
        assert await other.slot_state(SLOT) is SlotState.MISSING


async def test_a_second_stream_takes_the_slot_over(database: ScratchDatabase, source: PostgresSource) -> None:
    async with following(source) as first, opened(database.dsn) as other:
        await first.caught_up()
        async with following(other, create=False) as second:
            await second.caught_up()
            await eventually(lambda: first.error is not None)


async def test_a_stream_goes_on_after_its_walsender_was_ended(
    database: ScratchDatabase, source: PostgresSource
) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    async with following(source) as follower:
        database.execute("INSERT INTO t VALUES (1)")
        await follower.caught_up()
        database.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'follower'"
        )
        await eventually(lambda: follower.error is not None)
    assert isinstance(follower.error, SourceUnavailable)
    after = next(event.position for event in reversed(follower.events) if isinstance(event, TransactionEnd))
    database.execute("INSERT INTO t VALUES (2)")
    async with following(source, create=False, after=after) as follower:
        await follower.caught_up()
    assert [change.row for change in follower.changes("t")] == [(2,)]


async def test_a_cut_connection_ends_the_stream_with_an_error(database: ScratchDatabase) -> None:
    port = int(database.dsn.rpartition(":")[2].partition("/")[0])
    async with (
        FaultyProxy("127.0.0.1", port) as proxy,
        opened(database.dsn.replace(str(port), str(proxy.port))) as source,
        following(source) as follower,
    ):
        await follower.caught_up()
        proxy.cut()
        await eventually(lambda: follower.error is not None)
    assert isinstance(follower.error, SourceUnavailable)


async def test_the_source_forgets_what_was_acknowledged(database: ScratchDatabase, source: PostgresSource) -> None:
    async with following(source) as follower:
        await follower.caught_up()
        source.acknowledge(follower.position)
        high, _, low = follower.position.partition("/")
        await eventually(
            lambda: database.execute(
                "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'follower'",
                (f"{int(high, 16):X}/{int(low, 16):X}",),
            )[0][0]
        )
