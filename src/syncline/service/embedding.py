"""The sync service inside another ASGI application: an app to mount below a prefix, and a lifespan that starts and stops it.

The host keeps what is a process's own: the port, logging, signals, the event loop. `port` and `host` of the configuration have no effect,
and neither has `telemetry.prometheus_port` unless replication is a process of its own. docs/howto/embed.md has whole programs.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Any

from syncline.api.answers import Receive, Scope, Send, send_error
from syncline.api.app import AsgiApp
from syncline.errors import ShuttingDown, SynclineError
from syncline.service.config import ConfigSources, ServiceConfig, load_config
from syncline.service.embedded_replicator import ReplicatorProcess
from syncline.service.roles import Role
from syncline.service.storage_admin import open_admin
from syncline.service.websocket_protocol import StreamWebSocketProtocol
from syncline.service.wiring import SHUTDOWN_TIMEOUT_S, WEBSOCKET_MESSAGE_BYTES_MAX, Service

__all__ = ["UVICORN_OPTIONS", "Replication", "SyncService"]

log = logging.getLogger(__name__)

UVICORN_OPTIONS: dict[str, Any] = {
    "ws": StreamWebSocketProtocol,  # compresses each message by itself: an idle stream costs no compressor
    "ws_max_size": WEBSOCKET_MESSAGE_BYTES_MAX,
    "ws_ping_interval": None,  # RSocket has keepalives of its own
    "timeout_graceful_shutdown": SHUTDOWN_TIMEOUT_S,  # else uvicorn waits for the end of open streams, which have none
}
"""For a host that runs uvicorn itself: `uvicorn.run(app, **UVICORN_OPTIONS)`. They hold for all of the host's requests."""
TRY_AGAIN_LATER = 1013  # close code of a WebSocket that comes before the start or after the stop


class Replication(enum.StrEnum):
    """Where replication runs."""

    THREAD = "thread"  # of this process: nothing else to run; for hosts of one process
    PROCESS = (
        "process"  # a child of this process: a large transaction of the source does not slow down the host's requests
    )
    ELSEWHERE = (
        "elsewhere"  # not here: `syncline start -r sync` runs beside; for hosts of several processes or machines
    )


class SyncService:
    """The sync service for a host's event loop. Mount `app`, and run `lifespan`; or `async with` it; or `start` and `stop`.

    `config` is what `syncline start` takes: a file, or `ConfigSources`; without it the environment and the working directory are
    searched in the same way. It is read and checked here: raises ConfigError. One object may be started again after it was stopped.
    """

    def __init__(
        self, config: str | Path | ConfigSources | None = None, *, replication: Replication = Replication.THREAD
    ) -> None:
        self._sources = config if isinstance(config, ConfigSources) else ConfigSources(Path(config) if config else None)
        self._replication = replication
        self.config: ServiceConfig = load_config(
            path=self._sources.path,
            base64_text=self._sources.base64_text,
            sync_config_base64=self._sources.sync_config_base64,
            environment=os.environ,
            working_directory=Path.cwd(),
        )
        self.app: AsgiApp = _App(self._answer)
        self._service: Service | None = None
        self._replicator: ReplicatorProcess | None = None

    async def start(self) -> None:
        """Take the storage and begin to replicate; returns when requests are answered.

        Streams are answered with PSYNC_S2302 until the first copy of the source is consistent: `wait_until_serving` waits for it. Raises
        ConfigError, SyncConfigError or StorageUnavailable (another process replicates into the same storage), and leaves nothing
        running then.
        """
        assert self._service is None, "the service is started once, and again only after it was stopped"
        for note in self.config.notes:
            log.warning("Configuration: %s", note, extra={"event": "service.config_note"})
        is_alone = self._replication is Replication.THREAD
        if self._replication is Replication.PROCESS:
            _migrate(self.config)
        service = Service(self.config, role=Role.UNIFIED if is_alone else Role.API, listens=False)
        await service.start()
        self._service = service
        if self._replication is Replication.PROCESS:
            self._replicator = ReplicatorProcess(self._sources)
            self._replicator.start()

    async def stop(self) -> None:
        """End streams and replication; everything committed is kept. What was not started is stopped already."""
        service, replicator = self._service, self._replicator
        self._service = self._replicator = None
        try:
            if service is not None:
                await service.stop()
        finally:
            if replicator is not None:
                await replicator.stop()

    async def wait_until_serving(self) -> None:
        """Return when the first copy of the source is consistent and streams are served."""
        assert self._service is not None, "the service has been started"
        await self._service.wait_until_serving()

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncGenerator[None]:
        """The service runs inside: `FastAPI(lifespan=sync.lifespan)`, or `async with sync.lifespan():` in a lifespan of the host's own."""
        async with self:
            yield

    async def __aenter__(self) -> SyncService:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def beside(self, other: AsgiApp, *, prefix: str) -> AsgiApp:
        """An app that serves the sync service below `prefix` and everything else with `other`: for frameworks that mount nothing.

        `prefix` is like `/sync-service`. Lifespan events are this service's; `other` (Django's) gets none.
        """
        prefix = "/" + prefix.strip("/")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await self._answer(scope, receive, send)
                return
            path = _path_below_root(scope)
            if path != prefix and not path.startswith(f"{prefix}/"):
                await other(scope, receive, send)
                return
            root = scope.get("root_path", "")
            await self._answer({**scope, "app_root_path": root, "root_path": root + prefix}, receive, send)

        return app

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app: requests below its mount, and lifespan events where it is nobody's child."""
        if scope["type"] == "lifespan":
            await self._follow_lifespan(receive, send)
            return
        app = self._service.app if self._service is not None else None
        if app is None:
            await _refuse(scope, receive, send)
            return
        # The headers are copied: a stream empties its own, so as not to keep a token.
        ours = {**scope, "path": _path_below_root(scope), "headers": [*scope["headers"]]}
        await app(ours, receive, send)

    async def _follow_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        try:
            await self.start()
        except SynclineError as exc:
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


class _App:
    """An ASGI app that servers take for one: they look for an async `__call__`, which a bound method does not have."""

    def __init__(self, answer: AsgiApp) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._answer(scope, receive, send)


def _migrate(config: ServiceConfig) -> None:
    """Bring an older storage to this release's layout: the child would, but may not have done it before this process reads."""
    if config.settings.migrations.disable_auto_migration:
        return
    with contextlib.ExitStack() as closing:
        admin = open_admin(config, closing)
        if 0 < admin.stored_layout() < admin.layout:
            admin.migrate_up()


def _path_below_root(scope: Scope) -> str:
    """The path as the service knows it.

    ASGI has the prefixes of the server and of mounts in `root_path` and again at the beginning of `path`. A proxy that has cut off its
    prefix before the server saw it leaves the mounts' part only: what the outermost app was told is in `app_root_path`.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    for prefix in (root, root.removeprefix(scope.get("app_root_path", ""))):
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            return path[len(prefix) :] or "/"
    return path


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Before the start and after the stop: clients come again."""
    if scope["type"] == "http":
        await send_error(send, ShuttingDown("The sync service does not run at present."))
    elif scope["type"] == "websocket":
        await receive()  # websocket.connect
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
