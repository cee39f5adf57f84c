"""The service put together: the one place that picks implementations.

One process here: the API in the caller's event loop, the replicator in a thread. Both sides meet in storage and in one wake-up per
checkpoint; what changed is always read from storage.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tempfile
from collections.abc import Generator
from pathlib import Path

import uvicorn
from psycopg.conninfo import make_conninfo

from syncline import __version__
from syncline.api.app import ServiceApp
from syncline.api.checkpoints import WriteCheckpointBatcher
from syncline.api.probes import Probes
from syncline.api.stream import SyncStreamApp
from syncline.errors import ConfigError, SyncConfigError
from syncline.replication.job import DeployedConfig
from syncline.replication.postgres.head import PostgresHead
from syncline.replication.postgres.source import PostgresSource
from syncline.service.addresses import DatabaseAddress
from syncline.service.config import ServiceConfig
from syncline.service.keys import make_verifier
from syncline.service.replicator import ReplicatorThread
from syncline.storage.postgres import PostgresStorage
from syncline.storage.postgres.statements import DEFAULT_SCHEMA
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.expression_engine import SqliteExpressionEngine
from syncline.sync.checkpoint_watcher import CheckpointWatcher
from syncline.sync.limits import StreamLimits
from syncline.sync.stream import StreamContext
from syncline.sync_config import CompiledPlan, compile_sync_config

__all__ = ["Service"]

STREAMS_EDITION = 3

log = logging.getLogger(__name__)

SEND_BUFFER_BYTES = 256 * 1024  # kernel send buffer of one connection: what a client that stops reading can park there
SHUTDOWN_TIMEOUT_S = 5  # seconds that open requests get to finish when the service stops


class Service:
    """The sync service of one configuration. `start`, then `stop`; both in the same event loop."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._watcher: CheckpointWatcher | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()

    @property
    def base_url(self) -> str:
        """Where the service listens."""
        assert self._socket is not None, "the service has been started"
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

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
        deployed = _deploy(config)
        self._socket = _listen(config.host, config.port)
        storage = _open_storage(config, self._closing)
        reader = storage.open_reader()
        self._closing.push_async_callback(reader.close)
        write_checkpoints = storage.open_write_checkpoints()
        self._closing.push_async_callback(write_checkpoints.close)
        conninfo = _conninfo(config.source, self._closing)
        log.info("Source: %s", config.source.masked, extra={"event": "service.source"})
        head = PostgresHead(conninfo)
        self._closing.push_async_callback(head.close)
        verifier = make_verifier(config.settings.client_auth, self._closing)
        watcher = CheckpointWatcher(reader=reader, write_checkpoints=write_checkpoints, compile_plan=_compile)
        loop = asyncio.get_running_loop()
        replicator = ReplicatorThread(
            storage=storage,
            make_source=lambda: PostgresSource(
                conninfo, application_name=f"syncline/{__version__}", ignored_schema=_storage_schema(config)
            ),
            config=deployed,
            slot_name_prefix=config.slot_name_prefix,
            heartbeat_interval_s=config.heartbeat_interval_s,
            on_checkpoint=lambda _checkpoint: _call_if_open(loop, watcher.wake),
        )
        replicator.start()
        self._closing.push_async_callback(asyncio.to_thread, replicator.stop)
        batcher = WriteCheckpointBatcher(head=head, write_checkpoints=write_checkpoints)
        limits = _limits(config)
        context = StreamContext(reader, write_checkpoints, watcher, limits, asyncio.Semaphore(limits.fetches_max))
        streams = SyncStreamApp(context, verifier)
        self._closing.push_async_callback(streams.close)
        probes = Probes(is_ready=lambda: watcher.is_serving, touched_s=lambda: replicator.status.touched_s)
        app = ServiceApp(stream=streams, verifier=verifier, write_checkpoints=batcher, probes=probes)
        self._tasks = [asyncio.create_task(watcher.run()), asyncio.create_task(batcher.run())]
        self._watcher = watcher
        await self._serve(app)
        log.info("Listening on %s", self.base_url, extra={"event": "service.listening", "url": self.base_url})

    async def _serve(self, app: ServiceApp) -> None:
        assert self._socket is not None
        self._server = _Server(
            uvicorn.Config(
                app,  # pyright: ignore[reportArgumentType]
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
            )
        )
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        self._tasks.append(serving)
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()

    async def stop(self) -> None:
        """End streams, replication and the server; everything committed is kept."""
        if self._server is not None:
            self._server.should_exit = True
        await self._closing.aclose()
        for task in self._tasks[:2]:
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
        log.info("Bucket storage: SQLite in %s", config.storage_path, extra={"event": "service.storage"})
        return SqliteStorage(config.storage_path)
    address = postgres.address
    log.info("Bucket storage: schema %s of %s", postgres.schema, address.masked, extra={"event": "service.storage"})
    return PostgresStorage(_conninfo(address, closing), schema=postgres.schema, pool_size=postgres.pool_size)


