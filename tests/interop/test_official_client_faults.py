"""Random writes on both sides while connections and the service fail: the official SDKs end up with the rows of Postgres."""

from __future__ import annotations

import asyncio
import os
import random
import uuid

import pytest
from psycopg.errors import DeadlockDetected

from syncline.testing.proxy import Direction, FaultyProxy
from syncline.testing.waiting import eventually
from tests.interop.sdk_device import WAIT_S, SdkDevice
from tests.interop.sync_stack import SyncStack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.soak]

SOAK = bool(os.environ.get("SYNCLINE_SOAK"))
STEPS = int(os.environ.get("SYNCLINE_SDK_STEPS") or (400 if SOAK else 20))
STEPS_TO_REST = 20  # steps between two comparisons
CUT_BYTES_MAX = 20_000  # a cut comes at some byte up to this, counted from its step
ROWS_AT_ONCE_MAX = 300
ROWS = "SELECT id, name, owner_id FROM lists ORDER BY id"


class Trouble:
    """One random step at a time; the same seed makes the same steps (what falls together in time is the machine's)."""

    def __init__(self, seed: int, device: SdkDevice, stack: SyncStack, proxy: FaultyProxy, user: str) -> None:
        self._random = random.Random(seed)
        self._device = device
        self._stack = stack
        self._proxy = proxy
        self._user = user
        self.done: list[str] = []

    async def step(self) -> None:
        """Do something."""
        steps = [
            (8, self.source_inserts),
            (6, self.source_changes),
            (4, self.source_deletes),
            (8, self.device_inserts),
            (6, self.device_changes),
            (3, self.device_deletes),
            (3, self.cut),
            (3, self.cut_later),
            (2, self.reconnect),
            (1 if SOAK else 0, self.kill_the_service),
        ]
        [chosen] = self._random.choices([step for _, step in steps], weights=[weight for weight, _ in steps])
        self.done.append(chosen.__name__)
        await chosen()

    async def source_inserts(self) -> None:
        count = self._random.randint(1, ROWS_AT_ONCE_MAX if self._random.random() < 0.2 else 3)
        await self._in_source(
            "INSERT INTO lists SELECT gen_random_uuid(), 'source ' || i, %s FROM generate_series(1, %s) i",
            (self._user, count),
        )

    async def source_changes(self) -> None:
        await self._in_source(
            "UPDATE lists SET name = name || '+' WHERE owner_id = %s AND id::text LIKE %s", (self._user, self._some())
        )

    async def source_deletes(self) -> None:
        await self._in_source("DELETE FROM lists WHERE owner_id = %s AND id::text LIKE %s", (self._user, self._some()))

    async def device_inserts(self) -> None:
        key = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        read = await self._device.sdk.ask(
            "writeThenRead",
            write=f"INSERT INTO lists (id, name, owner_id) VALUES ('{key}', 'device', '{self._user}')",
            read=f"SELECT name FROM lists WHERE id = '{key}'",
        )
        assert read == [{"name": "device"}]

    async def device_changes(self) -> None:
        await self._on_device(f"UPDATE lists SET name = name || '-' WHERE id LIKE '{self._some()}'")

    async def device_deletes(self) -> None:
        await self._on_device(f"DELETE FROM lists WHERE id LIKE '{self._some()}'")

    async def cut(self) -> None:
        self._proxy.cut()

    async def cut_later(self) -> None:
        direction = self._random.choice(list(Direction))
        self._proxy.cut_after(direction, bytes_count=self._random.randint(1, CUT_BYTES_MAX))

    async def reconnect(self) -> None:
        await self._device.sdk.ask("disconnect")
        await self._device.connect(self._user, endpoint=self._proxy.url)

    async def kill_the_service(self) -> None:
        self._stack.service.kill()
        await asyncio.to_thread(self._stack.service.start, timeout_s=WAIT_S)

    def _some(self) -> str:
        return f"%{self._random.randrange(16):x}"

    async def _in_source(self, statement: str, parameters: tuple[object, ...]) -> None:
        while True:
            try:
                await asyncio.to_thread(self._stack.source.execute, statement, parameters)
            except DeadlockDetected:  # with the backend's transaction of the device's writes, which went on instead
                continue
            return

    async def _on_device(self, statement: str) -> None:
        await self._device.sdk.ask("execute", sql=statement)


@pytest.mark.timeout(3600)
async def test_the_device_holds_the_rows_of_postgres_after_random_trouble(
    large_device: SdkDevice, stack: SyncStack, user: str
) -> None:
    seed = int(os.environ.get("SYNCLINE_SEED") or random.randrange(2**32))
    print(f"SYNCLINE_SEED={seed} SYNCLINE_SDK_STEPS={STEPS}")
    async with FaultyProxy("127.0.0.1", stack.service.port) as proxy:
        await large_device.synced(user, endpoint=proxy.url)
        trouble = Trouble(seed, large_device, stack, proxy, user)

        async def is_equal() -> bool:
            return await large_device.sdk.rows(ROWS) == await asyncio.to_thread(stack.lists_of, user)

        for number in range(1, STEPS + 1):
            await trouble.step()
            if number % STEPS_TO_REST == 0 or number == STEPS:
                await eventually(large_device.has_uploaded, timeout_s=WAIT_S, what=f"uploaded after {trouble.done}")
                await eventually(is_equal, timeout_s=WAIT_S, what=f"equal rows after {trouble.done}")
        await eventually(large_device.is_connected, timeout_s=WAIT_S)
        await large_device.sdk.ask("disconnect")
