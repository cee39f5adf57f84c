"""Probes for whoever supervises the service (protocol reference, 7.1; service config reference, 6): over HTTP, and as files.

    startup     the source has been reached once since the process started: red while the database is not there yet
    readiness   streams can be served: a version is active
    liveness    replication has shown signs of life, if only by a failed attempt

HTTP answers 200 where the answer is yes, else 400, with the raw state. Files hold the time in ms at which they were written: `startup`
and `ready` once, `poll` again with each sign of life.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from syncline.api.answers import RouteNotFound, Scope

__all__ = ["PROBES_FOLDER", "ProbeFiles", "Probes"]

log = logging.getLogger(__name__)

LIVE_WITHIN_S = 10.0  # seconds since the last sign of life of replication, within which the process counts as alive
FILES_INTERVAL_S = 1.0  # seconds between two looks at the state for the files; supervisors look every few
PROBES_FOLDER = Path(".probes")  # in the working directory


class Probes:
    """State of this process. `touched_s` gives the last sign of life of replication, in seconds since 1970.

    With `over_http` False the routes answer as if they were not there.
    """

    def __init__(
        self,
        *,
        is_ready: Callable[[], bool],
        touched_s: Callable[[], float],
        is_started: Callable[[], bool] = lambda: True,
        over_http: bool = True,
    ) -> None:
        self._is_ready = is_ready
        self._touched_s = touched_s
        self._is_started = is_started
        self._over_http = over_http
        self._was_started = False

    async def startup(self, scope: Scope) -> tuple[int, bytes]:
        """The process has started."""
        return self._answer(scope, ok=self.started)

    async def liveness(self, scope: Scope) -> tuple[int, bytes]:
        """Replication has shown signs of life."""
        return self._answer(scope, ok=time.time() - self._touched_s() < LIVE_WITHIN_S)

    async def readiness(self, scope: Scope) -> tuple[int, bytes]:
        """Streams can be served. The reference says yes as soon as the process runs."""
        return self._answer(scope, ok=self.ready)

    @property
    def started(self) -> bool:
        """Whether the source was reached once, or streams are served: it never turns back."""
        self._was_started = self._was_started or self._is_started() or self._is_ready()
        return self._was_started

    @property
    def ready(self) -> bool:
        """Whether streams can be served."""
        return self._is_ready()

    @property
    def touched_s(self) -> float:
        """The last sign of life of replication, in seconds since 1970."""
        return self._touched_s()

    def _answer(self, scope: Scope, *, ok: bool) -> tuple[int, bytes]:
        if not self._over_http:
            raise RouteNotFound(f"There is no route {scope['method']} {scope['path']}.")
        touched = datetime.fromtimestamp(self._touched_s(), UTC).isoformat(timespec="milliseconds")
        state = {"ready": self.ready, "started": self.started, "touched_at": touched.replace("+00:00", "Z")}
        return (200 if ok else 400), orjson.dumps(state)


class ProbeFiles:
    """Keeps the files of `folder` as the probes are. Those of an earlier process are removed first: they say nothing of this one."""

    def __init__(self, probes: Probes, folder: Path = PROBES_FOLDER) -> None:
        self._probes = probes
        self._folder = folder
        self._written: dict[str, float] = {}  # name -> sign of life for which it was written
        self._failed = False

    async def run(self) -> None:
        """Write until cancelled; the files stay then. A folder that cannot be written is logged once."""
        self.begin()
        while True:
            self.write()
            await asyncio.sleep(FILES_INTERVAL_S)

    def begin(self) -> None:
        """Remove what an earlier process has left."""
        for name in ("startup", "ready", "poll"):
            self._attempt(lambda name=name: (self._folder / name).unlink(missing_ok=True))

    def write(self) -> None:
        """Bring the files to the state of now."""
        if self._probes.started:
            self._touch("startup", 0.0)
        if self._probes.ready:
            self._touch("ready", 0.0)
        self._touch("poll", self._probes.touched_s)

    def _touch(self, name: str, sign: float) -> None:
        if self._written.get(name) == sign:
            return

        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_text(str(time.time_ns() // 1_000_000))
            self._written[name] = sign

        self._attempt(write)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as exc:
            if not self._failed:
                self._failed = True
                log.warning(
                    "The probe files cannot be written to %s: %s. Make it writable, or set healthcheck.probes.use_http.",
                    self._folder.absolute(),
                    exc.strerror,
                    extra={"event": "service.probe_files"},
                )
