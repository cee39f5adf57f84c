"""The official JavaScript SDKs, unchanged, over each transport: `@powersync/node` in Node and `@powersync/web` in Chromium."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from syncline.testing.proxy import Direction, FaultyProxy
from syncline.testing.service_process import token
from syncline.testing.waiting import eventually
from tests.interop.sdk_device import WAIT_S, SdkDevice
from tests.interop.sync_stack import ITEM_COUNTS, SyncStack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

NAMES = "SELECT name FROM lists ORDER BY name"
ITEMS = "SELECT id, owner_id, label, amount, price, weight, is_open, made_at, details FROM items ORDER BY id"


@pytest.mark.requirement(187, 211)
async def test_the_first_sync_brings_every_row_by_value_and_a_high_priority_before_a_low_one(
    large_device: SdkDevice, stack: SyncStack
) -> None:
    sdk, owner = large_device.sdk, "many"
    await large_device.connect(owner)
    took = await sdk.ask("firstSync")
    print(f"first sync of {ITEM_COUNTS[owner]} rows: {ITEM_COUNTS[owner] / took['tookMs'] * 1000:.0f} rows/s")
    expected = stack.items_of(owner)
    assert len(expected) == ITEM_COUNTS[owner]
    assert [tuple(row.values()) for row in await sdk.rows(ITEMS)] == expected
    assert await sdk.rows("SELECT id, name, owner_id FROM lists ORDER BY id") == stack.lists_of(owner)
    early = [status for status in await sdk.ask("statuses") if status["rows"] is not None]
    assert early == [{"synced": False, "priorities": {"1": True}, "rows": {"lists": 3, "items": 0}}]


async def test_changes_in_postgres_reach_the_open_device(device: SdkDevice, stack: SyncStack, user: str) -> None:
    key = stack.add_list(user, "one")
    await device.synced(user)
    await device.sdk.until(NAMES, [{"name": "one"}])
    stack.add_list("somebody-else", "not theirs")
    stack.source.execute("UPDATE lists SET name = 'first' WHERE id = %s", (key,))
    await device.sdk.until(NAMES, [{"name": "first"}])
    stack.source.execute(
        "WITH added AS (INSERT INTO lists SELECT gen_random_uuid(), 'row ' || i, %s FROM generate_series(1, 1000) i) "
        "DELETE FROM lists WHERE id = %s",
        (user, key),
    )
    await device.sdk.until("SELECT count(*) AS n, min(name) AS first FROM lists", [{"n": 1000, "first": "row 1"}])
    assert await device.sdk.rows("SELECT id, name, owner_id FROM lists ORDER BY id") == stack.lists_of(user)
    stack.source.execute("DELETE FROM lists WHERE owner_id = %s", (user,))
    await device.sdk.until("SELECT count(*) AS n FROM lists", [{"n": 0}])


async def test_a_subscription_brings_its_rows_and_takes_them_along_when_its_time_is_over(
    device: SdkDevice, stack: SyncStack, user: str
) -> None:
    short, long = stack.add_list(user, "short"), stack.add_list(user, "long")
    stack.add_todo(short, "in the short one")
    stack.add_todo(long, "in the long one")
    await device.synced(user)
    assert await device.sdk.rows("SELECT * FROM todos") == []
    await device.sdk.ask("subscribe", stream="todos", parameters={"list": short}, ttl=1, priority=1)
    await device.sdk.ask("subscribe", stream="todos", parameters={"list": long}, ttl=3600)
    descriptions = "SELECT description FROM todos ORDER BY description"
    stack.add_todo(long, "later")
    await device.sdk.until(
        descriptions, [{"description": one} for one in ("in the long one", "in the short one", "later")]
    )
    standing = await device.sdk.ask("stream", stream="todos", parameters={"list": short})
    assert (standing["active"], standing["hasSynced"], standing["priority"]) == (True, True, 1)

    for key in (short, long):
        await device.sdk.ask("unsubscribe", stream="todos", parameters={"list": key})

    # The layout is the field's (docs/reference/client-sqlite.md): microseconds since the epoch.
    times = f"SELECT expires_at FROM ps_stream_subscriptions WHERE local_params LIKE '%{short}%'"

    async def is_over() -> bool:
        return all(row["expires_at"] < time.time() * 1e6 for row in await device.sdk.rows(times))

    await eventually(is_over, timeout_s=WAIT_S)
    await device.sdk.ask("disconnect")
    await device.connect(user)
    await device.sdk.until(descriptions, [{"description": "in the long one"}, {"description": "later"}])
    assert await device.sdk.ask("stream", stream="todos", parameters={"list": short}) is None


@pytest.mark.parametrize("mode", ["legacy", "requests"])
async def test_a_local_write_is_read_at_once_and_never_leaves_until_the_server_confirms_it(
    device: SdkDevice, stack: SyncStack, user: str, mode: str
) -> None:
    stack.add_list(user, "theirs")
    await device.synced(user, checkpointMode=mode)
    key = str(uuid.uuid4())
    await device.sdk.ask("record", name="row", sql=f"SELECT name, owner_id FROM lists WHERE id = '{key}'")
    read = await device.sdk.ask(
        "writeThenRead",
        write=f"INSERT INTO lists (id, name) VALUES ('{key}', 'mine')",
        read=f"SELECT name, owner_id FROM lists WHERE id = '{key}'",
    )
    assert read == [{"name": "mine", "owner_id": None}]
    for number in range(5):  # the bucket moves while the upload is under way
        stack.add_list(user, f"meanwhile {number}")
    # The owner is the backend's addition. It is seen once the write checkpoint has opened the device's gate.
    await device.sdk.until(
        "SELECT name, owner_id FROM lists ORDER BY name",
        [
            {"name": name, "owner_id": user}
            for name in sorted(["mine", "theirs", *(f"meanwhile {n}" for n in range(5))])
        ],
    )
    assert await device.sdk.ask("queue") == 0
    assert await device.sdk.ask("uploads") == ["success"]
    assert stack.source.execute("SELECT name, owner_id FROM lists WHERE id = %s", (key,)) == [("mine", user)]
    seen = await device.sdk.ask("recorded", name="row")
    since_written = seen[seen.index([{"name": "mine", "owner_id": None}]) :]
    assert since_written[-1] == [{"name": "mine", "owner_id": user}]
    assert all(rows and rows[0]["name"] == "mine" for rows in since_written)  # never gone, not for a moment
    if mode == "requests":
        await device.sdk.ask("requestCheckpoint")


async def test_a_write_that_the_backend_refuses_is_undone(device: SdkDevice, stack: SyncStack, user: str) -> None:
    stack.add_list(user, "mine")
    foreign = stack.add_list("somebody-else", "not theirs")
    await device.synced(user)
    await device.sdk.ask("execute", sql=f"INSERT INTO lists (id, name) VALUES ('{foreign}', 'taken over')")

    await eventually(device.has_uploaded, timeout_s=WAIT_S)
    assert await device.sdk.ask("uploads") == ["fatal_error"]
    assert stack.source.execute("SELECT name FROM lists WHERE id = %s", (foreign,)) == [("not theirs",)]
    await device.sdk.until(NAMES, [{"name": "mine"}])


async def test_tokens_that_are_expired_or_expire_in_the_stream_are_replaced(
    device: SdkDevice, stack: SyncStack, user: str
) -> None:
    early, late = f"early-{user}", f"late-{user}"
    stack.source.execute(
        "INSERT INTO notes SELECT gen_random_uuid(), c || ' ' || t, c, t FROM unnest(ARRAY[%s, %s]) c, unnest(ARRAY['t', 'u']) t",
        (early, late),
    )
    tokens = [
        token(user, lifetime_s=-600, channel=early),  # refused when the stream is opened
        token(
            user, lifetime_s=10, channel=early
        ),  # ends in the open stream; time enough to sync first on a busy machine
        "",  # the new one, asked for ahead of that, cannot be had
        token(user, channel=late),
    ]
    await device.sdk.ask("record", name="notes", sql="SELECT text FROM notes")
    await device.connect(user, tokens=tokens, params={"tag": "t"})
    await device.sdk.until("SELECT text FROM notes", [{"text": f"{late} t"}])
    seen = [rows for rows in await device.sdk.ask("recorded", name="notes") if rows]
    assert seen[0] == [{"text": f"{early} t"}]
    assert seen[-1] == [{"text": f"{late} t"}]
    assert await device.sdk.ask("fetches") >= 4
    stack.source.execute("UPDATE notes SET text = 'changed' WHERE channel = %s AND tag = 't'", (late,))
    await device.sdk.until("SELECT text FROM notes", [{"text": "changed"}])
    assert await device.is_connected()


async def test_a_connection_that_is_cut_in_the_download_and_later_goes_on(
    large_device: SdkDevice, stack: SyncStack, transport: str
) -> None:
    sdk, owner = large_device.sdk, "some"
    async with FaultyProxy("127.0.0.1", stack.service.port) as proxy:
        cut = proxy.cut_after(Direction.TO_CLIENT, bytes_count=50_000)
        await large_device.synced(owner, endpoint=proxy.url)
        assert cut.is_set()
        assert [tuple(row.values()) for row in await sdk.rows(ITEMS)] == stack.items_of(owner)
        assert_transport(proxy, transport)
        assert proxy.cut() > 0
        key = stack.add_list(owner, "after the cut")
        await sdk.until(f"SELECT name FROM lists WHERE id = '{key}'", [{"name": "after the cut"}])
        await sdk.ask("disconnect")


def assert_transport(proxy: FaultyProxy, transport: str) -> None:
    """What went over the wire is what was asked for: BSON over HTTP, or a WebSocket."""
    openings = [bytes(one.sent).lower() for one in proxy.connections if b"/sync/stream" in one.sent]
    answers = [bytes(one.received).lower() for one in proxy.connections if b"/sync/stream" in one.sent]
    assert openings
    if transport == "websocket":
        assert all(b"upgrade: websocket" in opening for opening in openings)
        return
    assert not any(b"upgrade: websocket" in opening for opening in openings)
    assert all(b"content-type: application/vnd.powersync.bson-stream" in answer for answer in answers)


async def test_the_device_goes_on_after_the_service_was_killed(device: SdkDevice, stack: SyncStack, user: str) -> None:
    stack.add_list(user, "before")
    await device.synced(user)
    stack.service.kill()
    await eventually(device.is_cut, timeout_s=WAIT_S)
    await device.sdk.ask("execute", sql="INSERT INTO lists (id, name) VALUES (uuid(), 'written offline')")
    stack.add_list(user, "while it was away")
    await asyncio.to_thread(stack.service.start, timeout_s=WAIT_S * 2)
    wanted = [{"name": name, "owner_id": user} for name in ("before", "while it was away", "written offline")]
    await device.sdk.until("SELECT name, owner_id FROM lists ORDER BY name", wanted)
    assert await device.is_connected()


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
async def test_another_account_sees_only_its_own_rows(
    device: SdkDevice, stack: SyncStack, user: str, soft: bool
) -> None:
    other = f"other-{user}"
    stack.add_list(user, f"list of {user}")
    stack.add_list(other, f"list of {other}")
    await device.synced(user)
    assert await device.sdk.rows(NAMES) == [{"name": f"list of {user}"}]
    await device.sdk.ask("disconnectAndClear", soft=soft)
    assert await device.sdk.rows(NAMES) == []
    await device.synced(other)
    assert await device.sdk.rows(NAMES) == [{"name": f"list of {other}"}]
    kept = await device.sdk.rows(f"SELECT count(*) AS n FROM ps_oplog WHERE data LIKE '%list of {user}%'")
    if not soft:
        assert kept == [{"n": 0}]
    stack.add_list(user, "news of the first account")
    stack.add_list(other, "news of the second")
    await device.sdk.until(NAMES, [{"name": f"list of {other}"}, {"name": "news of the second"}])
    await device.sdk.ask("disconnectAndClear", soft=soft)
    await device.synced(user)
    assert await device.sdk.rows(NAMES) == [{"name": f"list of {user}"}, {"name": "news of the first account"}]
