from __future__ import annotations

import asyncio
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from syncline.client import BackendConnector, Credentials, SyncDatabase, get_database, reset_database
from syncline.client.core.status import Role, SyncState
from syncline.client.errors import AccountChanged, DatabaseClosed, DatabaseNotInitialized, PeerIsSyncing, PendingWrites
from syncline.client.sync_manager import ManagerState, SyncManager
from syncline.client.sync_role import RoleLock
from syncline.testing.waiting import eventually
from tests.integration.client.conftest import SCHEMA
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

DEADLINE_S = 15.0
SEED = int(os.environ.get("SYNCLINE_SEED", random.randrange(1 << 30)))
FAST: dict[str, Any] = {"retry_delay_s": 0.05, "upload_throttle_s": 0.0}


def lines_of(user_id: str) -> list[dict[str, Any]]:
    """A whole sync with one row, which names the user."""
    ops = [put(1, "lists", f"list-of-{user_id}", name=user_id)]
    name = f'1#lists["{user_id}"]'
    return [checkpoint(1, bucket(name, ops)), data(name, ops), complete(1)]


class Account(BackendConnector):
    """The backend of one session: who is signed in can change under the client, as a browser's cookie can."""

    def __init__(self, service: ScriptedService, user_id: str | None, *, tells: bool = True) -> None:
        self._service = service
        self.user_id = user_id
        self._tells = tells
        self.uploaded: list[tuple[str | None, str]] = []
        self.lines: list[dict[str, Any]] | None = None  # instead of the user's whole sync

    async def fetch_credentials(self) -> Credentials | None:
        if self.user_id is None:
            return None
        self._service.lines = lines_of(self.user_id) if self.lines is None else self.lines
        return Credentials(self._service.url, f"token-{self.user_id}", user_id=self.user_id if self._tells else None)

    async def upload_data(self, db: SyncDatabase) -> None:
        transaction = await db.get_next_crud_transaction()
        if transaction is not None:
            self.uploaded += [(self.user_id, entry.id) for entry in transaction.crud]
            await transaction.complete()


async def names(db: SyncDatabase) -> list[Any]:
    return [row["name"] for row in await db.get_all("SELECT name FROM lists ORDER BY id")]


async def is_of(db: SyncDatabase, user_id: str) -> bool:
    """Whether the device shows a user's rows; at every moment they are the owner's, and nobody else's."""
    rows = await db.get_all(
        "SELECT name, (SELECT value FROM ps_kv WHERE key = 'py_account') AS owner, (SELECT count(*) FROM ps_oplog) AS ops"
        " FROM lists"
    )
    for row in rows:
        assert (row["name"], row["ops"]) == (row["owner"], 1)
    return [row["name"] for row in rows] == [user_id]


async def shows(db: SyncDatabase, *expected: str) -> None:
    async def is_so() -> bool:
        return await names(db) == list(expected)

    await eventually(is_so, timeout_s=DEADLINE_S, what=f"the device shows {expected}")


@pytest.mark.requirement(63, 234)
async def test_credentials_of_another_user_clear_the_file_before_anything_is_exchanged(
    db: SyncDatabase, service: ScriptedService
) -> None:
    account = Account(service, "alice")
    await db.connect(account, **FAST)
    await shows(db, "alice")
    assert await db.get_user_id() == "alice"
    await db.execute("INSERT INTO drafts(id, body) VALUES ('d', 'x')")
    version = db.version
    account.user_id = "bob"
    service.refuse = [401]  # alice's session is over: the client fetches credentials again
    service.end()
    await shows(db, "bob")
    assert (await db.get_user_id(), db.version) == ("bob", version + 1)
    assert [headers["authorization"] for headers in service.headers][-1] == "Token token-bob"
    assert service.requests[-1].get("buckets", []) == []  # not a position of alice's
    assert len(await db.get_all("SELECT * FROM drafts")) == 1


@pytest.mark.requirement(63, 234)
async def test_another_users_token_that_is_fetched_ahead_does_not_join_the_open_stream(
    db: SyncDatabase, service: ScriptedService
) -> None:
    account = Account(service, "alice")
    await db.connect(account, **FAST)
    await shows(db, "alice")
    account.user_id = "bob"
    service.send({"token_expires_in": 20})  # the client fetches the next token while the stream is open
    await eventually(lambda: len(service.requests) == 2, timeout_s=DEADLINE_S)
    await shows(db, "bob")
    assert (await db.get_user_id(), db.version) == ("bob", 2)
    await db.execute("INSERT INTO lists(id, name) VALUES ('m', 'mine')")
    await eventually(lambda: account.uploaded == [("bob", "m")], timeout_s=DEADLINE_S)


