"""The service put together: the one place that picks implementations.

The API runs in the caller's event loop, the replicator in a thread: of this process, or of another one to which `links` lead. Both sides
meet in storage and in one wake-up per checkpoint; what changed is always read from storage.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Generator

import uvicorn

from syncline import __version__
from syncline.api.app import ServiceApp
from syncline.api.checkpoints import ReplicationWait, RequestExpiry, WriteCheckpointBatcher
from syncline.api.counting import CountedApp
from syncline.api.probe_app import ProbeApp
from syncline.api.probes import Probes
from syncline.api.stream import SyncStreamApp
from syncline.api.stream_registry import StreamRegistry
from syncline.api.websocket import WebSocketApp
from syncline.auth.revocation import RevocationList
from syncline.metrics import ServiceMetrics
from syncline.replication.job import DeployedConfig
from syncline.replication.postgres.head import PostgresHead
from syncline.replication.postgres.inspector import PostgresInspector
from syncline.replication.postgres.source import PUBLICATION, PostgresSource
from syncline.service.administration import Administration
from syncline.service.config import ServiceConfig
from syncline.service.conninfo import conninfo as _conninfo
from syncline.service.contact import SourceContact
from syncline.service.dashboard import make_dashboard
from syncline.service.http_protocol import StreamHttpProtocol
from syncline.service.keys import make_verifier
from syncline.service.links import ServiceLinks
from syncline.service.listening import listen
from syncline.service.readiness import ServingLook
from syncline.service.replicator import ReplicatorThread
from syncline.service.roles import Role
from syncline.service.storage_admin import check_layout
from syncline.service.sync_configs import compile_plan, configured_sync_config
from syncline.service.wakeups import listen_for_wakeups
from syncline.service.websocket_protocol import StreamWebSocketProtocol
from syncline.storage.base import StorageReader, WriteCheckpoints
from syncline.storage.model import Checkpoint
from syncline.storage.postgres import PostgresStorage
from syncline.storage.postgres.statements import DEFAULT_SCHEMA
from syncline.storage.sqlite import SqliteStorage
from syncline.sync.checkpoint_watcher import CheckpointWatcher
from syncline.sync.limits import StreamLimits
from syncline.sync.stream import StreamContext

__all__ = ["Service"]

log = logging.getLogger(__name__)

WEBSOCKET_MESSAGE_BYTES_MAX = (
    8 * 1024 * 1024
)  # bytes, inflated; what is longer than a request ends its stream only, up to here
SHUTDOWN_TIMEOUT_S = 5  # seconds that open requests get to finish when the service stops


class Service:
    """The sync service of one configuration. `start`, then `stop`; both in the same event loop.

    With `listens` False nothing is served here: `app` is for a server of somebody else's (`syncline.service.embedding`).
    `links` are those to the other processes of the same service.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        role: Role = Role.UNIFIED,
        listens: bool = True,
        links: ServiceLinks | None = None,
    ) -> None:
        self._config = config
        self._role = role
        self._links = links or ServiceLinks()
        self._may_listen = listens
        self.metrics = ServiceMetrics()
        self.app: CountedApp | None = None  # from `start` on
        self.probes: Probes | None = None  # from `start` on
        self.replicator: ReplicatorThread | None = None  # from `start` on, where one runs here
        self._look_for_deployments: Callable[[], None] = lambda: None
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._watcher: CheckpointWatcher | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._serving: asyncio.Task[None] | None = None
        self._closing = contextlib.AsyncExitStack()

    @property
    def base_url(self) -> str:
        """Where the service listens."""
        assert self._socket is not None, "the service has been started"
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

    def wake(self) -> None:
        """There may be a new checkpoint. Call in the service's event loop."""
        if self._watcher is not None:
            self._watcher.wake()

    def look_for_deployments(self) -> None:
        """Another process has deployed a sync config. Call in the service's event loop."""
        self._look_for_deployments()

    async def wait_until_serving(self) -> None:
        """Return when the first copy of the source is consistent and streams are served."""
        assert self._watcher is not None, "the service has been started"
        await self._watcher.wait_until_serving()

    async def start(self) -> None:
        """Check the sync config, take the storage, listen, and begin to replicate.

        Returns when requests are accepted; streams are answered with PSYNC_S2302 until the first copy of the source is consistent.
        Raises ConfigError, SyncConfigError or StorageUnavailable, and leaves nothing running then.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self._config
        configured = configured_sync_config(config, may_end=self._role.replicates)
        if self._listens:
            port = self._links.port
            self._socket = listen(config.host, config.port if port is None else port, shared=port is not None)
        check_layout(config, may_migrate=self._role.replicates)
        storage = _open_storage(config, self._closing)
        reader = storage.open_reader()
        self._closing.push_async_callback(reader.close)
        _tell_storage(config)
        write_checkpoints = storage.open_write_checkpoints()
        self._closing.push_async_callback(write_checkpoints.close)
        control = storage.open_control()
        self._closing.push_async_callback(control.close)
        conninfo = _conninfo(config.source, self._closing)
        log.info("Source: %s", config.source.masked, extra={"event": "service.source"})
        head = PostgresHead(conninfo)
        self._closing.push_async_callback(head.close)
        contact = SourceContact(head, config.source)
        self._closing.callback(asyncio.create_task(contact.run()).cancel)
        registry, revocations = StreamRegistry(), RevocationList()
        watcher = CheckpointWatcher(reader=reader, write_checkpoints=write_checkpoints, compile_plan=compile_plan)
        administration = Administration(
            config,
            control,
            configured=configured,
            registry=registry,
            revocations=revocations,
            replicate=self._replicate,
        )
        self._look_for_deployments = administration.deployments.look
        deployed = await administration.deployments.begin()
        if self._role.replicates:
            self.replicator = self._make_replicator(storage, conninfo, deployed, watcher)
            self.replicator.start()
            self._closing.push_async_callback(asyncio.to_thread, self.replicator.stop)
        await administration.begin(self._closing)
        if not self._role.serves:
            look = ServingLook(reader)
            self._tasks = [asyncio.create_task(look.run())]
            self.probes = self._make_probes(contact, is_ready=lambda: look.is_serving)
            self.app = CountedApp(ProbeApp(self.probes), self.metrics)
        else:
            self._watcher = watcher
            self.probes = self._make_probes(contact, is_ready=lambda: watcher.is_serving)
            self.app = self._make_api(
                storage, reader, write_checkpoints, watcher, head, conninfo, administration, registry, revocations
            )
        if self._listens:
            await self._serve(self.app)

    def _make_api(
        self,
        storage: SqliteStorage | PostgresStorage,
        reader: StorageReader,
        write_checkpoints: WriteCheckpoints,
        watcher: CheckpointWatcher,
        head: PostgresHead,
        conninfo: str,
        administration: Administration,
        registry: StreamRegistry,
        revocations: RevocationList,
    ) -> CountedApp:
        """Everything that clients and administrators ask, with the tasks behind it."""
        config, replicator = self._config, self.replicator
        auth = config.settings.client_auth
        verifier = make_verifier(auth, self._closing, source_host=config.source.host, revocations=revocations)
        inspector = PostgresInspector(conninfo, publication=PUBLICATION, ignored_schema=_storage_schema(config))
        batcher = WriteCheckpointBatcher(head=head, write_checkpoints=write_checkpoints)
        context = StreamContext.of(
            reader=reader,
            write_checkpoints=write_checkpoints,
            watcher=watcher,
            limits=_limits(config),
            metrics=self.metrics,
        )
        streams = SyncStreamApp(context, verifier, registry=registry)
        self._closing.push_async_callback(streams.close)
        websockets = WebSocketApp(context, verifier, registry=registry)
        self._closing.push_async_callback(websockets.close)
        assert self.probes is not None
        admin = administration.handlers(inspector, replicator or self._links.replication)
        app = ServiceApp(
            stream=streams,
            verifier=verifier,
            write_checkpoints=batcher,
            probes=self.probes,
            websocket=websockets,
            admin=admin,
            dashboard=make_dashboard(
                config,
                administration,
                context=context,
                probes=self.probes,
                conninfo=conninfo,
                ignored_schema=_storage_schema(config),
                closing=self._closing,
            ),
            replication_wait=ReplicationWait(head=head, reader=reader),
            uses_custom_checkpoints=lambda: watcher.serves_custom_write_checkpoints,
        )
        retention_s = config.settings.api.parameters.checkpoint_request_retention_minutes * 60
        expiry = asyncio.create_task(RequestExpiry(write_checkpoints, retention_s=retention_s).run())
        self._closing.callback(expiry.cancel)
        is_told = self._links.replicates_beside if replicator is None else lambda: replicator.is_active
        listen_for_wakeups(storage, watcher.wake, is_told=is_told, closing=self._closing)
        self._tasks = [asyncio.create_task(watcher.run()), asyncio.create_task(batcher.run())]
        return CountedApp(app, self.metrics)

    def _make_replicator(
        self,
        storage: SqliteStorage | PostgresStorage,
        conninfo: str,
        deployed: DeployedConfig | None,
        watcher: CheckpointWatcher,
    ) -> ReplicatorThread:
        """The replicator, not started."""
        config, loop = self._config, asyncio.get_running_loop()

        def pass_on(checkpoint: Checkpoint) -> None:
            watcher.wake()
            self._links.on_checkpoint(checkpoint)

        return ReplicatorThread(
            storage=storage,
            make_source=lambda: PostgresSource(
                conninfo,
                application_name=f"syncline/{__version__}",
                ignored_schema=_storage_schema(config),
                metrics=self.metrics,
            ),
            config=deployed,
            slot_name_prefix=config.slot_name_prefix,
            heartbeat_interval_s=config.heartbeat_interval_s,
            on_checkpoint=lambda checkpoint: _call_if_open(loop, lambda: pass_on(checkpoint)),
            metrics=self.metrics if config.prometheus_port is not None else None,
            stands_by=isinstance(storage, PostgresStorage),
            small_batch=lambda: watcher.precedence.begun_elsewhere(loop),
        )

    def _replicate(self, deployed: DeployedConfig | None) -> None:
        """Another sync config is wanted."""
        if self.replicator is not None:
            self.replicator.deploy(deployed)
        else:
            self._links.on_deployed()

    def _make_probes(self, contact: SourceContact, *, is_ready: Callable[[], bool]) -> Probes:
        replicator = self.replicator
        return Probes(
            is_ready=is_ready,
            touched_s=self._links.touched_s if replicator is None else lambda: replicator.status.touched_s,
            is_started=lambda: contact.reached,
            over_http=self._config.probes.http,
        )

    @property
    def _listens(self) -> bool:
        """Whether there is a port: a process that only replicates has one for probes, where they are asked for."""
        return self._may_listen and (self._role.serves or self._config.probes.http_always)

    async def _serve(self, app: CountedApp) -> None:
        assert self._socket is not None
        self._server = _Server(
            uvicorn.Config(
                app,  # pyright: ignore[reportArgumentType]  # uvicorn's own types of ASGI are narrower
                http=StreamHttpProtocol,
                ws=StreamWebSocketProtocol,
                ws_max_size=WEBSOCKET_MESSAGE_BYTES_MAX,
                ws_ping_interval=None,  # RSocket has keepalives of its own, which the client sends
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # nobody asks where a request came from, and it would be a frame of every open stream
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
            )
        )
        serving = self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        self._tasks.append(serving)
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        log.info("Listening on %s", self.base_url, extra={"event": "service.listening", "url": self.base_url})

    async def stop(self) -> None:
        """End streams, replication and the server; everything committed is kept."""
        if self._server is not None:
            self._server.should_exit = True
        await self._closing.aclose()
        for task in self._tasks:
            if task is not self._serving:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SHUTDOWN_TIMEOUT_S + 1)
        if self._socket is not None:
            self._socket.close()


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process that runs it, and says when it accepts requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _open_storage(config: ServiceConfig, closing: contextlib.AsyncExitStack) -> SqliteStorage | PostgresStorage:
    """The storage that the configuration asks for."""
    postgres = config.storage_postgres
    if postgres is None:
        return SqliteStorage(config.storage_path)
    string = _conninfo(postgres.address, closing)
    return PostgresStorage(string, schema=postgres.schema, pool_size=postgres.pool_size)


def _tell_storage(config: ServiceConfig) -> None:
    """Say where the storage is that has just been opened."""
    postgres = config.storage_postgres
    if postgres is None:
        log.info("Bucket storage: SQLite in %s", config.storage_path, extra={"event": "service.storage"})
    else:
        where = (postgres.schema, postgres.address.masked)
        log.info("Connected to bucket storage: schema %s of %s", *where, extra={"event": "service.storage"})


def _storage_schema(config: ServiceConfig) -> str:
    """The schema that is never replicated: it may stand in the source's own database, in a publication of all tables."""
    return config.storage_postgres.schema if config.storage_postgres is not None else DEFAULT_SCHEMA


def _limits(config: ServiceConfig) -> StreamLimits:
    parameters = config.settings.api.parameters
    return StreamLimits(
        buckets_max=parameters.max_buckets_per_connection,
        parameter_results_max=parameters.max_parameter_query_results,
        connections_max=parameters.max_concurrent_connections,
        fetches_max=parameters.max_data_fetch_concurrency,
    )


def _call_if_open(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call in the service's loop, from the replicator's thread; the loop may be closing."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
