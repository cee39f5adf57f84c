"""Several processes on one file: one syncs, all read, write and watch, and the next one takes over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.client.core.status import Role
from syncline.client.sync_role import RoleLock
from syncline.client.sync_sharing import SharedStateFile
from syncline.testing.waiting import eventually
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

DEADLINE_S = 30.0
PROGRAM = Path(__file__).with_name("peer_process.py")
SCHEMA = Schema([Table("lists", [Column.text("name")])])
ROWS = [put(1, "lists", "l1", name="Groceries")]
WHOLE = [checkpoint(1, bucket("1#a[]", ROWS)), data("1#a[]", ROWS), complete(1)]
NAMES = "SELECT name FROM lists ORDER BY name"


class Peer:
    """Another process on the file."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, *command: Any) -> dict[str, Any]:
        self.tell(*command)
        return await self.answer()

    def tell(self, *command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), DEADLINE_S)
        assert line, "the process has ended"
        return json.loads(line)

    async def end(self) -> None:
        """As a program ends: in good order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert await asyncio.wait_for(self.process.wait(), DEADLINE_S) == 0

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@pytest.fixture
async def peer(db: SyncDatabase, service: ScriptedService, tmp_path: Path) -> AsyncGenerator[Peer]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        str(tmp_path / "app.db"),
        service.url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    running = Peer(process)
    try:
        assert await running.answer() == {"ready": True}
        yield running
    finally:
        await running.kill()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with asyncio.timeout(90), SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


async def queue_is_empty(db: SyncDatabase) -> bool:
    return (await db.get_upload_queue_stats()).count == 0


@pytest.mark.requirement(69, 99)
async def test_one_process_syncs_and_all_see_rows_writes_and_status(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, peer: Peer
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=0.05)
    assert await peer.ask("connect") == {"role": "peer"}
    assert db.current_status.role is Role.OWNER
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    # Rows and status go to the peer.
    assert await peer.ask("synced") == {"synced": True}
    assert await peer.ask("connected", True) == {"connected": True}
    assert service.open_streams == 1
    peer.tell("watch")
    assert await peer.answer() == {"watched": ["Groceries"]}
    await db.execute("INSERT INTO lists(id, name) VALUES ('x', 'Work')")
    assert await peer.answer() == {"watched": ["Groceries", "Work"]}
    # Writes of the peer are seen here, and go through our upload queue.
    await eventually(lambda: queue_is_empty(db), timeout_s=DEADLINE_S)
    watch = db.watch(NAMES, throttle_s=0)
    await anext(watch)
    peer.tell("write", "Peer")
    async with asyncio.timeout(DEADLINE_S):
        while "Peer" not in [row["name"] for row in await anext(watch)]:
            pass
    await eventually(lambda: queue_is_empty(db), timeout_s=DEADLINE_S)
    uploaded = [
        entry for body in service.uploads for transaction in body["transactions"] for entry in transaction["crud"]
    ]
    assert [entry["op_data"]["name"] for entry in uploaded] == ["Work", "Peer"]


@pytest.mark.requirement(69)
@pytest.mark.parametrize("how", ["end", "kill"])
async def test_a_peer_takes_over_when_the_owner_ends(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, peer: Peer, how: str
) -> None:
    service.lines = WHOLE
    assert await peer.ask("connect") == {"role": "owner"}
    await db.connect(connector, retry_delay_s=0.05)
    assert db.current_status.role is Role.PEER
    await db.wait_for_status(lambda status: status.connected, DEADLINE_S)  # the owner's connection, as it told
    before = len(service.requests)
    await (peer.end() if how == "end" else peer.kill())
    await db.wait_for_status(lambda status: status.role is Role.OWNER, DEADLINE_S)
    await eventually(lambda: len(service.requests) > before, timeout_s=DEADLINE_S)
    await db.wait_for_status(lambda status: status.connected, DEADLINE_S)
    assert service.requests[-1]["client_id"] == await db.get_client_id()


@pytest.mark.requirement(69, 74)
async def test_a_peer_sees_why_the_owner_does_not_show_what_it_has(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, peer: Peer
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=0.05)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert await peer.ask("connect") == {"role": "peer"}
    assert (await peer.ask("blocked", None))["blocked"] is None
    # The backend has the write, the source's checkpoints do not hold it yet.
    await peer.ask("write", "Peer")
    await eventually(lambda: service.write_checkpoints == 1, timeout_s=DEADLINE_S)
    service.send(checkpoint(1, bucket("1#a[]", ROWS)), complete(1))
    assert await peer.ask("blocked", "write_checkpoint") == {"blocked": "write_checkpoint", "state": "syncing"}
    service.send(checkpoint(2, bucket("1#a[]", ROWS), write_checkpoint="1"), complete(2))
    assert (await peer.ask("blocked", None))["blocked"] is None
    # The owner's app keeps a transaction open.
    db.set_transaction_limits(warn_after_s=0.05)
    async with db.write_transaction() as tx:
        await tx.execute("INSERT INTO lists(id, name) VALUES ('open', 'x')")
        assert (await peer.ask("blocked", "open transaction"))["blocked"] == "open transaction"
    # A reason goes with the owner whose it was.
    await eventually(lambda: service.write_checkpoints == 2, timeout_s=DEADLINE_S)
    service.send(checkpoint(3, bucket("1#a[]", ROWS)), complete(3))
    assert (await peer.ask("blocked", "write_checkpoint"))["blocked"] == "write_checkpoint"
    service.lines = [checkpoint(4, bucket("1#a[]", ROWS), write_checkpoint="2"), complete(4)]
    await db.disconnect()
    assert await peer.ask("role", "owner") == {"role": "owner"}
    assert (await peer.ask("blocked", None))["blocked"] is None


async def test_an_owner_without_a_network_is_offline_to_its_peers_too(db: SyncDatabase, peer: Peer) -> None:
    await db.connect(HttpConnector("http://127.0.0.1:9"), retry_delay_s=0.05)
    await db.wait_for_status(lambda status: status.download_error is not None, DEADLINE_S)
    assert db.current_status.state == "offline"
    assert await peer.ask("connect") == {"role": "peer"}
    seen = await peer.ask("failed")
    assert seen["state"] == "offline"
    assert seen["error"] == str(db.current_status.error)


@pytest.mark.requirement(69)
async def test_any_process_switches_sync_off_and_on(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, peer: Peer
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=0.05)
    await db.wait_for_status(lambda status: status.connected, DEADLINE_S)
    await peer.ask("enable", False)  # without having connected itself
    await db.wait_for_status(lambda status: not status.connected, DEADLINE_S)
    await eventually(lambda: service.open_streams == 0, timeout_s=DEADLINE_S)
    assert await peer.ask("connect") == {"role": "peer"}  # the role stays where it is
    await peer.ask("enable", True)
    await db.wait_for_status(lambda status: status.connected, DEADLINE_S)
    await db.set_sync_enabled(False)
    assert await peer.ask("connected", False) == {"connected": False}
    await eventually(lambda: service.open_streams == 0, timeout_s=DEADLINE_S)
    await db.set_sync_enabled(True)
    assert await peer.ask("connected", True) == {"connected": True}


@pytest.mark.requirement(69)
async def test_a_subscription_of_a_peer_reaches_the_service(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, peer: Peer
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=0.05)
    await db.wait_for_status(lambda status: status.connected, DEADLINE_S)
    await peer.ask("subscribe", "mine")

    def asked() -> bool:
        return any(
            entry["stream"] == "mine" for request in service.requests for entry in request["streams"]["subscriptions"]
        )

    await eventually(asked, timeout_s=DEADLINE_S)


@pytest.mark.requirement(64, 69)
async def test_a_peer_hears_that_the_data_were_cleared(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, peer: Peer
) -> None:
    service.lines = WHOLE
    assert await peer.ask("version", 1) == {"version": 1}
    peer.tell("watch")
    assert await peer.answer() == {"watched": []}
    await db.connect(connector, retry_delay_s=0.05)
    assert await peer.answer() == {"watched": ["Groceries"]}
    assert await peer.ask("synced") == {"synced": True}  # it has looked at the file since
    assert await peer.ask("version", 1) == {"version": 1}
    peer.tell("version", 2)
    await db.disconnect_and_clear()
    answers = [await peer.answer(), await peer.answer()]
    assert {"watched": []} in answers
    assert {"version": 2} in answers


@pytest.mark.requirement(69)
async def test_who_disconnects_gives_the_role_to_the_next(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, peer: Peer
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=0.05)
    assert await peer.ask("connect") == {"role": "peer"}
    await db.disconnect()
    assert db.current_status.role is None
    assert await peer.ask("role", "owner") == {"role": "owner"}
    assert await peer.ask("disconnect") == {"role": None}
    await db.connect(connector, retry_delay_s=0.05)
    assert db.current_status.role is Role.OWNER


async def test_two_databases_of_one_process_share_the_role_too(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    service.lines = WHOLE
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as second:
        await db.connect(connector, retry_delay_s=0.05)
        await second.connect(HttpConnector(service.url), retry_delay_s=0.05)
        assert (db.current_status.role, second.current_status.role) == (Role.OWNER, Role.PEER)
        watch = second.watch(NAMES, throttle_s=0)
        async with asyncio.timeout(DEADLINE_S):
            while [row["name"] for row in await anext(watch)] != ["Groceries"]:
                pass
        await second.disconnect()
    assert service.open_streams == 1


def test_the_lock_is_held_by_one_and_leaves_an_empty_file(tmp_path: Path) -> None:
    first, second = RoleLock(str(tmp_path / "a.db")), RoleLock(str(tmp_path / "a.db"))
    assert (first.take(), first.take(), second.take()) == (True, True, False)
    first.release()
    first.release()
    assert second.take() is True
    second.release()
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("a.db-sync-role", 0)]


def test_the_shared_state_is_what_was_written_last(tmp_path: Path) -> None:
    first, second = SharedStateFile(str(tmp_path / "a.db")), SharedStateFile(str(tmp_path / "a.db"))
    assert (second.exchange().status, second.exchange().enabled) == ({}, True)
    first.exchange(status={"connected": True})
    first.exchange(enabled=False)
    assert (second.exchange().status, second.exchange().enabled) == ({"connected": True}, False)
    first.close()
    first.close()
    second.close()