async def test_disconnecting_while_another_users_token_arrives_wins(db: SyncDatabase, service: ScriptedService) -> None:
    leaving: list[asyncio.Task[None]] = []

    class Leaving(Account):
        async def fetch_credentials(self) -> Credentials | None:
            if self.user_id == "bob":
                leaving.append(
                    asyncio.create_task(db.disconnect())
                )  # before the client has looked at whose token it is
            return await super().fetch_credentials()

    account = Leaving(service, "alice")
    await db.connect(account, **FAST)
    await shows(db, "alice")
    account.user_id = "bob"
    service.end()
    service.refuse = [401]
    await eventually(lambda: leaving, timeout_s=DEADLINE_S)
    await asyncio.gather(*leaving)
    asked = len(service.requests)
    await eventually(lambda: not db._account_changes, timeout_s=DEADLINE_S)
    assert (await db.get_user_id(), await names(db)) == ("alice", ["alice"])
    assert len(service.requests) == asked
    assert not db.current_status.connected


@pytest.mark.requirement(63, 234)
async def test_pending_writes_of_one_user_are_never_sent_as_another(db: SyncDatabase, service: ScriptedService) -> None:
    account = Account(service, "alice")
    await db.connect(account, **FAST)
    await shows(db, "alice")
    await db.disconnect()
    await db.execute("INSERT INTO lists(id, name) VALUES ('m', 'mine')")
    account.user_id = "bob"
    await db.connect(account, **FAST)
    status = await db.wait_for_status(lambda now: isinstance(now.download_error, PendingWrites), DEADLINE_S)
    assert not status.connected
    assert account.uploaded == []
    assert await names(db) == ["alice", "mine"]
    account.user_id = "alice"
    await db.connect(account, **FAST)
    await eventually(lambda: account.uploaded == [("alice", "m")], timeout_s=DEADLINE_S)


@pytest.mark.requirement(63)
async def test_an_app_that_knows_the_user_is_told_of_pending_writes_by_connect(
    db: SyncDatabase, service: ScriptedService
) -> None:
    await db.connect(Account(service, "alice", tells=False), user_id="alice", **FAST)
    await shows(db, "alice")
    await db.disconnect()
    await db.execute("INSERT INTO lists(id, name) VALUES ('m', 'mine')")
    bob = Account(service, "bob", tells=False)
    with pytest.raises(PendingWrites):
        await db.connect(bob, user_id="bob", **FAST)
    assert await names(db) == ["alice", "mine"]
    await db.disconnect_and_clear(discard_pending=True)
    await db.connect(bob, user_id="bob", **FAST)
    await shows(db, "bob")
    assert bob.uploaded == []


@pytest.mark.requirement(63)
async def test_an_apps_own_ids_need_not_be_those_of_its_tokens(db: SyncDatabase, service: ScriptedService) -> None:
    for _ in range(2):
        await db.connect(Account(service, "alice"), user_id="42", **FAST)
        await shows(db, "alice")
    assert (db.version, await db.get_user_id()) == (1, "42")
    await db.connect(Account(service, "bob"), user_id="42", **FAST)  # the app is wrong: the token decides
    await shows(db, "bob")
    assert (db.version, await db.get_user_id()) == (2, "42")


@pytest.mark.requirement(63)
async def test_writes_from_before_the_first_sign_in_are_the_users(db: SyncDatabase, service: ScriptedService) -> None:
    await db.execute("INSERT INTO lists(id, name) VALUES ('m', 'mine')")
    account = Account(service, "alice")
    await db.connect(account, **FAST)
    await eventually(lambda: account.uploaded == [("alice", "m")], timeout_s=DEADLINE_S)


