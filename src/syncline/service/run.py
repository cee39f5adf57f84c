"""The process of `syncline start`: logging, signals, exit codes.

Exit codes are the field's: 150 for a configuration that cannot be used, 1 for a sync config that is missing or invalid, 0 after SIGTERM
or SIGINT.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path

from syncline.errors import ConfigError, StorageError, SyncConfigError, SynclineError
from syncline.service.config import ServiceConfig, load_config
from syncline.service.logs import set_up_logging
from syncline.service.wiring import Service

__all__ = ["EXIT_CONFIG", "EXIT_OK", "EXIT_SYNC_CONFIG", "run_service"]

log = logging.getLogger(__name__)

GC_THRESHOLD = 50_000  # new containers between two looks of the garbage collector
EXIT_OK = 0
EXIT_SYNC_CONFIG = 1
EXIT_CONFIG = 150


def run_service(*, config_path: Path | None, config_base64: str | None) -> int:
    """Run until a signal ends the process; return its exit code. Errors are told on standard error, without a traceback."""
    try:
        config = load_config(
            path=config_path, base64_text=config_base64, environment=os.environ, working_directory=Path.cwd()
        )
    except ConfigError as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_CONFIG
    logging_settings = config.settings.system.logging
    set_up_logging(
        level=os.environ.get("PS_LOG_LEVEL", logging_settings.level),
        format_name=os.environ.get("PS_LOG_FORMAT", logging_settings.format),
    )
    try:
        _run_in_loop(config)
    except SyncConfigError:
        return EXIT_SYNC_CONFIG  # told in the log already, with every problem
    except (ConfigError, StorageError) as exc:
        log.error("%s", exc, extra={"event": "service.refused", "code": exc.error_code})
        return EXIT_SYNC_CONFIG if "sync config" in exc.message else EXIT_CONFIG
    except SynclineError:
        log.exception("The service has failed", extra={"event": "service.failed"})
        return EXIT_CONFIG
    return EXIT_OK


def _run_in_loop(config: ServiceConfig) -> None:
    # Replication makes many short-lived tuples and no cycles: looking for cycles every 700 of them is wasted work.
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    try:
        import uvloop
    except ImportError:  # there is no uvloop for Windows
        asyncio.run(_run_until_signal(config))
    else:
        uvloop.run(_run_until_signal(config))


async def _run_until_signal(config: ServiceConfig) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    service = Service(config)
    await service.start()
    try:
        await stopping.wait()
        log.info("Stopping", extra={"event": "service.stopping"})
    finally:
        await service.stop()
