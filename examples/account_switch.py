"""Sign-in, sign-out and another user on one device: nobody sees the other's rows. Needs nothing but syncline."""

import asyncio
import os

from syncline.client import HttpConnector, ManagerState, OnSignOut, SyncDatabase, SyncManager, SyncState
from todo_schema import SCHEMA


def open_database() -> SyncDatabase:
    return SyncDatabase("account.db", schema=SCHEMA)


def connector_of(user_id: str) -> HttpConnector:
    return HttpConnector(os.environ["BACKEND_URL"], user_id=user_id)


async def use(manager: SyncManager, user_id: str) -> None:
    def is_ready(state: ManagerState) -> bool:
        return state.user_id == user_id and state.state is SyncState.SYNCED

    manager.set_user(user_id)  # what the app's login calls
    await manager.wait_for(is_ready, timeout_s=30)
    await manager.db.execute("INSERT INTO lists (id, name) VALUES (uuid(), ?)", [f"{user_id}'s list"])
    await manager.trigger_sync(timeout_s=30)  # writes that wait for their upload would keep others from signing in
    print(f"{user_id} sees", await manager.db.fetch(str, "SELECT name FROM lists ORDER BY name"))


async def main() -> None:
    async with SyncManager(open_database, connector_of, on_sign_out=OnSignOut.CLEAR) as manager:
        for user_id in ("ann", "ben", "ann"):
            await use(manager, user_id)
        manager.set_user(None)
        await manager.wait_for(lambda state: state.status.has_synced is not True, timeout_s=30)
        print("Nobody sees", await manager.db.fetch(str, "SELECT name FROM lists"))


asyncio.run(main())
