"""Counters of a backend for Prometheus: `SyncBackend(metrics=BackendMetrics())`.

No label holds what a client can choose freely: routes by their template, codes up to a number, no tables, users or rows. Nothing is
served unless the app asks for it: `SyncBackend(more_routes=[metrics_route()])`, or `BackendMetrics(registry)` with a registry of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncline.backend.http.messages import BackendResponse, message_response
from syncline.backend.http.routing import Access, Call, Route
from syncline.backend.limits import CODES_LABELLED_MAX
from syncline.errors import ConfigError
from syncline.protocol.crud import CrudTransaction, ResultStatus, TransactionResult

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["BackendMetrics", "metrics_route"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class BackendMetrics:
    """What one backend has done, in one registry; without one it makes its own. Raises ConfigError where prometheus-client is missing."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            from prometheus_client import (
                CollectorRegistry,
                Counter,
                Histogram,
            )  # an app without metrics does not need it
        except ImportError as exc:
            raise ConfigError("Metrics need prometheus-client.", hint="pip install prometheus-client") from exc
        self.registry = CollectorRegistry() if registry is None else registry
        self._codes: set[str] = set()
        self._requests = Counter(
            "syncline_backend_requests", "Requests, by route and status", ["route", "status"], registry=self.registry
        )
        self._transactions = Counter(
            "syncline_backend_transactions",
            "Client transactions that got a verdict, by status and code",
            ["status", "code"],
            registry=self.registry,
        )
        self._operations = Counter(
            "syncline_backend_operations", "Operations of committed transactions", ["op"], registry=self.registry
        )
        self._seconds = Histogram(
            "syncline_backend_transaction_seconds",
            "Seconds from a client transaction to its verdict",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._deduplicated = Counter(
            "syncline_backend_deduplicated", "Repeats that got a stored verdict", registry=self.registry
        )
        self._dead_letters = Counter(
            "syncline_backend_dead_letters", "Refused transactions that were kept", registry=self.registry
        )

    def request(self, route: str, status: int) -> None:
        """Count an answer. `route` is the template of its path, not the path."""
        self._requests.labels(route, str(status)).inc()

    def transaction(self, transaction: CrudTransaction, result: TransactionResult, seconds: float) -> None:
        """Count a verdict, and what was committed for it; a repeat commits nothing."""
        code = result.failed_operation.error_code if result.failed_operation else ""
        self._transactions.labels(str(result.status), self._label(code)).inc()
        self._seconds.observe(seconds)
        if result.deduplicated:
            self._deduplicated.inc()
            return
        if result.dead_lettered:
            self._dead_letters.inc()
        if result.status is ResultStatus.SUCCESS:
            for entry in transaction.crud:
                self._operations.labels(str(entry.op)).inc()

    def _label(self, code: str) -> str:
        """The code; "other" where there are too many different ones, as an app's own may be."""
        if code not in self._codes and len(self._codes) >= CODES_LABELLED_MAX:
            return "other"
        self._codes.add(code)
        return code

    def text(self) -> BackendResponse:
        """The answer to a scrape."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # as above

        return BackendResponse(200, generate_latest(self.registry), {"content-type": CONTENT_TYPE_LATEST})


async def _scrape(call: Call) -> BackendResponse:
    metrics = call.backend.metrics
    return message_response(404, "This backend counts nothing.") if metrics is None else metrics.text()


def metrics_route(path: str = "/metrics") -> Route:
    """A route for scrapes, to be given to `SyncBackend(more_routes=…)`. Everybody may ask: keep it from the outside."""
    return Route("GET", path, _scrape, "Metrics for Prometheus", access=Access.PUBLIC, name="metrics")
