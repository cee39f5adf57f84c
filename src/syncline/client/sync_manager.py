"""Sync that follows who is signed in: opens the file at once, connects after the sign-in, and tells an app its state in one value."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncline.client.connector import BackendConnector
from syncline.client.core.status import Role, SyncState, SyncStatus
from syncline.client.database import SyncDatabase
from syncline.client.errors import AccountChanged, DatabaseNotInitialized, NotSignedIn

__all__ = ["ManagerState", "OnSignOut", "OpenDatabase", "SyncManager"]

OpenDatabase = SyncDatabase | Callable[[], SyncDatabase | Awaitable[SyncDatabase]]
"""A database, or a function that makes one; the manager closes what it has made itself."""

_log = logging.getLogger(__name__)


class OnSignOut(enum.StrEnum):
    """What a sign-out does with the data. Another user never sees them, whatever is chosen: their sign-in clears the file."""

    KEEP = "keep"  # the user finds everything again, offline too
    CLEAR = (
        "clear"  # nothing stays on the device; writes that wait for their upload keep it from happening (PendingWrites)
    )


@dataclass(frozen=True, slots=True)
class ManagerState:
    """What a screen shows. `state` is the one word for it, `error` what is behind ERROR (it may also be there with other states)."""

    state: SyncState = SyncState.OFFLINE
    is_initialized: bool = False
    user_id: str | None = None
    error: Exception | None = None
    status: SyncStatus = field(default_factory=SyncStatus)

    @property
    def pending_changes(self) -> int | None:
        """Local writes that wait for their upload; None while the file has not been read."""
        return self.status.pending_changes

    @property
    def last_synced_at(self) -> datetime | None:
        """When everything was last complete, in UTC."""
        return self.status.last_synced_at


class SyncManager:
    """One owner of the database's life, from `start()` to `close()`.

    >>> async with SyncManager(lambda: SyncDatabase("app.db", schema=schema), connector, auth=session.user_ids()) as manager:
    ...     async for state in manager.changes():
    ...         show(state)

    `auth` gives the id of the user who is signed in, None for nobody, now and at each change; or call `set_user`. `connector` is one
    for all users, or a function of the user id. All calls but `set_user` and `set_network` belong to the event loop of `start()`.

    One task does everything in order; what was asked for later wins. Nothing is told after `close()`, and nothing of a user after
    their sign-out.
    """

    def __init__(
        self,
        database: OpenDatabase,
        connector: BackendConnector | Callable[[str], BackendConnector],
        *,
        auth: AsyncIterable[str | None] | None = None,
        on_sign_out: OnSignOut | str = OnSignOut.KEEP,
        connect_options: Mapping[str, Any] | None = None,
    ) -> None:
        """`connect_options` are passed on to `SyncDatabase.connect`."""
        self._source = database
        self._make_connector = connector
        self._auth = auth
        self._on_sign_out = OnSignOut(on_sign_out)
        self._connect_options = dict(connect_options or {})
        self._db: SyncDatabase | None = None  # opened
        self._user: str | None = None
        self._wants_sync = True  # False after disconnect()
        self._network = True
        self._connected_as: str | None = None
        self._was_signed_in = False  # with data that a sign-out may have to clear
        self._wishes = 0  # how often something else was asked for
        # Of opening, connecting or clearing; kept until something is asked for anew.
        self._error: Exception | None = None
        self._current = ManagerState()
        self._listeners: list[Callable[[ManagerState], None]] = []
        self._wakes: set[asyncio.Event] = set()
        self._work = asyncio.Event()
        self._commands: list[tuple[Callable[[], Awaitable[None]], asyncio.Future[None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> SyncManager:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- life

    def start(self) -> None:
        """Begin; returns at once. Opening needs no network, and no user."""
        if self._owner is None and not self._closed:
            self._loop = asyncio.get_running_loop()
            self._owner = asyncio.create_task(self._run(), name="sync manager")
            if self._auth is not None:
                self._following = asyncio.create_task(self._follow_auth(self._auth), name="sync manager auth")

    async def close(self) -> None:
        """End sync, and close the database if the manager has made it. No state is told from here on. Can be called again."""
        self._closed = True
        tasks = [task for task in (self._following, self._owner) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_commands(DatabaseNotInitialized("The sync manager was closed."))
        for wake in self._wakes:
            wake.set()

    def set_user(self, user_id: str | None) -> None:
        """Somebody has signed in, or nobody is signed in any more. May be called from any thread, also before `start()`."""
        self._from_anywhere(self._set_user, user_id)

    def set_network(self, available: bool) -> None:
        """A hint of the platform: without a network nothing is tried; with one again, at once. May be called from any thread."""
        self._from_anywhere(self._set_network, available)

    # -- what an app sees

    @property
    def state(self) -> ManagerState:
        """The state now."""
        return self._current

    @property
    def db(self) -> SyncDatabase:
        """The database itself. Raises DatabaseNotInitialized before it is open, and after `close()`."""
        if self._db is None or self._closed:
            raise DatabaseNotInitialized(
                "The database is not open.", hint="Wait for `state.is_initialized`, or `await manager.initialized()`."
            )
        return self._db

    async def initialized(self, *, timeout_s: float | None = None) -> SyncDatabase:
        """Wait for the database. Raises what kept it from opening, and TimeoutError."""
        state = await self.wait_for(
            lambda state: state.is_initialized or (state.error is not None and not state.is_initialized),
            timeout_s=timeout_s,
        )
        if not state.is_initialized:
            assert state.error is not None
            raise state.error
        return self.db

    def register_listener(self, state_changed: Callable[[ManagerState], None]) -> Callable[[], None]:
        """Call a function with each new state; returns a function that ends it, which may be called again."""
        self._listeners.append(state_changed)

        def dispose() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(state_changed)

        return dispose

    async def changes(self) -> AsyncGenerator[ManagerState]:
        """The state now, and each newer one; a slow reader sees the latest only. Ends with `close()`."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            while not self._closed:
                wake.clear()
                yield self._current
                if not self._closed:
                    await wake.wait()
        finally:
            self._wakes.discard(wake)

    async def wait_for(
        self, predicate: Callable[[ManagerState], bool], *, timeout_s: float | None = None
    ) -> ManagerState:
        """Wait for a state that fits. Raises TimeoutError, and DatabaseNotInitialized when the manager is closed first."""
        async with asyncio.timeout(timeout_s), contextlib.aclosing(self.changes()) as states:
            async for state in states:
                if predicate(state):
                    return state
        raise DatabaseNotInitialized("The sync manager was closed.")

    # -- what an app can do

    async def trigger_sync(self, *, timeout_s: float | None = None) -> None:
        """Pull to refresh: returns when all that the server had at the time of the call is here.

        Raises NotSignedIn where nobody is, TimeoutError, and what keeps the client from connecting.
        """
        if self._user is None:
            raise NotSignedIn
        async with asyncio.timeout(timeout_s):
            if self._wanted is None or self._error is not None:
                self._wants_sync, self._network = True, True
                await self._do(_nothing)
            await self.db.trigger_sync()

    async def disconnect(self) -> None:
        """Stop syncing until `reconnect()` or another user's sign-in; the data stay."""
        self._wants_sync = False
        self._publish()
        await self._do(_nothing)

    async def reconnect(self) -> None:
        """Sync again after `disconnect()`, or try again what has failed: opening the file, connecting, clearing."""
        self._wants_sync = True
        await self._do(_nothing)

    async def clear_and_reconnect(self, *, discard_pending: bool = False, clear_local: bool = False) -> None:
        """Delete what was synced and get it anew. Raises PendingWrites, and goes on as before then."""

        async def clear() -> None:
            self._connected_as = None
            await self.db.disconnect_and_clear(discard_pending=discard_pending, clear_local=clear_local)

        self._wants_sync = True
        await self._do(clear)

    # -- inside: what was asked for

    def _from_anywhere(self, function: Callable[[Any], None], value: Any) -> None:
        if self._loop is None:
            function(value)
            return
        try:
            inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            inside = False
        if inside:
            function(value)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the manager with it
                self._loop.call_soon_threadsafe(function, value)

    def _set_user(self, user_id: str | None) -> None:
        user_id = user_id or None
        if user_id == self._user:
            return
        self._user = user_id
        self._wants_sync = True
        self._ask()

    def _set_network(self, available: bool) -> None:
        if available == self._network:
            return
        self._network = available
        self._ask()

    def _ask(self) -> None:
        """Something else is wanted: what failed before is of no interest, unless it keeps the file from opening."""
        self._wishes += 1
        if self._db is not None:
            self._error = None
        self._publish()
        self._work.set()

    async def _do(self, command: Callable[[], Awaitable[None]]) -> None:
        """Have the owner run a command and then follow what is wanted. Raises what either of them raises."""
        if self._owner is None or self._closed:
            raise DatabaseNotInitialized(
                "The sync manager does not run.", hint="`async with SyncManager(...) as manager`."
            )
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commands.append((command, done))
        self._wishes += 1
        self._error = None
        self._work.set()
        await done

    @property
    def _wanted(self) -> str | None:
        """The user to be connected as."""
        return self._user if self._wants_sync and self._network else None

    # -- inside: the owner

    async def _follow_auth(self, auth: AsyncIterable[str | None]) -> None:
        try:
            async for user_id in auth:
                self._set_user(user_id)
        except Exception as exc:
            _log.exception("The source of sign-ins has failed.", extra={"event": "auth_source_failed"})
            self._error = exc
            self._publish()

    async def _run(self) -> None:
        dispose: Callable[[], None] | None = None
        try:
            while True:
                self._work.clear()
                if self._db is None and self._error is None:
                    await self._open()
                    if self._db is not None:
                        dispose = self._db.register_listener(self._status_changed)
                if self._db is None:
                    assert self._error is not None
                    self._fail_commands(self._error)
                else:
                    await self._obey(self._db)
                self._publish()
                await self._work.wait()
        finally:
            if dispose is not None:
                dispose()
            await asyncio.shield(self._end())

    async def _open(self) -> None:
        db: SyncDatabase | None = None
        try:
            made = self._source() if callable(self._source) else self._source
            db = await made if inspect.isawaitable(made) else made
            await db.init()
            self._db = db
        except Exception as exc:
            _log.error("The database cannot be opened: %s", exc, extra={"event": "init_failed"})
            self._error = exc
        finally:
            if self._db is None and db is not None and callable(self._source):
                await asyncio.shield(db.close())

    async def _obey(self, db: SyncDatabase) -> None:
        """Run what was asked for, in order, then follow what is wanted; whoever asked hears of it when all that is done."""
        commands, self._commands = self._commands, []
        try:
            for command, done in commands:
                try:
                    await command()
                except Exception as exc:
                    _settle(done, exc)
            await self._follow(db)
        finally:
            # Cancelled means closed: then too nobody waits for ever.
            closed = DatabaseNotInitialized("The sync manager was closed.") if self._closed else None
            for _, done in commands:
                _settle(done, self._error or closed)

    def _fail_commands(self, error: Exception) -> None:
        for _, done in self._commands:
            _settle(done, error)
        self._commands.clear()

    async def _follow(self, db: SyncDatabase) -> None:
        """Make the connection that is wanted, until it is (it may change meanwhile); a failure waits for the next wish."""
        while self._error is None and (self._wanted != self._connected_as or self._is_to_clear):
            wishes = self._wishes
            try:
                await self._step(db)
            except Exception as exc:
                if wishes != self._wishes:
                    continue  # of what nobody wants any more
                _log.warning("The account cannot be followed: %s", exc, extra={"event": "account_not_followed"})
                self._error = exc

    @property
    def _is_to_clear(self) -> bool:
        return self._user is None and self._was_signed_in and self._on_sign_out is OnSignOut.CLEAR

    async def _step(self, db: SyncDatabase) -> None:
        wanted = self._wanted
        if self._is_to_clear:
            self._connected_as = None
            self._was_signed_in = False  # once for each sign-out: what keeps it from happening is for the app to decide
            await db.disconnect_and_clear()
        elif wanted is None:
            self._connected_as = None
            await db.disconnect()
        else:
            self._was_signed_in = True
            make = self._make_connector
            connector = make if isinstance(make, BackendConnector) else make(wanted)
            self._connected_as = None
            await db.connect(connector, user_id=wanted, **self._connect_options)
            self._connected_as = wanted

    async def _end(self) -> None:
        db, self._db = self._db, None
        if db is None:
            return
        if callable(self._source):
            await db.close()
        else:
            await db.disconnect()

    # -- inside: the state

    def _status_changed(self, _: SyncStatus) -> None:
        self._publish()

    def _publish(self) -> None:
        if self._closed or (state := self._compose()) == self._current:
            return
        self._current = state
        for listener in list(self._listeners):
            try:
                listener(state)
            except Exception:
                _log.exception("A state listener failed.", extra={"event": "status_listener_failed"})
        for wake in self._wakes:
            wake.set()

    def _compose(self) -> ManagerState:
        status = SyncStatus() if self._db is None else self._db.current_status
        wanted = self._wanted
        error = self._error
        if error is not None:
            state = SyncState.ERROR
        elif wanted is None:
            state = SyncState.OFFLINE
        elif self._connected_as != wanted:
            state = SyncState.CONNECTING
        else:
            state, error = status.state, status.error
            if isinstance(error, AccountChanged) and not error.elsewhere:
                state = SyncState.CONNECTING  # the client is about to connect as that user
            elif state is SyncState.OFFLINE and error is None and status.role is not Role.PEER:
                state = SyncState.CONNECTING  # between two words of the connection
        return ManagerState(state, self._db is not None, self._user, error, status)


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    """Tell whoever asked, unless they have been told or have gone."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


async def _nothing() -> None:
    """A command that has nothing to do itself."""
