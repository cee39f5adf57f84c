"""What a backend counts and logs: names, codes and numbers; nothing that a client can choose freely, and no values."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from syncline.backend.http.messages import BackendRequest
from syncline.backend.limits import CODES_LABELLED_MAX, TABLES_LOGGED_MAX
from syncline.backend.metrics import BackendMetrics, metrics_route
from syncline.backend.persisters.base import UploadIdentity, Write, WriteRefused
from syncline.errors import ConfigError
from syncline.protocol.crud import CrudTransaction, FailedOperation, ResultStatus, TransactionResult
from tests.unit.backend.asgi import RecordingPersister, bearer, make_backend, operation, upload


class RepeatingPersister(RecordingPersister):
    """Has seen every upload before."""

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        return TransactionResult(ResultStatus.SUCCESS, deduplicated=True)


def value(metrics: BackendMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"syncline_backend_{name}", labels)


async def test_verdicts_operations_and_requests_are_counted() -> None:
    metrics = BackendMetrics()
    persister = RecordingPersister(failures={"bad": WriteRefused("CHECK_VIOLATION", "no", operation_index=0)})
    backend = make_backend(persister, metrics=metrics)
    body = upload([operation(), operation("DELETE")], [operation(row_id="bad")], [operation()])
    request = BackendRequest("POST", "/api/data", headers=bearer("ann"), body=body)
    await backend.handle(request)
    await backend.handle(BackendRequest("POST", "/api/data"))
    await backend.handle(BackendRequest("GET", "/somewhere"))
    assert value(metrics, "transactions_total", status="success", code="") == 1
    assert value(metrics, "transactions_total", status="fatal_error", code="CHECK_VIOLATION") == 1
    assert value(metrics, "transactions_total", status="not_attempted", code="") is None
    assert (value(metrics, "operations_total", op="PUT"), value(metrics, "operations_total", op="DELETE")) == (1, 1)
    assert value(metrics, "transaction_seconds_count") == 2
    assert value(metrics, "requests_total", route="/api/data", status="200") == 1
    assert value(metrics, "requests_total", route="/api/data", status="401") == 1
    assert value(metrics, "requests_total", route="", status="404") == 1


async def test_a_repeat_counts_as_one_and_not_as_an_effect() -> None:
    metrics = BackendMetrics(CollectorRegistry())
    backend = make_backend(RepeatingPersister(), metrics=metrics)
    await backend.handle(BackendRequest("POST", "/api/data", headers=bearer("ann"), body=upload([operation()])))
    assert value(metrics, "deduplicated_total") == 1
    assert value(metrics, "operations_total", op="PUT") is None


def test_dead_letters_are_counted_and_codes_have_a_limit() -> None:
    metrics = BackendMetrics()
    for number in range(CODES_LABELLED_MAX + 5):
        failed = FailedOperation(f"CODE_{number}")
        result = TransactionResult(ResultStatus.FATAL_ERROR, failed_operation=failed, dead_lettered=True)
        metrics.transaction(CrudTransaction([]), result, 0.1)
    assert value(metrics, "dead_letters_total") == CODES_LABELLED_MAX + 5
    assert value(metrics, "transactions_total", status="fatal_error", code="other") == 5


async def test_metrics_are_served_only_where_the_app_says_so() -> None:
    asked = BackendRequest("GET", "/metrics")
    assert (await make_backend(metrics=BackendMetrics()).handle(asked)).status == 404
    answer = await make_backend(metrics=BackendMetrics(), more_routes=[metrics_route()]).handle(asked)
    assert (answer.status, b"syncline_backend_transactions" in answer.body) == (200, True)
    assert answer.headers["content-type"].startswith("text/plain")
    assert (await make_backend(more_routes=[metrics_route()]).handle(asked)).status == 404


def test_who_wants_metrics_without_the_library_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError) as failed:
        BackendMetrics()
    assert "pip install prometheus-client" in failed.value.hint


@pytest.mark.requirement(254)
async def test_each_transaction_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    persister = RecordingPersister(failures={"bad": WriteRefused("CHECK_VIOLATION", "no", operation_index=0)})
    crud = [operation(op_data={"name": "a secret"}), operation(table="t" * 500)]
    many = [operation(table=f"table {number:02}") for number in range(TABLES_LOGGED_MAX + 1)]
    body = upload([operation(row_id="bad", transaction_id=7, op_data={"name": "a secret"})], crud, many, client_id="c1")
    with caplog.at_level(logging.INFO, "syncline.backend"):
        backend = make_backend(persister, on_fatal="skip")
        await backend.handle(BackendRequest("POST", "/api/data", headers=bearer("ann"), body=body))
    records: list[Mapping[str, object]] = [
        record.__dict__ for record in caplog.records if getattr(record, "event", "") == "backend.upload"
    ]
    wanted = {
        "levelname": "WARNING",
        "user_id": "ann",
        "client_id": "c1",
        "transaction_id": 7,
        "operations": 1,
        "tables": "lists",
        "status": "fatal_error",
        "error_code": "CHECK_VIOLATION",
    }
    assert len(records) == 3
    assert wanted.items() <= records[0].items()
    ms = records[0]["ms"]
    assert isinstance(ms, float)
    assert ms >= 0
    assert len(str(records[1]["tables"])) < 100
    assert str(records[2]["tables"]).count(",") == TABLES_LOGGED_MAX - 1
    assert all("a secret" not in str(record.__dict__) for record in caplog.records)
