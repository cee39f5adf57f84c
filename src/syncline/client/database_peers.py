"""Methods of the database about the other processes on its file: who syncs, and what all of them know of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

import apsw

from syncline.client.connection import Connection
from syncline.client.core.status import Role, SyncStatus
from syncline.client.database_parts import DatabaseBase
from syncline.client.errors import DatabaseClosed
from syncline.client.sync_role import RoleKeeper
from syncline.client.sync_sharing import (
    SharedState,
    SharedStateFile,
    SyncSharing,
    owner_blocked_by,
    shown_of_owner,
)

__all__ = ["PeerMethods"]

_log = logging.getLogger(__name__)


class PeerMethods(DatabaseBase):
    """One of the processes that have connected holds the sync role; the others are its peers, and take over when it ends."""

    async def set_sync_enabled(self, enabled: bool) -> None:
        """Switch the sync of this file on or off, in whichever process it runs; for all of them, until somebody switches it again.

        A program whose windows are processes of their own switches it so from any of them. The process that syncs stops within a fraction
        of a second, and keeps the role. A `connect` of a process that becomes the owner switches it on. Needs no `connect` here.
        """
        self._open_parts()
        if self._sharing is not None:
            await self._sharing.set_enabled(enabled)
            return

        def write() -> None:
            file = SharedStateFile(self._path)
            try:
                file.exchange(enabled=enabled)
            finally:
                file.close()

        await asyncio.to_thread(write)

    async def _take_part(self, make: Callable[[], Connection]) -> None:
        """Sync with what `make` makes as soon as this process has the role, and while sync is switched on."""
        self._make_connection = make
        self._role = RoleKeeper(self._path, start=self._wish_changed, tell=self._status.publish_role)
        await self._role.begin()
        owner = self._status.current.role is Role.OWNER
        self._sharing = SyncSharing(
            self._path,
            status=lambda: self._status.current,
            heard=self._on_shared_state,
            with_texts=self._encryption_key is None,
        )
        await self._sharing.start(enable=owner)
        if self._foreign is not None:
            self._foreign.wake()

    async def _leave(self) -> None:
        """Stop syncing, and let others do it."""
        self._make_connection = None
        role, self._role = self._role, None
        sharing, self._sharing = self._sharing, None
        if role is not None:
            await role.stop_waiting()
        if self._switching is not None:
            self._switching.cancel()
            await asyncio.wait([self._switching])
            self._switching = None
        await self._end_connection()
        if sharing is not None:
            await sharing.stop()
        self._shared = None
        if role is not None:
            await role.release()  # now only: nobody else may sync while ours still does
            self._status.publish_disconnected()

    async def _end_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.stop()

    def _wish_changed(self) -> None:
        """Begin or end the connection, as the role and the switch say. Begins at once."""
        enabled = self._shared is None or self._shared.enabled
        if self._role is None or self._status.current.role is not Role.OWNER or self._make_connection is None:
            return
        if enabled and self._connection is None:
            self._connection = self._make_connection()
            self._connection.start()
        elif not enabled and self._connection is not None:
            _log.info("Sync was switched off.", extra={"event": "sync_disabled"})
            self._switching = asyncio.create_task(self._end_connection())
            self._switching.add_done_callback(lambda _: self._wish_changed())

    def _on_shared_state(self, state: SharedState) -> None:
        self._shared = state
        if self._status.current.role is Role.PEER:
            self._status.publish_shown(shown_of_owner(state), blocked_by=owner_blocked_by(state))
        self._wish_changed()

    def _with_owners_part(self, status: SyncStatus) -> SyncStatus:
        """A status that was read from the file, with what the owner told of its connection."""
        if self._shared is None or self._status.current.role is not Role.PEER:
            return status
        return replace(status, **shown_of_owner(self._shared))

    def _on_foreign_change(self) -> None:
        super()._on_foreign_change()
        self._look_again = True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Follow what others have written about sync, as often as they wrote."""
        with contextlib.suppress(DatabaseClosed):
            while self._look_again:
                self._look_again = False
                connection = self._connection
                if connection is None:
                    await self._load_status()
                    await self._notice_clearing()
                    continue
                # A peer may have subscribed. Only then: renewing subscriptions writes, which would wake the peers' watches.
                found = await self._open_parts().readers.call(_subscriptions)
                if found != self._seen_subscriptions and connection is self._connection:
                    self._seen_subscriptions = found
                    connection.subscriptions_changed()

    async def _notice_clearing(self) -> None:
        """Another process may have cleared the file, or given it to another user: what the app keeps of it is out of date then."""
        before, self._seen_data_of = self._seen_data_of, await self._open_parts().readers.call(_data_of)
        was_synced, user = before
        if (was_synced and not self._seen_data_of[0]) or (user is not None and user != self._seen_data_of[1]):
            self._data_replaced()

    async def _load_status(self) -> None:
        raise NotImplementedError  # `SyncMethods` does it


def _data_of(connection: apsw.Connection) -> tuple[bool, object]:
    """Whether anything was ever synced, and for which user. Only clearing takes that back."""
    [(synced, user)] = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM ps_sync_state), (SELECT value FROM ps_kv WHERE key = 'py_account')"
    ).fetchall()
    return bool(synced), user


def _subscriptions(connection: apsw.Connection) -> list[object]:
    sql = "SELECT id, stream_name, local_params, local_priority, ttl FROM ps_stream_subscriptions ORDER BY id"
    return list(connection.execute(sql).fetchall())