@pytest.mark.requirement(59, 58)
async def test_resetting_closes_and_forgets_every_open_database_and_keeps_the_files(
    db: SyncDatabase, service: ScriptedService, tmp_path: Path
) -> None:
    await db.connect(Account(service, "alice"), **FAST)
    await shows(db, "alice")
    other = SyncDatabase(tmp_path / "other.db", schema=SCHEMA)
    await other.init()
    assert get_database() is other
    await reset_database()
    with pytest.raises(DatabaseNotInitialized):
        get_database()
    with pytest.raises(DatabaseClosed):
        await names(db)
    await eventually(lambda: service.open_streams == 0, timeout_s=DEADLINE_S)
    await reset_database()
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as again:
        assert await names(again) == ["alice"]
        assert get_database() is again


@pytest.mark.requirement(54)
async def test_opening_twice_at_once_opens_once_and_a_cancelled_opening_leaves_nothing(tmp_path: Path) -> None:
    before = writers()
    db = SyncDatabase(tmp_path / "app.db", schema=SCHEMA)
    await asyncio.gather(db.init(), db.init(), db.init())
    assert len(writers() - before) == 1
    await db.close()
    for steps in (1, 5, 20, 80):
        late = SyncDatabase(tmp_path / f"late-{steps}.db", schema=SCHEMA)
        opening = asyncio.create_task(late.init())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await late.init()  # begins anew, or was done
        assert await names(late) == []
        await asyncio.gather(late.close(), late.close())
    closing = SyncDatabase(tmp_path / "closing.db", schema=SCHEMA)
    opening = asyncio.create_task(closing.init())
    await asyncio.sleep(0)
    await closing.close()  # while it opens
    for attempt in (opening, closing.init()):
        with pytest.raises(DatabaseClosed):
            await attempt
    await eventually(lambda: writers() <= before, timeout_s=DEADLINE_S, what="all threads have ended")


def writers() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith("syncline-writer")}


@pytest.mark.requirement(64)
async def test_watches_and_whoever_follows_the_version_see_that_the_data_were_cleared(
    db: SyncDatabase, service: ScriptedService
) -> None:
    await db.connect(Account(service, "alice"), **FAST)
    await shows(db, "alice")
    async with asyncio.timeout(DEADLINE_S):
        versions, rows = db.version_changes(), db.watch("SELECT name FROM lists")
        assert (await anext(versions), len(await anext(rows))) == (1, 1)
        await db.disconnect_and_clear()
        assert await anext(versions) == 2
        while await anext(rows):
            pass
    assert db.current_status.has_synced is False


@pytest.mark.requirement(61)
async def test_a_soft_clear_hides_the_data_and_brings_them_back_without_a_download(
    db: SyncDatabase, service: ScriptedService
) -> None:
    account = Account(service, "alice")
    await db.connect(account, **FAST)
    await shows(db, "alice")
    await db.disconnect_and_clear(soft=True)
    assert await names(db) == []
    assert await db.get_user_id() == "alice"  # what is hidden is still alice's
    await db.connect(account, **FAST)
    await eventually(lambda: len(service.requests) == 2, timeout_s=DEADLINE_S)
    assert service.requests[1]["buckets"] == [{"name": '1#lists["alice"]', "after": "1"}]
    await shows(db, "alice")


async def test_data_are_not_cleared_under_another_process_that_syncs_them(db: SyncDatabase, tmp_path: Path) -> None:
    await db.execute("INSERT INTO drafts(id, body) VALUES ('d', 'x')")
    await db.admit_user("alice")
    other = RoleLock(str(tmp_path / "app.db"))
    assert other.take()
    for attempt in (db.disconnect_and_clear(clear_local=True), db.admit_user("bob")):
        with pytest.raises(PeerIsSyncing):
            await attempt
    assert len(await db.get_all("SELECT * FROM drafts")) == 1
    await db.admit_user("alice")
    other.release()
    await db.admit_user("bob", clear_local=True)
    assert await db.get_all("SELECT * FROM drafts") == []


async def test_a_process_that_takes_over_does_not_sync_into_another_users_file(
    db: SyncDatabase, service: ScriptedService, tmp_path: Path
) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as peer:
        await db.connect(Account(service, "alice"), user_id="alice", **FAST)
        await shows(db, "alice")
        waiting = Account(service, "alice", tells=False)
        await peer.connect(waiting, user_id="alice", **FAST)  # its turn comes when the other one stops
        await peer.wait_for_status(lambda now: now.role is Role.PEER, DEADLINE_S)
        await db.execute("UPDATE ps_kv SET value = 'bob' WHERE key = 'py_account'")  # as if signed in here, and cleared
        asked = len(service.requests)
        await db.disconnect()
        status = await peer.wait_for_status(lambda now: isinstance(now.download_error, AccountChanged), DEADLINE_S)
        assert status.role is Role.OWNER
        assert len(service.requests) == asked


