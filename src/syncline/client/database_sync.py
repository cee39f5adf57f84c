"""Methods of the database that begin, end and show sync."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, cast

import apsw

from syncline.client.checkpoint_requests import CheckpointMode
from syncline.client.connection import (
    RETRY_DELAY_S,
    UPLOAD_THROTTLE_S,
    Connection,
    ConnectionLimits,
    ConnectOptions,
)
from syncline.client.connector import BackendConnector
from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.machine import SyncMachine
from syncline.client.core.retry import RETRY_DELAY_MAX_S
from syncline.client.core.status import FULL_SYNC_PRIORITY, StreamStatus, SyncStatus
from syncline.client.database_account import AccountMethods
from syncline.client.database_peers import PeerMethods
from syncline.client.local import layout
from syncline.client.local.buckets import BucketStore
from syncline.client.local.connection import write_transaction
from syncline.client.streams import SyncStream
from syncline.client.subscription_store import SubscriptionStore
from syncline.client.sync_engine import SyncEngine
from syncline.client.transport.base import READ_IDLE_TIMEOUT_S
from syncline.client.transport.choice import TransportChoice, load_transport
from syncline.client.write_checkpoint_watchdog import WRITE_CHECKPOINT_TIMEOUT_S

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["SyncMethods"]


class SyncMethods(PeerMethods, AccountMethods):
    """`connect`, `disconnect`, the status, and sync streams."""

    async def connect(
        self,
        connector: BackendConnector,
        *,
        user_id: str | None = None,
        clear_local: bool = False,
        params: dict[str, Any] | None = None,
        app_metadata: dict[str, str] | None = None,
        retry_delay_s: float = RETRY_DELAY_S,
        retry_delay_max_s: float = RETRY_DELAY_MAX_S,
        upload_throttle_s: float = UPLOAD_THROTTLE_S,
        include_default_streams: bool = True,
        checkpoint_mode: CheckpointMode = "auto",
        transport: TransportChoice = "http",
        read_idle_timeout_s: float = READ_IDLE_TIMEOUT_S,
        write_checkpoint_timeout_s: float = WRITE_CHECKPOINT_TIMEOUT_S,
        limits: ConnectionLimits | None = None,
    ) -> None:
        """Begin to sync, and keep at it; returns before anything has happened on the network. Replaces an earlier connection.

        `user_id` is who is signed in, where the app knows (a connector may say so too, in its credentials): a file with another
        user's data is cleared first, its local-only tables too with `clear_local`; that raises PendingWrites where writes of the
        other user wait for their upload.

        Failures are in `current_status`, and are tried again. `params` are connection parameters for the sync config: a
        convenience, not a permission. `transport` is `"http"`, `"websocket"`, `"polling"` or a Transport with settings
        of its own; one object serves one connection at a time. A stream that is silent for `read_idle_timeout_s` is opened again; a
        write checkpoint that does not come within `write_checkpoint_timeout_s` is requested anew. Pauses between two tries grow from
        `retry_delay_s` to `retry_delay_max_s`, or are what the service asks for. `checkpoint_mode` is how the client asks to be told
        when the service is past its uploads: `requests` (numbers of the device), `legacy` (numbers of the service), or `auto`: the
        first, unless the service is too old. `limits` are for slow links, and for tests.
        """
        self._open_parts()
        options = ConnectOptions(
            params=params or {},
            app_metadata=app_metadata or {},
            retry_delay_s=retry_delay_s,
            retry_delay_max_s=retry_delay_max_s,
            upload_throttle_s=upload_throttle_s,
            include_default_streams=include_default_streams,
            checkpoint_mode=checkpoint_mode,
            transport=transport,
            read_idle_timeout_s=read_idle_timeout_s,
            write_checkpoint_timeout_s=write_checkpoint_timeout_s,
            limits=limits or ConnectionLimits(),
        )
        async with self._connecting:
            await self._stop_connection()
            if user_id is not None:
                await self._admit(user_id, clear_local=clear_local)
            await self._begin_connection(connector, options, user_id=user_id, clear_local=clear_local)

    async def _begin_connection(
        self, connector: BackendConnector, options: ConnectOptions, *, user_id: str | None, clear_local: bool
    ) -> None:
        parts = self._open_parts()
        guarded = self._guarded(connector, options, user_id=user_id, clear_local=clear_local)
        await load_transport(options.transport)
        await self._take_part(
            lambda: Connection(
                connector=guarded,
                options=options,
                client_id=lambda: self._client_id,
                renew_client_id=self._renew_client_id,
                make_engine=lambda: parts.writer.call(lambda connection: self._make_engine(connection, options)),
                upload=lambda: guarded.upload_data(cast("SyncDatabase", self)),
                writer=parts.writer,
                queue=parts.queue,
                status=self._status,
            )
        )

    async def disconnect(self) -> None:
        """Stop syncing; the data and the upload queue stay."""
        async with self._connecting:
            await self._stop_connection()

    @property
    def current_status(self) -> SyncStatus:
        """What sync is doing now."""
        return self._status.current

    def status_changes(self) -> AsyncIterator[SyncStatus]:
        """The status now, and each newer one; a slow reader sees the latest only."""
        return self._status.changes()

    def register_listener(self, status_changed: Callable[[SyncStatus], None]) -> Callable[[], None]:
        """Call a function with each new status; returns a function that ends it."""
        return self._status.listen(status_changed)

    async def wait_for_status(
        self, predicate: Callable[[SyncStatus], bool], timeout: float | None = None
    ) -> SyncStatus:
        """Wait for a status that fits. Raises TimeoutError."""
        return await self._status.wait_for(predicate, timeout_s=timeout)

    async def wait_for_first_sync(self, priority: int | None = None, timeout: float | None = None) -> None:
        """Wait until everything (up to `priority`) was complete once, be it in an earlier run. Raises TimeoutError."""
        wanted = FULL_SYNC_PRIORITY if priority is None else priority
        await self.wait_for_status(lambda status: status.for_priority(wanted) is not None, timeout)

    def sync_stream(self, name: str, params: dict[str, Any] | None = None) -> SyncStream:
        """A sync stream to subscribe to."""
        return SyncStream(self, self._registry, name, params)

    async def get_client_id(self) -> str:
        """The id of this file, which the service and the backend know it by. It changes when the file turns out to be a copy."""
        self._open_parts()
        return self._client_id

    # -- for `syncline.client.streams`

    async def change_subscriptions(self, change: Callable[[SubscriptionStore, int], None]) -> None:
        """Write subscriptions, and let the connection know."""
        await self._open_parts().writer.call(lambda connection: _change_subscriptions(connection, change))
        if self._connection is not None:
            self._connection.subscriptions_changed()
        else:
            await self._load_status()

    async def wait_for_stream(self, name: str, parameters: dict[str, Any] | None, timeout_s: float | None) -> None:
        """Wait until a stream was complete once. Raises TimeoutError."""
        await self.wait_for_status(
            lambda status: (stream := status.for_stream(name, parameters)) is not None and stream.has_synced, timeout_s
        )

    def stream_status(self, name: str, parameters: dict[str, Any] | None) -> StreamStatus | None:
        """One stream of the current status."""
        return self.current_status.for_stream(name, parameters)

    # -- inside

    def _make_engine(self, connection: apsw.Connection, options: ConnectOptions) -> SyncEngine:
        machine = SyncMachine(
            client_id=self._client_id,
            parameters=options.params,
            app_metadata=options.app_metadata,
            include_defaults=options.include_default_streams,
            retry=options.retry_delays,
        )
        return SyncEngine(
            connection,
            machine,
            client_id=lambda: self._client_id,
            now_us=_now_us,
            active_streams=self._registry.active,
            schema=self._schema,
        )

    async def _renew_client_id(self) -> None:
        """Become another device for service and backend (design decision 12): local data and the whole queue stay."""

        def renew(connection: apsw.Connection) -> None:
            with write_transaction(connection, local_writes=False):
                renewed = layout.renew_client_id(connection)
            self._client_id = renewed  # in the writer thread: the sync engine, which runs there too, must not miss it

        await self._open_parts().writer.call(renew)

    async def _stop_connection(self) -> None:
        self._guard = None
        await self._leave()

    async def _load_status(self) -> None:
        """The status of a client that is not connected, from the file."""

        def read(connection: apsw.Connection) -> list[do.Instruction]:
            machine = SyncMachine(client_id=self._client_id)
            return [
                *machine.receive(ev.SyncStateChanged(tuple(BucketStore(connection).sync_state()))),
                *machine.receive(ev.SubscriptionsChanged(SubscriptionStore(connection).rows())),
            ]

        assert self._parts is not None
        for instruction in await self._parts.writer.call(read):
            if isinstance(instruction, do.PublishStatus):
                self._status.publish_download(self._with_owners_part(instruction.status))


def _change_subscriptions(connection: apsw.Connection, change: Callable[[SubscriptionStore, int], None]) -> None:
    with write_transaction(connection, local_writes=False):
        change(SubscriptionStore(connection), _now_us())


def _now_us() -> int:
    return time.time_ns() // 1000
