"""A test of an app, here of background_job.py, with the sync service in memory. Needs syncline[service,backend] and pytest-asyncio.

`cd examples && python -m pytest test_background_job.py`; `sync_service` is a fixture that syncline brings.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from background_job import remove_done
from syncline.testing.service import MemoryService
from syncline.testing.waiting import eventually
from todo_schema import SCHEMA

SYNC_CONFIG = (Path(__file__).parent / "server" / "sync-config.yaml").read_text()
DONE = "SELECT done FROM todos ORDER BY id"


@pytest.mark.asyncio
async def test_a_todo_that_was_ticked_off_offline_is_removed(sync_service: Callable[..., MemoryService]) -> None:
    async with sync_service(SYNC_CONFIG, schema=SCHEMA) as service, service.device("job.db", user_id="alice") as job:
        service.insert("todos", "t1", title="Milk", done=0, owner_id="alice")
        service.insert("todos", "t2", title="Bread", done=0, owner_id="alice")
        async with service.device("phone.db", user_id="alice") as phone:
            await phone.db.wait_for_first_sync(timeout=10)
            phone.link.offline = True
            await phone.db.execute("UPDATE todos SET done = 1 WHERE id = 't1'")
            assert await remove_done(job.db) == 0
            phone.link.offline = False
            async for done in job.db.watch(DONE, row_type=int):
                if done == [1, 0]:
                    break
            assert await remove_done(job.db) == 1
            await eventually(lambda: [row["title"] for row in service.rows("todos")] == ["Bread"])