@pytest.mark.requirement(66, 75)
async def test_the_manager_goes_through_its_states_and_refreshes(service: ScriptedService, tmp_path: Path) -> None:
    told: list[ManagerState] = []
    account = Account(service, "alice")
    async with SyncManager(
        lambda: SyncDatabase(tmp_path / "app.db", schema=SCHEMA),
        lambda user_id: account,
        connect_options={**FAST, "checkpoint_mode": "legacy"},
    ) as manager:
        manager.register_listener(told.append)
        account.lines = lines_of("alice")[:1]
        manager.set_user("alice")
        await manager.wait_for(lambda now: now.state is SyncState.SYNCING, timeout_s=DEADLINE_S)
        service.send(*lines_of("alice")[1:])
        state = await manager.wait_for(lambda now: now.state is SyncState.SYNCED, timeout_s=DEADLINE_S)
        assert (state.user_id, state.error, state.pending_changes) == ("alice", None, 0)
        assert state.last_synced_at is not None
        states = [now.state for now in told if now.user_id]
        assert states[0] is SyncState.CONNECTING
        assert SyncState.ERROR not in states

        async def answer(number: int) -> None:
            service.send(checkpoint(1, write_checkpoint=str(number)), complete(1))

        service.on_write_checkpoint = answer
        asked = service.write_checkpoints
        await manager.trigger_sync(timeout_s=DEADLINE_S)
        assert service.write_checkpoints == asked + 1
        manager.set_user(None)
        assert manager.state.state is SyncState.OFFLINE
        await eventually(lambda: service.open_streams == 0, timeout_s=DEADLINE_S)


@pytest.mark.requirement(72)
async def test_a_service_that_refuses_is_the_state_error(service: ScriptedService, tmp_path: Path) -> None:
    service.refuse = [403] * 50
    account = Account(service, "alice")
    async with SyncManager(
        lambda: SyncDatabase(tmp_path / "app.db", schema=SCHEMA), account, connect_options=FAST
    ) as manager:
        manager.set_user("alice")
        state = await manager.wait_for(lambda now: now.state is SyncState.ERROR, timeout_s=DEADLINE_S)
        assert state.error is not None
        service.refuse = []
        await manager.wait_for(lambda now: now.state is SyncState.SYNCED, timeout_s=DEADLINE_S)


@pytest.mark.requirement(250)
@pytest.mark.parametrize("run", range(60 if os.environ.get("SYNCLINE_SOAK") == "1" else 6))
async def test_users_that_come_and_go_never_see_each_other(run: int, service: ScriptedService, tmp_path: Path) -> None:
    """Random sign-ins and sign-outs while streams open, with all that the client does in between; nobody sees a foreign row."""
    seed = SEED + run
    print(f"seed {seed}; replay with SYNCLINE_SEED={seed}")
    draw = random.Random(seed)
    accounts = {user_id: Account(service, user_id) for user_id in ("alice", "bob", "carol")}
    async with SyncManager(
        lambda: SyncDatabase(tmp_path / "app.db", schema=SCHEMA),
        accounts.__getitem__,
        connect_options=FAST,
    ) as manager:
        for _ in range(10):
            user_id = draw.choice([None, *accounts])
            manager.set_user(user_id)
            if user_id is not None and draw.random() < 0.5:
                db = await manager.initialized(timeout_s=DEADLINE_S)
                await eventually(lambda db=db, user_id=user_id: is_of(db, user_id), timeout_s=DEADLINE_S)
            else:
                for _ in range(draw.choice([0, 2, 20, 100])):
                    await asyncio.sleep(0)
        manager.set_user("carol")
        db = await manager.initialized(timeout_s=DEADLINE_S)
        await eventually(lambda: is_of(db, "carol"), timeout_s=DEADLINE_S)
        await manager.wait_for(lambda now: now.state is SyncState.SYNCED, timeout_s=DEADLINE_S)
    for request, headers in zip(service.requests, service.headers, strict=True):
        user_id = headers["authorization"].removeprefix("Token token-")
        assert all(entry["name"] == f'1#lists["{user_id}"]' for entry in request.get("buckets", []))
