"""Two services over one Postgres storage: the role of replicator moves when its holder is killed, stopped or cut off, and nobody ends.

Where what is killed belongs to one service only, both also serve: a client of the killed one goes on at the other.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from syncline.testing.service_process import ServiceProcess
from syncline.testing.waiting import eventually, eventually_sync
from tests.integration.service_processes.conftest import SOURCE_SQL, MakeService
from tests.support.service_tree import DEADLINE_S, SYNC_CONFIG, Stream, kill_all, open_stream

HOLDER = "SELECT holder FROM syncline.lease"
STANDS_BY = "This one stands by"


def storage_of(dsn: str) -> dict[str, object]:
    """The section `storage`."""
    return {"type": "postgresql", "uri": dsn, "sslmode": "disable"}


def is_held_by(source: ScratchDatabase, service: ServiceProcess) -> bool:
    """Whether the lease is that service's."""
    return source.execute(HOLDER)[0][0].endswith(f":{service.pid}")


@dataclass(slots=True)
class Pair:
    """The service that replicates, the one that stands by, and their source, where the storage is too."""

    active: ServiceProcess
    standby: ServiceProcess
    source: ScratchDatabase
    inserted: int = 0

    def insert(self) -> str:
        """A new row on the source; its id."""
        self.inserted += 1
        row_id = f"row-{self.inserted}"
        self.source.execute("INSERT INTO lists VALUES (%s, 'x', 'u1')", (row_id,))
        return row_id

    def wait_moved(self) -> None:
        """Return when the stand-by has the lease, and a row written now reaches its streams."""
        eventually_sync(lambda: is_held_by(self.source, self.standby), timeout_s=DEADLINE_S, what="the role moves")
        row_id = self.insert()
        with open_stream(self.standby.port) as stream:
            stream.until(row_id)

    def check_one_version(self) -> None:
        """Nothing was copied again, and nothing is lost or doubled."""
        assert self.source.execute("SELECT count(*) FROM syncline.version") == [(1,)]
        with open_stream(self.standby.port) as stream:
            stream.until_complete()
            rows = [op["object_id"] for op in stream.ops if op["op"] == "PUT"]
        assert sorted(rows) == sorted(row_id for (row_id,) in self.source.execute("SELECT id FROM lists"))


@pytest.fixture
def pair(make_service: MakeService, source: ScratchDatabase) -> Pair:
    """Two whole services, each one process, so that what is killed or stopped is all of it."""
    services = [make_service(name, workers=0, storage=storage_of(source.dsn)) for name in ("first", "second")]
    services[0].start(timeout_s=DEADLINE_S)
    services[1].start(timeout_s=DEADLINE_S)
    services[1].wait_log(STANDS_BY, DEADLINE_S)
    return Pair(services[0], services[1], source)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_stand_by_takes_over_from_one_that_ends(pair: Pair, end: str) -> None:
    row_id = pair.insert()
    with open_stream(pair.standby.port) as stream:
        stream.until(row_id)
        if end == "kill":
            pair.active.kill()
        else:
            assert pair.active.stop() == 0
        stream.until(pair.insert())
    pair.wait_moved()
    pair.check_one_version()
    assert pair.standby.log.count(STANDS_BY) == 1, "said once"
    assert "replicates from now on" in pair.standby.log


def test_a_stopped_holder_loses_the_role_and_stands_by_when_it_wakes(pair: Pair) -> None:
    os.kill(pair.active.pid, signal.SIGSTOP)
    pair.wait_moved()
    os.kill(pair.active.pid, signal.SIGCONT)
    pair.active.wait_log(STANDS_BY, DEADLINE_S)
    assert is_held_by(pair.source, pair.standby)
    row_id = pair.insert()
    with open_stream(pair.active.port) as stream:
        stream.until(row_id)  # it serves what the other replicates
    pair.standby.kill()
    eventually_sync(lambda: is_held_by(pair.source, pair.active), timeout_s=DEADLINE_S, what="and back")
    row_id = pair.insert()
    with open_stream(pair.active.port) as stream:
        stream.until(row_id)
    assert pair.active.running


