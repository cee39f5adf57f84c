from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest

from syncline.backend import AuthenticatedUser, TablePolicy
from syncline.backend.limits import CLIENT_ID_CHARACTERS_MAX, NAME_CHARACTERS_SHOWN_MAX, RETRY_AFTER_MS
from syncline.backend.persisters.base import CLIENT_FORKED, RetryLater, Write, WriteRefused
from syncline.errors import ConfigError, RequestInvalid
from syncline.protocol.crud import ResultStatus, TransactionResult
from tests.unit.backend.asgi import RecordingPersister, make_backend, operation, upload

ANN = AuthenticatedUser("ann")
REFUSED = WriteRefused("CHECK_VIOLATION", "no", operation_index=0)


async def results(
    persister: RecordingPersister, *transactions: list[dict[str, Any]], client_id: str | None = None, **options: Any
) -> list[dict[str, Any]]:
    body = upload(*transactions, **({} if client_id is None else {"client_id": client_id}))
    answer = await make_backend(persister, **options).handle_upload(body, ANN)
    return json.loads(msgspec.json.encode(answer))["results"]


async def only_write(entry: dict[str, Any], policy: TablePolicy) -> Write:
    persister = RecordingPersister()
    [result] = await results(persister, [entry], tables={"lists": policy})
    assert result == {"status": "success"}
    return persister.applied[0][0]


def test_a_backend_without_a_policy_refuses_to_start() -> None:
    with pytest.raises(ConfigError, match="no table policies"):
        make_backend(tables={})


@pytest.mark.parametrize("wrong", [{"owner": "id"}, {"owner": ""}, {"owner": None, "columns": "name"}])
def test_a_policy_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TablePolicy(**wrong)


async def test_a_table_without_a_policy_takes_nothing() -> None:
    persister = RecordingPersister()
    [result] = await results(persister, [operation(), operation(table="users", row_id="u9")])
    assert result["status"] == "fatal_error"
    assert result["failed_operation"]["error_code"] == "SCHEMA_MISMATCH"
    assert result["failed_operation"]["operation_index"] == 1
    assert result["requires_client_handling"] is False
    assert persister.applied == []


async def test_a_column_outside_the_policy_is_a_schema_mismatch() -> None:
    persister = RecordingPersister()
    [result] = await results(persister, [operation("PATCH", op_data={"is_admin": 1})])
    assert result["failed_operation"]["error_code"] == "SCHEMA_MISMATCH"
    assert "is_admin" in result["failed_operation"]["message"]
    assert persister.applied == []


@pytest.mark.parametrize("entry", [operation(table="t" * 5000), operation(op_data={"c" * 5000: 1})])
async def test_an_unknown_name_is_repeated_to_its_limit_only(entry: dict[str, Any]) -> None:
    """Verdicts are stored: a name must not make them as large as an upload."""
    [result] = await results(RecordingPersister(), [entry])
    assert NAME_CHARACTERS_SHOWN_MAX < len(result["message"]) < 2 * NAME_CHARACTERS_SHOWN_MAX


@pytest.mark.requirement(134)
async def test_the_owner_comes_from_the_token_whatever_the_client_sends() -> None:
    write = await only_write(operation(op_data={"name": "x", "owner_id": "bob"}), TablePolicy(owner="owner_id"))
    assert write.data == {"name": "x"}
    assert write.owner == ("owner_id", "ann")


@pytest.mark.requirement(134)
async def test_a_patch_cannot_give_a_row_away() -> None:
    write = await only_write(
        operation("PATCH", op_data={"owner_id": "bob"}), TablePolicy(owner="owner_id", columns=["name"])
    )
    assert write.data == {}


async def test_a_table_open_to_everybody_has_no_owner() -> None:
    write = await only_write(operation(op_data={"owner_id": "bob"}), TablePolicy(owner=None))
    assert (write.owner, write.data) == (None, {"owner_id": "bob"})


async def test_an_id_inside_the_data_does_not_count() -> None:
    write = await only_write(operation(op_data={"id": "other", "name": "x"}), TablePolicy(owner=None))
    assert (write.id, write.data) == ("l1", {"name": "x"})


async def test_a_delete_carries_no_data() -> None:
    write = await only_write(operation("DELETE", op_data={"anything": 1}), TablePolicy(owner=None, columns=["name"]))
    assert write.data == {}


async def test_a_table_can_have_another_name_in_the_database() -> None:
    assert (await only_write(operation(), TablePolicy(owner=None, table="app_lists"))).table == "app_lists"


async def test_a_batch_stops_at_the_first_refusal() -> None:
    persister = RecordingPersister(failures={"bad": REFUSED})
    answers = await results(persister, [operation(row_id="a")], [operation(row_id="bad")], [operation(row_id="c")])
    assert [answer["status"] for answer in answers] == ["success", "fatal_error", "not_attempted"]
    assert [write.id for writes in persister.applied for write in writes] == ["a"]


