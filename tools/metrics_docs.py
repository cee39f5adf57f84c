"""docs/reference/metrics.md, from the metrics themselves: what a scrape of the service, and of a backend, can have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

from syncline.backend.metrics import BackendMetrics
from syncline.service.metrics import MetricsExporter, ServiceInfo

__all__ = ["metrics_page"]

_SERVICE = """\
# Metrics

For Prometheus. Names of counters end in `_total` in a scrape, those of an info in `_info`; a histogram has `_bucket`, `_sum` and `_count`.

## The service

`telemetry.prometheus_port` in the configuration opens a port for scrapes, one for all processes of the service. The names are the
reference service's, so its dashboards go on working. Counters never go down while the service runs, also where a process is replaced.
"""
_BACKEND = """\
## The backend toolkit

With `SyncBackend(metrics=BackendMetrics())`; `more_routes=[metrics_route()]` serves them, or the app's own registry does. No label
holds what a client can choose freely ([the write API in your framework](../howto/backend-faces.md)).
"""


def metrics_page() -> str:
    """The page: a table for the service, and one for the backend."""
    exporter = MetricsExporter(ServiceInfo("1", "postgresql", "sqlite", "1"))
    backend = BackendMetrics()
    labels: dict[str, tuple[str, ...]] = {
        family.name: cast("Any", collector)._labelnames  # noqa: SLF001 - nothing public tells the names before the first value
        for collector in vars(backend).values()
        if isinstance(collector, MetricWrapperBase)
        for family in collector.collect()
    }
    return "\n".join(
        [
            _SERVICE,
            *_table(
                exporter.collect(),
                {"target": ("service", "service_version", "source_type", "storage_type", "instance_id")},
            ),
            "",
            _BACKEND,
            *_table(backend.registry.collect(), labels),
            "",
        ]
    )


def _table(families: Iterable[Metric], labels: dict[str, tuple[str, ...]]) -> list[str]:
    rows = [
        f"| `{family.name}` | {family.type} | {', '.join(f'`{label}`' for label in labels.get(family.name, ()))} | {family.documentation} |"
        for family in families
    ]
    return ["| Name | Type | Labels | |", "|---|---|---|---|", *rows]