def test_a_holder_stopped_in_the_middle_of_a_large_transaction_holds_up_nobody(pair: Pair) -> None:
    """Its storage transaction may be open, and keeps the lease's row locked until somebody ends its connection."""
    with psycopg.connect(pair.source.dsn, autocommit=True) as connection:
        open_transactions = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syncline writer' AND state <> 'idle'"
        )
        connection.execute(
            "INSERT INTO lists SELECT 'big-' || n, repeat('x', 500), 'u1' FROM generate_series(1, 60000) n"
        )
        eventually_sync(lambda: connection.execute(open_transactions).fetchall() != [(0,)], timeout_s=DEADLINE_S)
        os.kill(pair.active.pid, signal.SIGSTOP)
    pair.wait_moved()
    os.kill(pair.active.pid, signal.SIGCONT)
    pair.active.wait_log(STANDS_BY, DEADLINE_S)
    pair.check_one_version()


async def test_a_holder_that_is_cut_off_loses_the_role_and_can_write_nothing(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    """Its packets go nowhere: no reset, no answer. Storage and source are behind the same cut."""
    address = urlsplit(source.dsn)
    assert address.hostname is not None
    assert address.port is not None
    async with FaultyProxy(address.hostname, address.port) as proxy:
        user = f"{address.username}@" if address.username else ""
        cut_off = urlunsplit(address._replace(netloc=f"{user}127.0.0.1:{proxy.port}"))
        connection = {"type": "postgresql", "uri": cut_off, "sslmode": "disable"}
        first = make_service("first", workers=0, storage=storage_of(cut_off), replication={"connections": [connection]})
        second = make_service("second", workers=0, storage=storage_of(source.dsn))
        for service in (first, second):
            await asyncio.to_thread(service.start, timeout_s=DEADLINE_S)
        await asyncio.to_thread(second.wait_log, STANDS_BY, DEADLINE_S)
        pair = Pair(first, second, source)
        proxy.stall()
        await asyncio.to_thread(pair.wait_moved)
        epoch = source.execute("SELECT epoch FROM syncline.lease")
        proxy.resume()
        await asyncio.to_thread(first.wait_log, STANDS_BY, DEADLINE_S)
        assert source.execute("SELECT epoch FROM syncline.lease") == epoch
        await asyncio.to_thread(pair.check_one_version)
        assert first.running


def test_a_client_of_a_killed_node_goes_on_at_the_other_without_a_download(pair: Pair) -> None:
    pair.source.execute("INSERT INTO lists SELECT 'old-' || n, 'x', 'u1' FROM generate_series(1, 500) n")
    row_id = pair.insert()
    with open_stream(pair.active.port) as stream:
        stream.until(row_id)
        assert len(stream.ops) >= 500
        positions = dict(stream.positions)
        pair.active.kill()
        stream.until_end()
    row_id = pair.insert()
    with open_stream(pair.standby.port, positions=positions) as stream:
        stream.until(row_id)
        assert [op["object_id"] for op in stream.ops] == [row_id], "nothing else was sent"


@dataclass(slots=True)
class TwoServers:
    """Source and storage in servers of their own, which can be restarted."""

    source: EmbeddedPostgres
    storage: EmbeddedPostgres

    def insert(self, row_id: str) -> None:
        """A row on the source."""
        with psycopg.connect(self.source.dsn(), autocommit=True) as connection:
            connection.execute("INSERT INTO lists VALUES (%s, 'x', 'u1')", (row_id,))


@pytest.fixture
def servers() -> Generator[TwoServers]:
    """Two servers; the source has its table."""
    with EmbeddedPostgres() as source, EmbeddedPostgres() as storage:
        with psycopg.connect(source.dsn(), autocommit=True) as connection:
            connection.execute(SOURCE_SQL.encode())
        yield TwoServers(source, storage)


@pytest.mark.parametrize("which", ["source", "storage"])
def test_a_restarted_database_ends_no_process_and_changes_flow_again(
    servers: TwoServers, tmp_path: Path, which: str
) -> None:
    storage = storage_of(servers.storage.dsn())
    services = [
        ServiceProcess(tmp_path / name, dsn=servers.source.dsn(), sync_config=SYNC_CONFIG, storage=storage)
        for name in ("first", "second")
    ]
    services[0].workers = 1
    try:
        for service in services:
            service.start(timeout_s=DEADLINE_S)
        services[1].wait_log(STANDS_BY, DEADLINE_S)
        servers.insert("before")
        _read_from_both(services, "before")
        (servers.source if which == "source" else servers.storage).restart()
        servers.insert("after")
        _read_from_both(services, "after")
        for service in services:
            assert service.running
            assert "was ended by" not in service.log
            assert "Traceback" not in service.log
    finally:
        codes = [service.stop() for service in services]
    assert codes == [0, 0]


def _read_from_both(services: list[ServiceProcess], row_id: str) -> None:
    """A row reaches a client of each node. A stream may end for want of storage: clients come again."""

    def arrives(service: ServiceProcess) -> bool:
        try:
            with open_stream(service.port) as stream:
                if stream.status != 200:
                    return False
                stream.until(row_id)
        except OSError:
            return False
        return True

    for service in services:
        eventually_sync(lambda service=service: arrives(service), timeout_s=DEADLINE_S, what=f"{row_id} arrives")


def test_a_tree_of_processes_takes_over_and_wakes_its_streams(
    make_service: MakeService, source: ScratchDatabase
) -> None:
    """The stand-by's workers hear of checkpoints from Postgres while it stands by, and from their own replicator then."""
    storage = storage_of(source.dsn)
    first, second = make_service("first", storage=storage), make_service("second", storage=storage)
    first.start(timeout_s=DEADLINE_S)
    second.start(timeout_s=DEADLINE_S)
    second.wait_log(STANDS_BY, DEADLINE_S)
    pair = Pair(first, second, source)
    with open_stream(second.port) as stream:
        stream.until_complete()
        stream.until(pair.insert())
        kill_all(first)
        stream.until(pair.insert())
        eventually_sync(lambda: "replicates from now on" in second.log, timeout_s=DEADLINE_S)
        stream.until(pair.insert())
    first.start(timeout_s=DEADLINE_S)
    first.wait_log(STANDS_BY, DEADLINE_S)


@asynccontextmanager
async def reading(stream: Stream) -> AsyncGenerator[asyncio.Task[None]]:
    """The stream's next complete checkpoint, read in a thread."""
    task = asyncio.create_task(asyncio.to_thread(stream.until_complete))
    try:
        yield task
    finally:
        await asyncio.wait({task})


async def test_a_node_far_from_the_replicator_is_woken_by_notify(
    make_service: MakeService, source: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_of(source.dsn)
    replicating, serving = make_service("sync", storage=storage), make_service("api", workers=0, storage=storage)
    monkeypatch.setenv("PS_RUNNER_TYPE", "sync")
    await asyncio.to_thread(replicating.start, wait_ready=False)
    monkeypatch.setenv("PS_RUNNER_TYPE", "api")
    await asyncio.to_thread(serving.start, timeout_s=DEADLINE_S)
    listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syncline wake-ups' AND datname = current_database()"
    await eventually(lambda: source.execute(listening) == [(1,)], timeout_s=DEADLINE_S)
    with open_stream(serving.port) as stream:
        await asyncio.to_thread(stream.until_complete)
        async with reading(stream) as task:
            source.execute("INSERT INTO lists VALUES ('a', 'x', 'u1')")
            await asyncio.wait_for(asyncio.shield(task), DEADLINE_S)
        # Without the wake-ups, the look at storage each second is enough.
        source.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncline wake-ups'"
        )
        async with reading(stream) as task:
            source.execute("INSERT INTO lists VALUES ('b', 'x', 'u1')")
            await asyncio.wait_for(asyncio.shield(task), DEADLINE_S)
    await eventually(lambda: source.execute(listening) == [(1,)], timeout_s=DEADLINE_S, what="it listens again")
