"""Metrics for Prometheus, under the reference's names (docs/reference/service-config.md, 6): one port for all processes of a service.

Every process counts with `syncline.metrics.ServiceMetrics`; their snapshots meet in one `MetricsExporter`. Counters never go down, also
where a process is replaced by a new one that begins at 0.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from syncline.errors import ConfigError
from syncline.metrics import MetricsSnapshot

__all__ = ["MetricsExporter", "ServiceInfo"]

log = logging.getLogger(__name__)

_COUNTERS = {
    "data_synced_bytes": "Bytes of sync lines before compression",
    "data_sent_bytes": "Bytes of sync streams on the wire",
    "operations_synced": "Operations sent to clients",
    "data_replicated_bytes": "Bytes received from the source",
    "rows_replicated": "Rows copied or changed on the source and taken over",
    "transactions_replicated": "Source transactions taken over",
    "chunks_replicated": "Batches received from the source",
}
_SUMS = {"concurrent_connections": ("concurrent_connections", "Open sync streams")}
_NEWEST = {
    "replication_lag_s": ("replication_lag_seconds", "Seconds that replication is behind the source"),
    "replication_storage_bytes": ("replication_storage_size_bytes", "Bytes of current rows in bucket storage"),
    "operation_storage_bytes": ("operation_storage_size_bytes", "Bytes of operations in bucket storage"),
    "parameter_storage_bytes": ("parameter_storage_size_bytes", "Bytes of parameter lookups in bucket storage"),
}


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """The labels of `target_info`."""

    version: str
    source_type: str
    storage_type: str
    instance_id: str


class MetricsExporter:
    """Collects snapshots and answers scrapes. `refresh` is called before each scrape, to feed what is at hand in this process."""

    def __init__(self, info: ServiceInfo, *, refresh: Callable[[MetricsExporter], None] = lambda _: None) -> None:
        self._info = info
        self._refresh = refresh
        self._lock = threading.Lock()  # scrapes come from a thread of the server's
        self._newest: dict[str, MetricsSnapshot] = {}
        self._ended: dict[str, int] = dict.fromkeys(_COUNTERS, 0)  # counts of processes that are no more
        self._close: Callable[[], None] = lambda: None
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def feed(self, process: str, snapshot: MetricsSnapshot) -> None:
        """The newest numbers of a process; `process` names it among those of the service, and its successors too."""
        with self._lock:
            before = self._newest.get(process)
            if before is not None and any(getattr(snapshot, name) < getattr(before, name) for name in _COUNTERS):
                self._keep_counts(before)  # it was started anew, and counts from 0
            self._newest[process] = snapshot

    def forget(self, process: str) -> None:
        """The process is no more: what it counted stays, its streams are gone."""
        with self._lock:
            before = self._newest.pop(process, None)
            if before is not None:
                self._keep_counts(before)

    def listen(self, host: str, port: int) -> int:
        """Answer scrapes on a port, and return it. Raises ConfigError when it is in use."""
        try:
            server, thread = start_http_server(port, addr=host, registry=self.registry)
        except OSError as exc:
            raise ConfigError(
                f"Cannot serve metrics on {host}:{port}: {exc.strerror}",
                hint="Another program may use the port: choose another telemetry.prometheus_port.",
            ) from exc

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._close = close
        bound = int(server.server_address[1])
        log.info("Metrics on http://%s:%d/metrics", host, bound, extra={"event": "service.metrics", "port": bound})
        return bound

    def close(self) -> None:
        """Stop answering. Blocks for a scrape that is under way."""
        self._close()
        self._close = lambda: None

    def collect(self) -> Iterator[Metric]:
        """All metrics as of now; Prometheus' library calls it for each scrape."""
        self._refresh(self)
        with self._lock:
            snapshots, ended = list(self._newest.values()), dict(self._ended)
        labels = {
            "service": "Syncline",
            "service_version": self._info.version,
            "source_type": self._info.source_type,
            "storage_type": self._info.storage_type,
            "instance_id": self._info.instance_id,
        }
        yield InfoMetricFamily("target", "The service", value=labels)
        for name, text in _COUNTERS.items():
            total = ended[name] + sum(getattr(snapshot, name) for snapshot in snapshots)
            yield CounterMetricFamily(f"powersync_{name}", text, value=total)
        for name, (metric, text) in _SUMS.items():
            yield GaugeMetricFamily(f"powersync_{metric}", text, value=sum(getattr(s, name) for s in snapshots))
        for name, (metric, text) in _NEWEST.items():
            known = [value for s in snapshots if (value := getattr(s, name)) is not None]
            yield GaugeMetricFamily(f"powersync_{metric}", text, value=max(known, default=0))

    def _keep_counts(self, snapshot: MetricsSnapshot) -> None:
        for name in _COUNTERS:
            self._ended[name] += getattr(snapshot, name)
