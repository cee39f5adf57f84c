"""Connections that die without a word, and a source that restarts: replication notices and goes on."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from syncline.errors import SourceUnavailable
from syncline.replication.postgres import stream as stream_module
from syncline.replication.postgres.head import PostgresHead
from syncline.replication.postgres.source import PostgresSource
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from syncline.testing.waiting import eventually
from tests.integration.replication.following import following


def proxied(dsn: str, proxy: FaultyProxy) -> str:
    parts = urlsplit(dsn)
    return parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port}").geturl()


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    postgres_database.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION powersync FOR ALL TABLES")
    return postgres_database


async def test_a_stream_whose_bytes_are_dropped_in_silence_is_given_up(
    source: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "ASK_AFTER_SILENCE_S", 0.2)
    monkeypatch.setattr(stream_module, "SILENCE_MAX_S", 0.5)
    port = urlsplit(source.dsn).port
    assert port is not None
    async with FaultyProxy("127.0.0.1", port) as proxy:
        postgres = PostgresSource(proxied(source.dsn, proxy), application_name="test")
        async with following(postgres) as follower:
            source.execute("INSERT INTO t VALUES (1)")
            await eventually(lambda: follower.changes("t"))
            proxy.stall()
            await eventually(lambda: follower.error is not None)
            assert isinstance(follower.error, SourceUnavailable)
            assert "silent" in str(follower.error)
            proxy.resume()
        await postgres.close()


async def test_an_idle_stream_that_answers_is_not_given_up(
    source: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "ASK_AFTER_SILENCE_S", 0.0)
    monkeypatch.setattr(stream_module, "SILENCE_MAX_S", 1.5)
    postgres = PostgresSource(source.dsn, application_name="test")
    async with following(postgres) as follower:
        await asyncio.sleep(3)  # the passing of time is the condition here: twice the limit
        assert follower.error is None
        source.execute("INSERT INTO t VALUES (1)")
        await eventually(lambda: follower.changes("t"))
    await postgres.close()


async def test_a_walsender_hears_from_us_soon_after_each_burst(source: ScratchDatabase) -> None:
    """It may have missed what was written while it sent; whatever it hears makes it look again."""
    postgres = PostgresSource(source.dsn, application_name="test")
    waited_s: list[float] = []
    async with following(postgres) as follower:
        for number in range(7):
            [(written,)] = source.execute(f"INSERT INTO t VALUES ({number}) RETURNING clock_timestamp()")
            await eventually(lambda n=number: len(follower.changes("t")) > n)
            heard = """SELECT extract(epoch FROM reply_time - %s)::float
                         FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid
                        WHERE database = current_database() AND reply_time > %s"""
            [(seconds,)] = await eventually(lambda at=written: source.execute(heard, (at, at)))  # noqa: B023 - awaited within the turn of the loop
            waited_s.append(seconds)
    await postgres.close()
    assert sorted(waited_s)[3] < 0.5, waited_s  # the median: far below the second that an idle stream lets pass


async def test_the_head_is_read_again_after_its_connection_was_ended(source: ScratchDatabase) -> None:
    head = PostgresHead(source.dsn)
    first = await head.head()
    source.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'syncline%' AND datname = current_database()"
    )
    assert await head.head() >= first
    await head.emit_marker()
    await head.close()
