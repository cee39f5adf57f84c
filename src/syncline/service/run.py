"""The process of `syncline start`: configuration, logging, signals, exit codes.

150 for a configuration, storage or port that cannot be used, 1 for a sync config that is missing or invalid, 0 after SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import uuid

from syncline import __version__
from syncline.api.probes import ProbeFiles
from syncline.errors import SyncConfigError, SynclineError
from syncline.service.config import ConfigSources, ServiceConfig
from syncline.service.exit_codes import EXIT_FATAL, EXIT_OK, exit_code_of
from syncline.service.loading import load_for_command
from syncline.service.roles import Role, parse_role
from syncline.service.wiring import Service

__all__ = ["run_service"]

log = logging.getLogger(__name__)

GC_THRESHOLD = 50_000  # new containers between two looks of the garbage collector


def run_service(sources: ConfigSources, *, runner_type: str | None = None) -> int:
    """Run until a signal ends the process; return its exit code. Errors are told on standard error, without a traceback."""
    found: list[tuple[ServiceConfig, Role]] = []

    def configure() -> None:
        role = parse_role(runner_type, os.environ)
        found.append((load_for_command(sources), role))

    code = exit_code_of(configure, failed=EXIT_FATAL)
    if code != EXIT_OK:
        return code
    config, role = found[0]
    _say_hello(config, role)
    return exit_code_of(lambda: _run_in_loop(config, role), failed=EXIT_FATAL, say=_log_refusal)


def _say_hello(config: ServiceConfig, role: Role) -> None:
    log.info(
        "Syncline %s, %s",
        __version__,
        role.value,
        extra={"event": "service.boot", "version": __version__, "runner": role.value},
    )
    log.info("Configuration: %s", config.name, extra={"event": "service.config"})
    for note in config.notes:
        log.warning("Configuration: %s", note, extra={"event": "service.config_note"})


def _log_refusal(error: SynclineError) -> None:
    if not isinstance(error, SyncConfigError):  # told in the log already, with every problem
        log.error("%s", error, extra={"event": "service.refused", "code": error.error_code})


def _run_in_loop(config: ServiceConfig, role: Role) -> None:
    # Replication makes many short-lived tuples and no cycles: looking for cycles every 700 of them is wasted work.
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    try:
        import uvloop
    except ImportError:  # there is no uvloop for Windows
        asyncio.run(_run_until_signal(config, role))
    else:
        uvloop.run(_run_until_signal(config, role))


async def _run_until_signal(config: ServiceConfig, role: Role) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with contextlib.AsyncExitStack() as closing:
        service = Service(config, role=role)
        if config.prometheus_port is not None:
            _serve_metrics(service, config, config.prometheus_port, closing)
        await service.start()
        closing.push_async_callback(service.stop)
        if config.probes.files and service.probes is not None:
            closing.callback(asyncio.create_task(ProbeFiles(service.probes).run()).cancel)
        await stopping.wait()
        log.info("Stopping", extra={"event": "service.stopping"})
    log.info("Stopped", extra={"event": "service.stopped"})


def _serve_metrics(service: Service, config: ServiceConfig, port: int, closing: contextlib.AsyncExitStack) -> None:
    """The process that is asked for metrics: it feeds its own numbers; those of others will come to it as snapshots."""
    from syncline.service.metrics import MetricsExporter, ServiceInfo

    storage = config.settings.storage
    info = ServiceInfo(
        version=__version__,
        source_type=config.settings.replication.connections[0].type,
        storage_type=storage.type if storage is not None else "sqlite",
        instance_id=str(uuid.uuid4()),
    )
    exporter = MetricsExporter(info, refresh=lambda to: to.feed("service", service.metrics.snapshot()))
    exporter.listen(config.host, port)
    closing.push_async_callback(asyncio.to_thread, exporter.close)
