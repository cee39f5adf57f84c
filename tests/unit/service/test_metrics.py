"""Metrics: what a process counts, what several export together, and what Prometheus reads."""

from __future__ import annotations

import urllib.request

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from syncline.errors import ConfigError
from syncline.metrics import MetricsSnapshot, ServiceMetrics
from syncline.service.metrics import MetricsExporter, ServiceInfo

INFO = ServiceInfo("1.2.3", "postgresql", "sqlite", "i")


def values(exporter: MetricsExporter) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in exporter.registry.collect()
        for sample in family.samples
        if sample.name.startswith("powersync_")
    }


def test_a_process_counts_in_batches_and_tells_all_of_it() -> None:
    metrics = ServiceMetrics()
    assert metrics.snapshot() == MetricsSnapshot()
    metrics.stream_opened()
    metrics.stream_opened()
    metrics.stream_closed()
    metrics.operations_synced(500, 9_000)
    metrics.data_synced(100)
    metrics.data_sent(4_000)
    metrics.replicated(rows=3, transactions=1, chunks=2, data_bytes=70)
    metrics.replicated(rows=4)
    metrics.lag(-0.1)
    metrics.storage_sized(current_rows_bytes=1, ops_bytes=2, lookups_bytes=3)
    assert metrics.snapshot() == MetricsSnapshot(
        data_synced_bytes=9_100,
        data_sent_bytes=4_000,
        operations_synced=500,
        concurrent_connections=1,
        data_replicated_bytes=70,
        rows_replicated=7,
        transactions_replicated=1,
        chunks_replicated=2,
        replication_lag_s=0.0,
        replication_storage_bytes=1,
        operation_storage_bytes=2,
        parameter_storage_bytes=3,
    )


def test_snapshots_of_several_processes_meet_in_one_exporter() -> None:
    exporter = MetricsExporter(INFO)
    sent = msgspec.msgpack.encode(MetricsSnapshot(operations_synced=5, concurrent_connections=2))
    exporter.feed("worker 1", msgspec.msgpack.decode(sent, type=MetricsSnapshot))
    exporter.feed("worker 2", MetricsSnapshot(operations_synced=7, concurrent_connections=3))
    exporter.feed(
        "replicator", MetricsSnapshot(rows_replicated=11, replication_lag_s=0.5, operation_storage_bytes=4096)
    )
    found = values(exporter)
    assert found["powersync_operations_synced_total"] == 12
    assert found["powersync_concurrent_connections"] == 5
    assert found["powersync_rows_replicated_total"] == 11
    assert found["powersync_replication_lag_seconds"] == 0.5
    assert found["powersync_operation_storage_size_bytes"] == 4096
    assert found["powersync_parameter_storage_size_bytes"] == 0


def test_counters_never_go_down_when_a_process_is_replaced() -> None:
    exporter = MetricsExporter(INFO)
    exporter.feed("worker", MetricsSnapshot(operations_synced=5, concurrent_connections=2))
    exporter.feed("worker", MetricsSnapshot(operations_synced=1, concurrent_connections=1))  # started anew
    assert values(exporter)["powersync_operations_synced_total"] == 6
    assert values(exporter)["powersync_concurrent_connections"] == 1
    exporter.forget("worker")
    exporter.forget("worker")
    assert values(exporter)["powersync_operations_synced_total"] == 6
    assert values(exporter)["powersync_concurrent_connections"] == 0


def test_a_scrape_asks_for_the_newest_numbers_and_names_the_service() -> None:
    metrics = ServiceMetrics()
    exporter = MetricsExporter(INFO, refresh=lambda to: to.feed("service", metrics.snapshot()))
    port = exporter.listen("127.0.0.1", 0)
    try:
        metrics.operations_synced(3, 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            assert response.headers["content-type"].startswith("text/plain")
            families = {family.name: family for family in text_string_to_metric_families(response.read().decode())}
        assert families["powersync_operations_synced"].samples[0].value == 3
        assert families["target_info"].samples[0].labels == {
            "service": "Syncline",
            "service_version": "1.2.3",
            "source_type": "postgresql",
            "storage_type": "sqlite",
            "instance_id": "i",
        }
        with pytest.raises(ConfigError, match=r"telemetry\.prometheus_port"):
            MetricsExporter(INFO).listen("127.0.0.1", port)
    finally:
        exporter.close()
        exporter.close()
