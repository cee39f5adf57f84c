"""Replication as a child of a process that embeds the service: `syncline start -r sync`, started again when it ends by itself.

The child holds one end of a pipe, its standard input. When the parent ends, however it ends, the pipe does, and the child stops: nobody
goes on replicating whom nobody asked to. Secrets of the configuration travel in the environment, never in a command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading

from syncline.service.config_file import ConfigSources
from syncline.service.roles import Role

__all__ = ["ReplicatorProcess", "environment_of", "main"]

log = logging.getLogger(__name__)

RESTART_AFTER_S_MIN, RESTART_AFTER_S_MAX = 1.0, 30.0  # seconds before the child is started again; doubled each time
STEADY_AFTER_S = 60.0  # seconds that a child must have run for the next pause to be the shortest again
STOP_TIMEOUT_S = 15.0  # seconds that the child gets to stop


class ReplicatorProcess:
    """The child of one configuration. `start`, then `stop`, in the same event loop."""

    def __init__(self, sources: ConfigSources) -> None:
        self._environment = environment_of(sources)
        self._keeping: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self) -> None:
        """Begin to keep a child running."""
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End it, and return when it has ended."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = RESTART_AFTER_S_MIN
        while True:
            began_s = loop.time()
            code = await self._run()
            if loop.time() - began_s > STEADY_AFTER_S:
                pause_s = RESTART_AFTER_S_MIN
            log.error(
                "The replicator ended with exit code %s; it is started again in %g s",
                code,
                pause_s,
                extra={"event": "service.replicator_ended", "code": code},
            )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_AFTER_S_MAX)

    async def _run(self) -> int:
        """One child from its start to its end; cancelled, it is told to stop and waited for."""
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "syncline.service.embedded_replicator",
            stdin=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise


def environment_of(sources: ConfigSources) -> dict[str, str]:
    """The variables by which the child finds the configuration that its parent has found."""
    environment = dict(os.environ)
    if sources.path is not None:
        environment.pop("POWERSYNC_CONFIG_B64", None)  # it would go before the path
        environment["POWERSYNC_CONFIG_PATH"] = str(sources.path)
    if sources.base64_text:
        environment["POWERSYNC_CONFIG_B64"] = sources.base64_text
    if sources.sync_config_base64:
        environment["POWERSYNC_SYNC_CONFIG_B64"] = sources.sync_config_base64
    return environment


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _stop_with_parent() -> None:
    """Wait for the end of standard input, which is the parent's; then stop as if told to."""
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """The child. Returns its exit code (service config reference, 6)."""
    from syncline.service.run import run_service

    threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    return run_service(ConfigSources(), runner_type=Role.SYNC)


if __name__ == "__main__":
    sys.exit(main())
