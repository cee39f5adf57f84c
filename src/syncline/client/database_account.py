"""Methods of the database about the account: whose data it holds, and how they are forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import apsw

from syncline.client.account_guard import (
    AccountChange,
    GuardedConnector,
    admit,
    adopt,
    change_owner,
    clear_account,
    hold,
    owner,
)
from syncline.client.connector import BackendConnector
from syncline.client.database_parts import DatabaseBase
from syncline.client.errors import PeerIsSyncing, PendingWrites
from syncline.client.local.connection import write_transaction
from syncline.client.sync_role import RoleLock

if TYPE_CHECKING:
    from syncline.client.connection import ConnectOptions

__all__ = ["AccountMethods"]


class AccountMethods(DatabaseBase):
    """`disconnect_and_clear`, and the guard that lets nobody see another user's rows."""

    async def get_user_id(self) -> str | None:
        """The user whose data the file holds, as the last sign-in told; None while that is nobody."""
        return await self._open_parts().readers.call(owner)

    async def admit_user(
        self, user_id: str, *, clear_local: bool = False, discard_pending: bool = False
    ) -> AccountChange:
        """Make the file the user's, without connecting; `connect(user_id=…)` does it by itself.

        A file of nobody becomes theirs with all that is in it. One of another user is cleared first (local-only tables too with
        `clear_local`): the database is disconnected then. Raises PendingWrites where that would lose writes of the other user, unless
        `discard_pending`; PeerIsSyncing where another process syncs the file.
        """
        async with self._connecting:
            if await self._is_of_other(user_id):
                await self._stop_connection()
            return await self._admit(user_id, clear_local=clear_local, discard_pending=discard_pending)

    async def disconnect_and_clear(
        self, *, clear_local: bool = False, soft: bool = False, discard_pending: bool = False
    ) -> None:
        """Stop syncing and delete what was synced or queued; the next connection starts from nothing, and may be anybody's.

        Local-only tables stay unless `clear_local`; records of attachments go. `soft` keeps downloaded operations in the file, out of
        sight, for a fast return of the same user. Raises PendingWrites while local writes or files wait for their upload, unless
        `discard_pending`; PeerIsSyncing where another process syncs the file. The database is disconnected then, and nothing was
        deleted.
        """
        parts = self._open_parts()

        def clear(connection: apsw.Connection) -> None:
            with _alone(self._path), write_transaction(connection, local_writes=False):
                clear_account(
                    connection, self._schema, clear_local=clear_local, soft=soft, discard_pending=discard_pending
                )

        async with self._connecting:
            await self._stop_connection()
            await parts.writer.call(clear)
            await self._load_status()
            self._data_replaced()

    # -- for `connect`

    async def _admit(self, user_id: str, *, clear_local: bool, discard_pending: bool = False) -> AccountChange:
        """The same, inside of `_connecting` and without an open stream."""

        def change(connection: apsw.Connection) -> AccountChange:
            if owner(connection) in (None, user_id):
                return admit(connection, self._schema, user_id, clear_local=clear_local)
            with _alone(self._path):
                return admit(
                    connection, self._schema, user_id, clear_local=clear_local, discard_pending=discard_pending
                )

        result = await self._open_parts().writer.call(change)
        if result is AccountChange.OTHER:
            await self._load_status()
            self._data_replaced()
        return result

    def _guarded(
        self, connector: BackendConnector, options: ConnectOptions, *, user_id: str | None, clear_local: bool
    ) -> GuardedConnector:
        """The connector as a connection uses it."""

        async def hold_file() -> bool:
            named = user_id
            return named is None or await self._open_parts().writer.call(lambda connection: hold(connection, named))

        async def adopt_file(token_id: str) -> bool:
            return await self._open_parts().writer.call(
                lambda connection: adopt(connection, token_id, vouched=user_id is not None)
            )

        async def has_owner() -> bool:
            return await self.get_user_id() is not None

        def change_account(token_id: str) -> None:
            change = self._change_account(guarded, token_id, connector, options, user_id, clear_local=clear_local)
            task = asyncio.create_task(change, name="account change")
            self._account_changes.add(task)
            task.add_done_callback(self._account_changes.discard)

        guarded = GuardedConnector(
            connector,
            hold=hold_file,
            adopt=adopt_file,
            has_owner=has_owner,
            change_account=change_account,
            confirmed=user_id is not None,
        )
        self._guard = guarded
        return guarded

    async def _change_account(
        self,
        guarded: GuardedConnector,
        token_id: str,
        connector: BackendConnector,
        options: ConnectOptions,
        user_id: str | None,
        *,
        clear_local: bool,
    ) -> None:
        """The connector has answered with another user's credentials: stop, clear, and connect as that user."""
        async with self._connecting:
            if self._closed or self._guard is not guarded:
                return  # somebody has connected or disconnected meanwhile
            await self._stop_connection()

            def change(connection: apsw.Connection) -> None:
                with _alone(self._path):
                    change_owner(connection, self._schema, token_id, app_id=user_id, clear_local=clear_local)

            try:
                await self._open_parts().writer.call(change)
            except (PendingWrites, PeerIsSyncing) as exc:
                self._status.publish_download(replace(self._status.current, download_error=exc))
                return
            await self._load_status()
            self._data_replaced()
            await self._begin_connection(connector, options, user_id=user_id, clear_local=clear_local)

    async def _is_of_other(self, user_id: str) -> bool:
        return await self.get_user_id() not in (None, user_id)

    # What `SyncMethods` does.

    async def _stop_connection(self) -> None:
        raise NotImplementedError

    async def _begin_connection(
        self, connector: BackendConnector, options: ConnectOptions, *, user_id: str | None, clear_local: bool
    ) -> None:
        raise NotImplementedError

    async def _load_status(self) -> None:
        raise NotImplementedError


class _alone:  # noqa: N801 - reads as a statement
    """A block during which no process syncs the file. Raises PeerIsSyncing; in one thread."""

    def __init__(self, path: str) -> None:
        self._lock = RoleLock(path)

    def __enter__(self) -> None:
        if not self._lock.take():
            raise PeerIsSyncing

    def __exit__(self, *_: object) -> None:
        self._lock.release()
