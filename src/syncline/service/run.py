"""The process of `syncline start`: configuration, logging, one process or a tree of them, exit codes.

150 for a configuration, storage or port that cannot be used, 1 for a sync config that is missing or invalid, 0 after SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from syncline import __version__
from syncline.api.probes import ProbeFiles
from syncline.service.config import ConfigSources, ServiceConfig
from syncline.service.event_loop import run_in_loop
from syncline.service.exit_codes import EXIT_FAILED, EXIT_FATAL, EXIT_OK, exit_code_of
from syncline.service.loading import load_for_command
from syncline.service.roles import Role, parse_hang_timeout, parse_role, parse_workers
from syncline.service.supervisor import Birth, Supervisor
from syncline.service.wiring import Service
from syncline.service.worker import log_refusal, run_worker

if TYPE_CHECKING:
    from syncline.service.metrics import MetricsExporter

__all__ = ["run_service"]

log = logging.getLogger(__name__)

REPLICATOR_LOOK_S = 1.0  # seconds between two looks whether the replicator's thread has ended


def run_service(sources: ConfigSources, *, runner_type: str | None = None, workers: int | None = None) -> int:
    """Run until a signal ends the service; return the exit code. Errors are told on standard error, without a traceback.

    In the processes that it forks this does not return: what stands on the stack is the caller's business, in his own process.
    """
    found: list[tuple[ServiceConfig, Role, int]] = []

    def configure() -> None:
        role = parse_role(runner_type, os.environ)
        found.append((load_for_command(sources), role, parse_workers(workers, os.environ)))

    code = exit_code_of(configure, failed=EXIT_FATAL)
    if code != EXIT_OK:
        return code
    config, role, worker_count = found[0]
    if not role.serves:
        worker_count = 0
    _say_hello(config, role, worker_count)
    if worker_count == 0:
        return exit_code_of(
            lambda: run_in_loop(lambda: _run_until_signal(config, role)), failed=EXIT_FATAL, say=log_refusal
        )
    births: list[Birth] = []
    code = exit_code_of(
        lambda: _run_tree(config, role, worker_count, sources, births), failed=EXIT_FATAL, say=log_refusal
    )
    if births:
        code = run_worker(births[0])
        logging.shutdown()
        os._exit(code)
    return code


def _run_tree(config: ServiceConfig, role: Role, workers: int, sources: ConfigSources, births: list[Birth]) -> int:
    """The supervisor's life; in a forked child, `births` says what to do."""
    exporter = _exporter(config) if config.prometheus_port is not None else None
    supervisor = Supervisor(
        config,
        role=role,
        workers=workers,
        reload=lambda: load_for_command(sources),
        exporter=exporter,
        hang_timeout_s=parse_hang_timeout(os.environ),
    )
    outcome = supervisor.run()
    if isinstance(outcome, Birth):
        births.append(outcome)
        return EXIT_OK
    log.info("Stopped", extra={"event": "service.stopped"})
    return outcome


def _say_hello(config: ServiceConfig, role: Role, workers: int) -> None:
    processes = f", {workers} API workers" if workers else ", one process"
    log.info(
        "Syncline %s, %s%s",
        __version__,
        role.value,
        processes,
        extra={"event": "service.boot", "version": __version__, "runner": role.value, "workers": workers},
    )
    log.info("Configuration: %s", config.name, extra={"event": "service.config"})
    for note in config.notes:
        log.warning("Configuration: %s", note, extra={"event": "service.config_note"})


async def _run_until_signal(config: ServiceConfig, role: Role) -> int:
    """Everything in this process."""
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
        if not await _stays(service, stopping):
            return EXIT_FAILED
        log.info("Stopping", extra={"event": "service.stopping"})
    log.info("Stopped", extra={"event": "service.stopped"})
    return EXIT_OK


async def _stays(service: Service, stopping: asyncio.Event) -> bool:
    """Wait for the signal to stop. False where replication has ended by itself: without it the process is of no use."""
    while not stopping.is_set():
        if service.replicator is not None and service.replicator.has_ended:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPLICATOR_LOOK_S):
                await stopping.wait()
    return True


def _serve_metrics(service: Service, config: ServiceConfig, port: int, closing: contextlib.AsyncExitStack) -> None:
    """The process that is asked for metrics feeds its own numbers."""
    exporter = _exporter(config, lambda to: to.feed("service", service.metrics.snapshot()))
    exporter.listen(config.host, port)
    closing.push_async_callback(asyncio.to_thread, exporter.close)


def _exporter(config: ServiceConfig, refresh: Callable[[MetricsExporter], None] = lambda _: None) -> MetricsExporter:
    from syncline.service.metrics import MetricsExporter, ServiceInfo  # with the library of metrics, which few need

    storage = config.settings.storage
    info = ServiceInfo(
        version=__version__,
        source_type=config.settings.replication.connections[0].type,
        storage_type=storage.type if storage is not None else "sqlite",
        instance_id=str(uuid.uuid4()),
    )
    return MetricsExporter(info, refresh=refresh)