async def test_skipping_goes_on_after_a_refusal() -> None:
    persister = RecordingPersister(failures={"bad": REFUSED})
    transactions = [operation(row_id="a")], [operation(row_id="bad")], [operation(row_id="c")]
    answers = await results(persister, *transactions, on_fatal="skip")
    assert [answer["status"] for answer in answers] == ["success", "fatal_error", "success"]


@pytest.mark.parametrize("failure", [RetryLater("not now"), WriteRefused(CLIENT_FORKED, "a copy")])
async def test_skipping_never_passes_what_the_client_must_send_again(failure: Exception) -> None:
    persister = RecordingPersister(failures={"bad": failure})
    answers = await results(persister, [operation(row_id="bad")], [operation(row_id="c")], on_fatal="skip")
    assert answers[1]["status"] == "not_attempted"
    assert persister.applied == []


async def test_a_passing_failure_says_when_to_come_back() -> None:
    persister = RecordingPersister(failures={"l1": RetryLater("not now")})
    [answer] = await results(persister, [operation()])
    assert answer == {"status": "retryable_error", "message": "not now", "retry_after_ms": RETRY_AFTER_MS}


async def test_a_forked_device_keeps_its_writes() -> None:
    """The client completes what needs no handling: these writes would be lost."""
    persister = RecordingPersister(failures={"l1": WriteRefused(CLIENT_FORKED, "a copy")})
    [answer] = await results(persister, [operation(client_op_id=1)], client_id="c1")
    assert answer["requires_client_handling"] is True
    assert persister.refusals == []


async def test_a_transaction_is_known_by_user_device_and_ids() -> None:
    persister = RecordingPersister()
    crud = [operation(client_op_id=7), operation(client_op_id=8)]
    await results(persister, crud, client_id="c1")
    await results(persister, crud, client_id="c1")
    first, second = persister.identities
    assert first is not None
    assert first == second
    assert (first.user_id, first.client_id, first.first_crud_id, first.last_crud_id) == ("ann", "c1", 7, 8)


@pytest.mark.parametrize(
    ("crud", "client_id"),
    [([operation(client_op_id=7)], None), ([operation(client_op_id=7), operation()], "c1"), ([operation()], "c1")],
)
async def test_clients_that_send_no_ids_have_no_identity(crud: list[dict[str, Any]], client_id: str | None) -> None:
    persister = RecordingPersister()
    await results(persister, crud, client_id=client_id)
    assert persister.identities == [None]


async def test_a_refusal_is_recorded_and_an_earlier_verdict_wins() -> None:
    persister = RecordingPersister()
    entry = operation(table="gone", client_op_id=1)
    assert (await results(persister, [entry], client_id="c1"))[0]["status"] == "fatal_error"
    [recorded] = persister.refusals
    assert recorded.failed_operation is not None
    assert recorded.failed_operation.error_code == "SCHEMA_MISMATCH"
    persister.recording = lambda _: TransactionResult(ResultStatus.SUCCESS, deduplicated=True)
    assert await results(persister, [entry], client_id="c1") == [{"status": "success", "deduplicated": True}]


async def test_a_refusal_that_cannot_be_recorded_is_still_answered() -> None:
    def unavailable(_: TransactionResult) -> TransactionResult:
        raise RetryLater("no database")

    persister = RecordingPersister(failures={"l1": REFUSED}, recording=unavailable)
    [answer] = await results(persister, [operation(client_op_id=1)], client_id="c1")
    assert answer["failed_operation"] == {"error_code": "CHECK_VIOLATION", "message": "no", "operation_index": 0}


async def test_a_fork_found_while_a_refusal_is_recorded_is_answered() -> None:
    def forked(_: TransactionResult) -> TransactionResult:
        raise WriteRefused(CLIENT_FORKED, "a copy")

    persister = RecordingPersister(failures={"l1": REFUSED}, recording=forked)
    [answer] = await results(persister, [operation(client_op_id=1)], client_id="c1")
    assert answer["failed_operation"]["error_code"] == CLIENT_FORKED


async def test_the_log_has_names_and_codes_but_no_values(caplog: pytest.LogCaptureFixture) -> None:
    persister = RecordingPersister(failures={"l1": REFUSED})
    with caplog.at_level(logging.INFO, "syncline.backend"):
        await results(persister, [operation(op_data={"name": "a secret"})])
    [record] = [r for r in caplog.records if getattr(r, "event", "") == "backend.upload"]
    assert (record.__dict__["user_id"], record.__dict__["error_code"]) == ("ann", "CHECK_VIOLATION")
    assert all("a secret" not in str(r.__dict__) for r in caplog.records)


async def test_a_client_id_above_its_limit_makes_the_body_invalid() -> None:
    long = "x" * (CLIENT_ID_CHARACTERS_MAX + 1)
    assert await results(RecordingPersister(), [operation()], client_id=long[1:]) == [{"status": "success"}]
    for wrong in (long, "zero\0"):
        with pytest.raises(RequestInvalid, match="client_id"):
            await results(RecordingPersister(), [operation()], client_id=wrong)


async def test_a_body_that_is_no_batch_is_refused_as_a_whole() -> None:
    with pytest.raises(RequestInvalid):
        await make_backend().handle_upload(b'{"transactions": []}', ANN)
