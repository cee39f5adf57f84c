"""Connectors written in plain code."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from syncline.client.connector import BackendConnector as AsyncConnector
from syncline.client.connector import Credentials

if TYPE_CHECKING:
    from syncline.client.blocking.database import SyncDatabase
    from syncline.client.database import SyncDatabase as AsyncDatabase

__all__ = ["BackendConnector", "in_threads"]

T = TypeVar("T")


class BackendConnector(ABC):
    """Two methods join an app with its backend, as `syncline.client.BackendConnector`, but plain: they may use `requests` and the like.

    They run in threads of their own, one call at a time each. Give every network call a timeout: a call that hangs cannot be broken off.
    """

    @abstractmethod
    def fetch_credentials(self) -> Credentials | None:
        """Fresh credentials, or None when nobody is signed in."""

    @abstractmethod
    def upload_data(self, db: SyncDatabase) -> None:
        """Send what `db.crud_transactions()` gives, and `complete()` each transaction that the backend has taken."""


def in_threads(connector: BackendConnector, database: SyncDatabase) -> AsyncConnector:
    """A plain connector as the client calls it."""
    return _InThreads(connector, database)


class _InThreads(AsyncConnector):
    def __init__(self, connector: BackendConnector, database: SyncDatabase) -> None:
        self._connector = connector
        self._database = database
        self._fetching = asyncio.Lock()
        self._uploading = asyncio.Lock()

    async def fetch_credentials(self) -> Credentials | None:
        return await _in_a_thread(self._connector.fetch_credentials, self._fetching)

    async def upload_data(self, db: AsyncDatabase) -> None:
        del db  # the plain one stands for it
        await _in_a_thread(lambda: self._connector.upload_data(self._database), self._uploading)


async def _in_a_thread(function: Callable[[], T], lock: asyncio.Lock) -> T:
    """Run it in a daemon thread. A cancelled caller goes away at once; the next call waits until the thread has ended."""
    await lock.acquire()
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def finish(value: T | None, error: BaseException | None) -> None:
        lock.release()
        if not result.done():
            result.set_exception(error) if error is not None else result.set_result(value)  # type: ignore[arg-type]  # one of the two is there

    def run() -> None:
        value, error = None, None
        try:
            value = function()
        except BaseException as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, value, error)

    threading.Thread(target=run, name="syncline-connector", daemon=True).start()
    return await result
