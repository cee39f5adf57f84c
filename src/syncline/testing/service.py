"""A whole sync service with its backend and source in memory: no sockets, no files, no Postgres.

What decides is the product's own: sync configs are compiled, sessions served and uploads judged by the code that runs in production. In
memory are the source (`MemorySource`), bucket storage (`MemoryStorage`), and the way to the devices (`Link`), which can fail on demand.
Needs the extras `service` and `backend`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from syncline.backend import SyncBackend, TablePolicy
from syncline.backend.persisters.base import Write
from syncline.backend.tokens import AuthenticatedUser
from syncline.client import Schema, SyncDatabase
from syncline.client.errors import AuthFailed, ConnectionFailed, ServiceError
from syncline.errors import SynclineError
from syncline.protocol.crud import UploadResponse
from syncline.protocol.requests import StreamRequest, decode_stream_request
from syncline.sync.checkpoint_watcher import CheckpointWatcher
from syncline.sync.limits import StreamLimits
from syncline.sync.stream import StreamContext, SyncStream, user_key_of
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.plan import ConnectionData
from syncline.testing.link import Link
from syncline.testing.memory_backend import MemoryPersister
from syncline.testing.memory_connector import MemoryConnector
from syncline.testing.memory_source import MemorySource, SourceTransaction, SourceWriter, position_text
from syncline.testing.memory_storage import MemoryStorage, MemoryWriteCheckpoints
from syncline.testing.memory_tables import source_of
from syncline.testing.memory_transport import LinePipe, MemoryTransport
from syncline.testing.simulated_loop import Machine

if TYPE_CHECKING:
    from syncline.backend.tokens import BackendAuth

__all__ = ["RETRY_DELAY_S", "TOKEN_LIFETIME_S", "MemoryDevice", "MemoryService"]

TOKEN_LIFETIME_S = 3600.0  # seconds
RETRY_DELAY_S = 0.01  # seconds after which a device of `MemoryService.device` tries again


@dataclass(frozen=True, slots=True)
class _Token:
    payload: dict[str, Any]
    expires_at_s: float


@dataclass(frozen=True, slots=True)
class MemoryDevice:
    """A database that syncs with a service in memory. `link` is its network, `connector` its user."""

    db: SyncDatabase
    connector: MemoryConnector
    link: Link


class MemoryService:
    """A sync service, a backend and a source database in memory. Use it as an async context manager.

    >>> async with MemoryService(SYNC_CONFIG, schema=SCHEMA) as service:
    ...     service.insert("lists", "l1", name="Groceries", owner_id="alice")
    ...     async with service.device(tmp_path / "phone.db", user_id="alice") as phone:
    ...         await phone.db.wait_for_first_sync(timeout=5)

    `policies` are the backend's table policies; by default every user may write every row. The source has the tables and columns of
    `schema`, under the names that the policies give them, and those that only the policies name. `check` is called with each uploaded
    write and may raise WriteRefused or RetryLater; `persister` makes one of your own in its place. With `replicates` False, changes of
    the source reach devices when `replicate` is called.
    `folder` is where relative paths of devices lie.
    Raises SyncConfigError for a config that cannot be compiled.
    """

    def __init__(
        self,
        sync_config: str,
        *,
        schema: Schema,
        policies: Mapping[str, TablePolicy] | None = None,
        check: Callable[[Write], None] | None = None,
        persister: Callable[[MemorySource], MemoryPersister] | None = None,
        replicates: bool = True,
        token_lifetime_s: float = TOKEN_LIFETIME_S,
        folder: Path | None = None,
    ) -> None:
        self._schema = schema
        self._folder = folder or Path()
        self._sync_config = sync_config
        self._token_lifetime_s = token_lifetime_s
        self._tokens: dict[str, _Token] = {}
        self._streams: dict[asyncio.Task[None], tuple[LinePipe, str]] = {}  # with the user of each
        self._watching: asyncio.Task[None] | None = None
        self._context: Context | None = None
        self._stream_context: StreamContext | None = None
        self._replicates = replicates
        self.source = source_of(schema, policies or {})
        self.persister = MemoryPersister(self.source, check=check) if persister is None else persister(self.source)
        self.backend = SyncBackend(
            persister=self.persister,
            auth=cast("BackendAuth", None),  # asked by faces over HTTP only; here the token's user is known
            tables=policies or {name: TablePolicy(owner=None) for name in self.source.tables},
            on_fatal="skip",
        )
        self.storage = MemoryStorage(
            _compiled(sync_config),
            sync_config=sync_config,
            number=1,
            columns={name: self.source.columns(name) for name in self.source.tables},
        )
        self.write_checkpoints = MemoryWriteCheckpoints()
        self.source.listen(self._on_commit)

    async def __aenter__(self) -> MemoryService:
        self._context = Machine.nobodys_context()
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- the source

    def transaction(self) -> AbstractContextManager[SourceWriter]:
        """Change several rows of the source in one transaction."""
        return self.source.transaction()

    def insert(self, table: str, row_id: str, /, **values: object) -> None:
        """Insert or replace one row of the source."""
        with self.source.transaction() as writer:
            writer.insert(table, row_id, **values)

    def update(self, table: str, row_id: str, /, **values: object) -> None:
        """Change columns of one row of the source. Raises LookupError where there is none."""
        with self.source.transaction() as writer:
            if not writer.update(table, row_id, **values):
                raise LookupError(f"{table} has no row {row_id!r}")

    def delete(self, table: str, row_id: str) -> None:
        """Delete one row of the source. Raises LookupError where there is none."""
        with self.source.transaction() as writer:
            if not writer.delete(table, row_id):
                raise LookupError(f"{table} has no row {row_id!r}")

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table of the source, in the order of their ids."""
        return cast("list[dict[str, Any]]", self.source.rows(table))

    # -- devices

    def connector(
        self, user_id: str, *, claims: Mapping[str, Any] | None = None, link: Link | None = None
    ) -> MemoryConnector:
        """A signed-in user, for `SyncDatabase.connect(connector, transport=service.transport(connector.link))`."""
        return MemoryConnector(self, user_id, claims=claims, link=link)

    def transport(self, link: Link | None = None) -> MemoryTransport:
        """The way to this service, over a link."""
        return MemoryTransport(self, link or Link())

    @asynccontextmanager
    async def device(
        self, path: Path | str, *, user_id: str, claims: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncGenerator[MemoryDevice]:
        """Open a database file and connect it. `options` are those of `SyncDatabase.connect`; retries come at once by default."""
        connector = self.connector(user_id, claims=claims)
        async with SyncDatabase(self._folder / path, schema=self._schema) as db:
            options = {"retry_delay_s": RETRY_DELAY_S, "upload_throttle_s": 0.0, **options}
            await db.connect(connector, transport=self.transport(connector.link), **options)
            yield MemoryDevice(db, connector, connector.link)

    # -- tokens

    @property
    def tokens_issued(self) -> int:
        """How many tokens were ever fetched."""
        return len(self._tokens)

    def issue_token(self, user_id: str, *, claims: Mapping[str, Any] | None = None) -> str:
        """A token that this service accepts until it expires or is revoked."""
        token = f"token-{len(self._tokens) + 1}"
        self._tokens[token] = _Token({**(claims or {}), "sub": user_id}, time.time() + self._token_lifetime_s)
        return token

    def revoke_tokens(self, user_id: str | None = None) -> None:
        """Accept the tokens given so far to this user (None: to anybody) no more, and end their streams."""
        self._tokens = {
            text: token if user_id is not None and token.payload["sub"] != user_id else _Token(token.payload, 0.0)
            for text, token in self._tokens.items()
        }
        self.cut_streams(user_id=user_id)

    # -- the service's own life

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def replicate(self, transactions: int | None = None) -> int:
        """Make the next transactions of the source visible (None: all that wait); returns how many these were."""
        waiting = self.source.log[self.storage.position :]
        for transaction in waiting[:transactions]:
            self.storage.apply(transaction)
        self._wake()
        return len(waiting[:transactions])

    def compact(self) -> int:
        """Compact all buckets; returns how many operations became smaller or went away."""
        return self.storage.compact()

    def cut_streams(self, *, user_id: str | None = None, silently: bool = False) -> int:
        """End the streams of a user (None: all) as a killed service does; how many these were.

        `silently`: devices hear nothing, not even a reset.
        """
        chosen = [task for task, (_, user) in self._streams.items() if user_id is None or user == user_id]
        for task in chosen:
            pipe, _ = self._streams.pop(task)
            task.cancel()
            if not silently:
                pipe.end(ConnectionFailed("The service reset the connection."))
        return len(chosen)

    async def restart(self, *, silently: bool = False) -> None:
        """Kill the service and start it again; storage stays as it was."""
        self.cut_streams(silently=silently)
        await self._stop_watching()
        self._start()

    def redeploy(self, sync_config: str | None = None, *, lose_write_checkpoints: bool = False) -> None:
        """Serve a new version: all data under new bucket names, from the source as it is now.

        `lose_write_checkpoints`: as after a rebuild of the storage, devices never hear of the write checkpoints that they wait for.
        """
        self._sync_config = sync_config or self._sync_config
        if lose_write_checkpoints:
            self.write_checkpoints.forget()
        self.storage.replace(
            _compiled(self._sync_config),
            sync_config=self._sync_config,
            number=self.storage.version.number + 1,
            snapshot=self.source.snapshot(),
            position=self.source.head,
        )
        self._wake()

    async def stop(self) -> None:
        """End everything."""
        tasks = list(self._streams)
        self.cut_streams()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stop_watching()

    # -- what transports and connectors call

    def open_stream(self, body: bytes, token: str) -> LinePipe:
        """Begin a stream; the pipe is `opened` with its first line. Raises AuthFailed, ServiceError."""
        payload, expires_at_s = self._authenticate(token)
        request = decode_stream_request(body)
        pipe = LinePipe()
        task = self._create_task(self._serve(pipe, request, payload, expires_at_s))
        self._streams[task] = (pipe, ConnectionData(payload).user_id)
        task.add_done_callback(lambda task: self._streams.pop(task, None))
        return pipe

    async def create_write_checkpoint(self, client_id: str, token: str) -> int:
        """The user's next write checkpoint. Raises AuthFailed."""
        payload, _ = self._authenticate(token)
        user_key = user_key_of(ConnectionData(payload).user_id, client_id)
        [value] = await self.write_checkpoints.create([user_key], position_text(self.source.head))
        self._emit_marker()
        return value

    async def request_checkpoint(self, client_id: str, request_id: int, token: str) -> int:
        """Store a checkpoint request of a device. Raises AuthFailed."""
        payload, _ = self._authenticate(token)
        user_key = user_key_of(ConnectionData(payload).user_id, client_id)
        value = await self.write_checkpoints.request(user_key, request_id, position_text(self.source.head))
        self._emit_marker()
        return value

    async def upload(self, body: bytes, user_id: str, claims: Mapping[str, Any] | None = None) -> UploadResponse:
        """`POST /api/data`; `claims` are those of the token, beside its user."""
        user = AuthenticatedUser(user_id, {**(claims or {}), "sub": user_id})
        response = await self.backend.handle_upload(body, user)
        assert isinstance(response, UploadResponse)
        return response

    # -- inside

    def _authenticate(self, text: str) -> tuple[dict[str, Any], float]:
        token = self._tokens.get(text)
        if token is None or token.expires_at_s <= time.time():
            raise AuthFailed("The token was refused.", status_code=401, code="PSYNC_S2103")
        return token.payload, token.expires_at_s

    async def _serve(
        self, pipe: LinePipe, request: StreamRequest, payload: dict[str, Any], expires_at_s: float
    ) -> None:
        """One session: its lines go into the pipe until it ends."""
        try:
            if self._stream_context is None:
                raise ServiceError("The service is starting.", status_code=503)
            stream = SyncStream(
                self._stream_context,
                connection=ConnectionData(payload, request.parameters or {}),
                request=request,
                expires_at_s=expires_at_s,
            )
            async for line in stream.lines():
                if not pipe.opened.done():
                    pipe.opened.set_result(None)
                await pipe.put(line)
        except SynclineError as exc:
            if isinstance(exc, ServiceError):
                pipe.end(exc)
            else:
                pipe.end(ServiceError(exc.message, status_code=exc.status, code=exc.error_code))
        else:
            pipe.end()

    def _start(self) -> None:
        watcher = CheckpointWatcher(
            reader=self.storage, write_checkpoints=self.write_checkpoints, compile_plan=_compiled
        )
        self._stream_context = StreamContext.of(
            reader=self.storage,
            write_checkpoints=self.write_checkpoints,
            watcher=watcher,
            limits=StreamLimits(),
            now_s=lambda: time.time(),  # looked up at each call: a test may have another clock
        )
        self._watching = self._create_task(watcher.run())

    async def _stop_watching(self) -> None:
        self._stream_context = None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    def _create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the service: it has nothing from the context of the device that called."""
        assert self._context is not None, "use the service as an async context manager"
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())

    def _emit_marker(self) -> None:
        """An empty transaction in the source's log: when it is replicated, everything before it is."""
        with self.source.transaction():
            pass

    def _on_commit(self, _: SourceTransaction) -> None:
        if self._replicates:
            self.replicate()

    def _wake(self) -> None:
        if self._stream_context is not None:
            self._stream_context.watcher.wake()


@lru_cache(maxsize=64)
def _compiled(sync_config: str) -> CompiledPlan:
    """Compiling takes milliseconds, and tests make many services."""
    return compile_sync_config(sync_config)