def _storage_schema(config: ServiceConfig) -> str:
    """The schema that is never replicated: it may stand in the source's own database, in a publication of all tables."""
    return config.storage_postgres.schema if config.storage_postgres is not None else DEFAULT_SCHEMA


def _compile(text: str) -> CompiledPlan:
    """Compile a sync config, with an engine for those that ask for one. Raises SyncConfigError."""
    return compile_sync_config(text, engine=SqliteExpressionEngine())


def _deploy(config: ServiceConfig) -> DeployedConfig:
    """Compile the sync config. Raises SyncConfigError; warnings are logged."""
    text = config.sync_config_text()
    try:
        plan = _compile(text)
    except SyncConfigError as exc:
        log.error("The sync config cannot be used:\n%s", exc, extra={"event": "sync_config.invalid"})
        raise
    for warning in plan.warnings:
        log.warning("Sync config: %s", warning, extra={"event": "sync_config.warning"})
    if plan.options.edition < STREAMS_EDITION:
        log.info(
            "The sync config has bucket_definitions (sync rules), which go on to work. Streams (edition 3) can do more;"
            " syncline.sync_config.migration turns the one into the other.",
            extra={"event": "sync_config.legacy"},
        )
    return DeployedConfig(text, plan)


def _limits(config: ServiceConfig) -> StreamLimits:
    parameters = config.settings.api.parameters
    return StreamLimits(
        buckets_max=parameters.max_buckets_per_connection,
        parameter_results_max=parameters.max_parameter_query_results,
        connections_max=parameters.max_concurrent_connections,
        fetches_max=parameters.max_data_fetch_concurrency,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Bind the port. Raises ConfigError when it is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as exc:
        listening.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {exc.strerror}",
            hint="Another program may use the port: choose another `port`, or stop that program.",
        ) from exc
    listening.setblocking(False)
    return listening


def _conninfo(source: DatabaseAddress, closing: contextlib.AsyncExitStack) -> str:
    """The connection string for libpq. A CA certificate of the configuration goes into a private temporary file."""
    root_certificate: dict[str, str] = {}
    if source.sslmode != "disable":
        root_certificate["sslrootcert"] = "system"
        if source.cacert:
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="syncline-")))
            (folder / "ca.pem").write_text(source.cacert)
            root_certificate["sslrootcert"] = str(folder / "ca.pem")
    return make_conninfo(
        host=source.host,
        port=source.port,
        user=source.user,
        password=source.password or None,
        dbname=source.database,
        sslmode=source.sslmode,
        connect_timeout=source.connect_timeout_s,
        **root_certificate,
    )


def _call_if_open(loop: asyncio.AbstractEventLoop, call: object) -> None:
    """Wake the API's loop from the replicator's thread; it may be closing."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)  # type: ignore[arg-type]
