"""Sync for plain code: connectors of plain functions, and windows that are not held up."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.client import Column, Credentials, Schema, Table
from syncline.client.blocking import BackendConnector, SyncDatabase
from syncline.client.blocking.loop_thread import LoopThread
from syncline.testing.waiting import eventually_sync
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put, serve

DEADLINE_S = 20.0
SCHEMA = Schema([Table("lists", [Column.text("name"), Column.integer("done")])])
INSERT = "INSERT INTO lists(id, name) VALUES (?, ?)"
NAMES = "SELECT name FROM lists ORDER BY id"


@pytest.fixture
def db(tmp_path: Path) -> Generator[SyncDatabase]:
    with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


def names(db: SyncDatabase) -> list[str]:
    return db.fetch(str, NAMES)


class ServiceThread:
    """The scripted service in a loop of its own."""

    def __init__(self) -> None:
        self.thread = LoopThread("service")
        self._running = serve()
        self.service: ScriptedService = self.thread.call(self._running.__aenter__)

    def close(self) -> None:
        async def leave() -> None:
            await self._running.__aexit__(None, None, None)

        self.thread.call(leave)
        self.thread.close()


@pytest.fixture
def service() -> Generator[ScriptedService]:
    running = ServiceThread()
    yield running.service
    running.close()


class Plain(BackendConnector):
    """A connector of plain functions."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.uploaded: list[str] = []
        self.threads: set[str] = set()

    def fetch_credentials(self) -> Credentials | None:
        self.threads.add(threading.current_thread().name)
        return Credentials(self.endpoint, "token")

    def upload_data(self, db: SyncDatabase) -> None:
        self.threads.add(threading.current_thread().name)
        for transaction in db.crud_transactions():
            self.uploaded += [entry.id for entry in transaction.crud]
            transaction.complete()


@pytest.mark.requirement(55, 68)
def test_it_syncs_with_a_plain_connector(db: SyncDatabase, service: ScriptedService) -> None:
    rows = [put(1, "lists", "l1", name="Groceries")]
    service.lines = [checkpoint(1, bucket("1#a[]", rows)), data("1#a[]", rows), complete(1)]
    connector = Plain(service.url)
    db.connect(connector, retry_delay_s=0.05)
    db.wait_for_first_sync(timeout=DEADLINE_S)
    assert names(db) == ["Groceries"]
    db.execute(INSERT, ["mine", "x"])
    eventually_sync(lambda: connector.uploaded == ["mine"], timeout_s=DEADLINE_S)
    eventually_sync(lambda: db.get_upload_queue_stats().count == 0, timeout_s=DEADLINE_S)
    assert connector.threads == {"syncline-connector"}
    with db.sync_stream("list", {"id": 1}).subscribe(ttl=5) as handle:
        assert handle.name == "list"
    db.disconnect()
    assert db.current_status.connected is False


@pytest.mark.requirement(68)
def test_the_thread_of_a_window_is_not_held_up_by_sync(db: SyncDatabase, service: ScriptedService) -> None:
    """What a window does 60 times a second goes on while sync takes in thousands of rows."""
    rows = [put(number + 1, "lists", f"r{number:05}", name="x" * 100) for number in range(20_000)]
    portions = [rows[start : start + 1000] for start in range(0, len(rows), 1000)]
    service.lines = [
        checkpoint(len(rows), bucket("1#a[]", rows)),
        *(data("1#a[]", portion) for portion in portions),
        complete(len(rows)),
    ]
    db.connect(Plain(service.url))
    late_s: list[float] = []
    deadline = time.monotonic() + 60
    while not db.current_status.has_synced:
        assert time.monotonic() < deadline
        begun = time.perf_counter()
        time.sleep(0.005)  # a frame
        late_s.append(time.perf_counter() - begun - 0.005)
    assert db.get("SELECT count(*) FROM lists")[0] == len(rows)
    late_s.sort()
    # The service runs in this process too, and the machine may be busy: a bound for the middle, none for the worst.
    assert late_s[len(late_s) // 2] < 0.05


class Hanging(Plain):
    """A call that hangs until the test lets it go."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.release = threading.Event()
        self.inside = threading.Event()

    def fetch_credentials(self) -> Credentials | None:
        self.inside.set()
        self.release.wait(DEADLINE_S)
        return super().fetch_credentials()


@pytest.mark.requirement(68)
def test_a_connector_that_hangs_holds_up_neither_the_data_nor_the_disconnect(
    db: SyncDatabase, service: ScriptedService
) -> None:
    connector = Hanging(service.url)
    db.connect(connector)
    assert connector.inside.wait(DEADLINE_S)
    begun = time.monotonic()
    db.execute(INSERT, ["a", "x"])
    assert names(db) == ["x"]
    db.disconnect()
    assert time.monotonic() - begun < DEADLINE_S / 2
    connector.release.set()
