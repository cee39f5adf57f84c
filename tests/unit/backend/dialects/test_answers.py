"""What devices of a dialect are told: nothing may leave a queue that has not been settled, and nothing settled may block it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.backend.dialects.answers import answer_for_row, answer_for_whole
from syncline.protocol.crud import FailedOperation, ResultStatus, TransactionResult

SUCCESS = TransactionResult(ResultStatus.SUCCESS)
NOT_ATTEMPTED = TransactionResult(ResultStatus.NOT_ATTEMPTED)
RETRYABLE = TransactionResult(ResultStatus.RETRYABLE_ERROR, message="busy", retry_after_ms=1500)


def fatal(code: str = "CHECK_VIOLATION", *, to_app: bool | None = False, index: int | None = 1) -> TransactionResult:
    operation = FailedOperation(code, "no such name", details={"field": "name"}, operation_index=index)
    return TransactionResult(
        ResultStatus.FATAL_ERROR, message="no such name", requires_client_handling=to_app, failed_operation=operation
    )


@pytest.mark.requirement(153)
def test_a_request_that_is_settled_is_a_200_and_names_what_was_refused() -> None:
    assert msgspec.json.encode(answer_for_whole([SUCCESS, SUCCESS]).body) == b'{"success":true}'
    answer = answer_for_whole([SUCCESS, fatal(), SUCCESS], names=["crud:1", "crud:3", "crud:9"])
    assert answer.status == 200
    assert msgspec.to_builtins(answer.body) == {
        "success": False,
        "error": "no such name",
        "error_code": "CHECK_VIOLATION",
        "rejected": [
            {
                "message": "no such name",
                "error_code": "CHECK_VIOLATION",
                "details": {"field": "name"},
                "operation_index": 1,
                "index": 1,
                "op_id": "crud:3",
            }
        ],
        "results": [{"status": "success"}, msgspec.to_builtins(fatal()), {"status": "success"}],
    }
    assert "results" not in msgspec.to_builtins(answer_for_whole([fatal()]).body)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (RETRYABLE, "RETRY_LATER"),
        (NOT_ATTEMPTED, "RETRY_LATER"),
        (fatal("CLIENT_FORKED", to_app=True), "CLIENT_FORKED"),
        (TransactionResult(ResultStatus.FATAL_ERROR, requires_client_handling=True), "UNCLASSIFIED_ERROR"),
    ],
    ids=["retryable", "not attempted", "left to the app", "without words"],
)
def test_what_must_stay_in_the_queue_is_a_503_whatever_stands_beside_it(result: TransactionResult, code: str) -> None:
    for results in ([result], [SUCCESS, result], [fatal(), result, NOT_ATTEMPTED]):
        answer = answer_for_whole(results)
        assert answer.status == 503
        told = msgspec.to_builtins(answer.body)
        assert (told["success"], told["error_code"]) == (False, code)
        assert told["error"]
        assert "rejected" not in told
    assert answer_for_row(result).status == 503


def test_the_wait_is_told_in_whole_seconds() -> None:
    assert answer_for_whole([RETRYABLE]).headers == {"retry-after": "2"}
    assert answer_for_row(TransactionResult(ResultStatus.RETRYABLE_ERROR, retry_after_ms=0)).headers == {
        "retry-after": "1"
    }
    assert answer_for_whole([fatal(to_app=True)]).headers == {}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("UNIQUE_VIOLATION", 409),
        ("CONFLICT", 409),
        ("CHECK_VIOLATION", 422),
        ("UNAUTHORIZED", 422),
        ("SCHEMA_MISMATCH", 422),
    ],
)
def test_a_refused_row_is_a_status_at_which_devices_go_on(code: str, status: int) -> None:
    answer = answer_for_row(fatal(code, index=0))
    assert answer.status == status
    assert msgspec.to_builtins(answer.body) == {
        "message": "no such name",
        "error_code": code,
        "details": {"field": "name"},
        "operation_index": 0,
    }


def test_a_row_that_is_applied_needs_no_words() -> None:
    answer = answer_for_row(SUCCESS)
    assert (answer.status, answer.body) == (204, None)


RESULTS = st.sampled_from([SUCCESS, NOT_ATTEMPTED, RETRYABLE, fatal(), fatal(to_app=True), fatal(to_app=None)])


@given(results=st.lists(RESULTS, min_size=1, max_size=6))
def test_a_device_that_looks_at_the_status_alone_never_loses_a_write(results: list[TransactionResult]) -> None:
    settled = all(
        result.status is ResultStatus.SUCCESS
        or (result.status is ResultStatus.FATAL_ERROR and not result.requires_client_handling)
        for result in results
    )
    answer = answer_for_whole(results)
    assert (answer.status == 200) == settled
    assert msgspec.to_builtins(answer.body)["success"] == all(
        result.status is ResultStatus.SUCCESS for result in results
    )
