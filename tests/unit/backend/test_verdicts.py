from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from syncline.backend import AuthenticatedUser
from syncline.backend.dead_letters.letters import DeadLetterState
from syncline.backend.hooks import Hooks
from syncline.backend.limits import DEAD_LETTER_DETAILS_BYTES_MAX, RETRY_AFTER_MS, UNKNOWN_FAILURES_MAX
from syncline.backend.persisters.base import CLIENT_FORKED, RetryLater, UnknownFailure, WriteRefused
from syncline.errors import ConfigError
from tests.unit.backend.asgi import RecordingPersister, make_backend, operation, upload
from tests.unit.backend.letters import LettersInMemory, hanging

ANN = AuthenticatedUser("ann", {"role": "editor"})
REFUSED = WriteRefused("CHECK_VIOLATION", "no", operation_index=0, details={"column": "name"})


async def verdict(letters: LettersInMemory | None, failure: Exception, *, crud_id: int = 1, **options: Any) -> Any:
    """The verdict over an upload that fails so, from a device that sends ids."""
    backend = make_backend(RecordingPersister(failures={"l1": failure}), dead_letters=letters, **options)
    body = upload([operation(client_op_id=crud_id, op_data={"name": "x"})], client_id="c1")
    answer = json.loads(msgspec.json.encode(await backend.handle_upload(body, ANN)))
    await backend.close()
    return answer["results"][0]


@pytest.mark.requirement(147)
async def test_a_refusal_is_kept_whole_before_it_is_answered() -> None:
    letters = LettersInMemory()
    result = await verdict(letters, REFUSED)
    assert (result["status"], result["dead_lettered"]) == ("fatal_error", True)
    [letter] = letters.letters.values()
    assert (letter.user_id, letter.client_id, letter.state) == ("ann", "c1", DeadLetterState.OPEN)
    assert (letter.code, letter.operation_index, letter.details) == ("CHECK_VIOLATION", 0, {"column": "name"})
    assert [entry.op_data for entry in letter.transaction.crud] == [{"name": "x"}]
    assert letter.claims == {"role": "editor"}
    assert "editor" not in repr(letter)


@pytest.mark.requirement(147)
@pytest.mark.parametrize("letters", [LettersInMemory(away=True), LettersInMemory(letters_max=0)])
async def test_what_cannot_be_kept_is_not_refused(letters: LettersInMemory) -> None:
    result = await verdict(letters, REFUSED)
    assert (result["status"], result["retry_after_ms"]) == ("retryable_error", RETRY_AFTER_MS)
    assert "dead_lettered" not in result


async def test_a_repeat_makes_no_second_letter() -> None:
    letters = LettersInMemory()
    first, second = [await verdict(letters, REFUSED) for _ in range(2)]
    assert second == first
    assert len(letters.letters) == 1


async def test_details_above_their_limit_stay_out_of_the_letter() -> None:
    letters = LettersInMemory()
    await verdict(letters, WriteRefused("CONFLICT", "no", details="x" * DEAD_LETTER_DETAILS_BYTES_MAX))
    [letter] = letters.letters.values()
    assert letter.details is None


async def test_a_fork_makes_no_letter() -> None:
    letters = LettersInMemory()
    result = await verdict(letters, WriteRefused(CLIENT_FORKED, "a copy"))
    assert result["requires_client_handling"] is True
    assert letters.letters == {}


async def for_client(_error: WriteRefused, _attempt: object) -> bool:
    return True


def checks_are_for_client(error: WriteRefused, _attempt: object) -> bool:
    return error.error_code == "CHECK_VIOLATION"


@pytest.mark.parametrize("callback", [for_client, checks_are_for_client])
async def test_a_refusal_can_be_left_to_the_device_and_makes_no_letter(callback: Any) -> None:
    letters = LettersInMemory()
    result = await verdict(letters, REFUSED, requires_client_handling=callback)
    assert (result["status"], result["requires_client_handling"]) == ("fatal_error", True)
    assert (letters.letters, letters.verdicts) == ({}, {})


def raises(*_: object) -> Any:
    raise KeyError("a value")


def says_nothing(*_: object) -> Any:
    return None


def says_one(*_: object) -> Any:
    return 1


@pytest.mark.parametrize("callback", [raises, says_nothing, says_one])
async def test_a_callback_that_cannot_say_leaves_the_write_with_the_device(
    callback: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    letters = LettersInMemory()
    with caplog.at_level(logging.ERROR):
        result = await verdict(letters, REFUSED, requires_client_handling=callback)
    assert result["status"] == "retryable_error"
    assert letters.letters == {}
    assert "a value" not in caplog.text


async def test_a_callback_that_hangs_leaves_the_write_with_the_device() -> None:
    letters = LettersInMemory()
    result = await verdict(letters, REFUSED, requires_client_handling=hanging, hooks=Hooks(seconds_max=0.01))
    assert result["status"] == "retryable_error"
    assert letters.letters == {}


@pytest.mark.requirement(148)
@pytest.mark.parametrize("failure", [UnknownFailure("a bug", error_code="UNCLASSIFIED_ERROR"), KeyError("a value")])
async def test_a_failure_of_unknown_cause_is_retryable_for_a_while_and_then_refused(failure: Exception) -> None:
    letters = LettersInMemory()
    results = [await verdict(letters, failure) for _ in range(UNKNOWN_FAILURES_MAX + 1)]
    assert [result["status"] for result in results] == ["retryable_error"] * UNKNOWN_FAILURES_MAX + ["fatal_error"]
    assert [result["retry_after_ms"] for result in results[:-1]] == [1000, 4000, 16_000, 64_000, 256_000]
    assert results[-1]["failed_operation"]["error_code"] == "UNCLASSIFIED_ERROR"
    assert results[-1]["dead_lettered"] is True
    assert "a value" not in json.dumps(results)


async def test_failures_are_counted_for_each_transaction() -> None:
    letters = LettersInMemory()
    for crud_id in range(UNKNOWN_FAILURES_MAX + 1):
        assert (await verdict(letters, UnknownFailure("a bug"), crud_id=crud_id))["status"] == "retryable_error"


@pytest.mark.parametrize(
    ("letters", "failure"),
    [
        (LettersInMemory(), RetryLater("not now")),  # a connection that was lost at COMMIT is one
        (LettersInMemory(away=True), UnknownFailure("a bug")),
        (None, UnknownFailure("a bug")),
    ],
)
async def test_what_is_not_counted_is_retryable_for_ever(letters: LettersInMemory | None, failure: Exception) -> None:
    for _ in range(2 * UNKNOWN_FAILURES_MAX):
        assert (await verdict(letters, failure))["status"] == "retryable_error"


async def test_a_refusal_is_reported_where_the_app_asks_for_it() -> None:
    letters = LettersInMemory()
    await verdict(letters, REFUSED, write_results=True)
    assert letters.write_results == list(letters.letters)
    with pytest.raises(ConfigError, match="write_results"):
        make_backend(write_results=True)


async def test_a_batch_goes_on_behind_what_was_kept_when_it_may_skip() -> None:
    letters = LettersInMemory()
    backend = make_backend(RecordingPersister(failures={"bad": REFUSED}), dead_letters=letters, on_fatal="skip")
    body = upload([operation(row_id="a")], [operation(row_id="bad")], [operation(row_id="c")])
    answer = json.loads(msgspec.json.encode(await backend.handle_upload(body, ANN)))
    assert [result["status"] for result in answer["results"]] == ["success", "fatal_error", "success"]
