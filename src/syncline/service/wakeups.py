"""Who wakes the watcher of a process that serves: the replicator beside it, else the storage, else the clock.

- SQLite storage: the replicator of this machine, in this process or through the supervisor.
- Postgres storage: the same while it holds the lease; LISTEN where another machine's does.
- Always: a look each second, for any wake-up may be lost (`syncline.sync.checkpoint_watcher`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from syncline.storage.postgres import PostgresStorage
from syncline.storage.sqlite import SqliteStorage

__all__ = ["listen_for_wakeups"]


def listen_for_wakeups(
    storage: SqliteStorage | PostgresStorage,
    wake: Callable[[], None],
    *,
    is_told: Callable[[], bool],
    closing: contextlib.AsyncExitStack,
) -> None:
    """Call `wake` for checkpoints of replicators on other machines, until `closing` is. `is_told`: one here tells its own."""
    if not isinstance(storage, PostgresStorage):
        return  # a file's replicator is on this machine

    def wake_up() -> None:
        if not is_told():
            wake()

    closing.callback(asyncio.create_task(storage.open_wakeups().run(wake_up)).cancel)
