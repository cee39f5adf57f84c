from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from syncline.client import (
    HttpConnector,
    MemoryTokenStore,
    OperationsUploader,
    RestPerEntryUploader,
    SyncDatabase,
    TableBatchUploader,
    TransactionsUploader,
    TransactionUploader,
    UploadPolicy,
    WriteApiUploader,
)
from syncline.client.errors import ConnectionFailed, RetryableUploadError, ServiceError, UploadRejected
from tests.integration.client.test_upload import count, write
from tests.support.foreign_backend import ForeignBackend, serve_backend

PAGE = "<html><body>Welcome to the hotel's network</body></html>"

DIALECTS: dict[str, TransactionUploader] = {
    "rest": RestPerEntryUploader(),
    "transactions": TransactionsUploader(),
    "table batches": TableBatchUploader(patch="keep"),
    "operations": OperationsUploader(),
    "write api": WriteApiUploader(),
}
FOREIGN = [name for name in DIALECTS if name != "write api"]
REFUSAL = (422, {"code": "BAD_NAME", "message": "no such name"})


@pytest.fixture
async def backend() -> AsyncGenerator[ForeignBackend]:
    async with serve_backend() as running:
        yield running


def connector_for(
    backend: ForeignBackend, uploader: TransactionUploader, policy: UploadPolicy | None = None
) -> HttpConnector:
    return HttpConnector(
        backend.url,
        token_store=MemoryTokenStore("session-1"),
        uploader=uploader,
        policy=policy,
        service_url=backend.url,
    )


async def write_three_kinds(db: SyncDatabase) -> None:
    """A PUT, a PATCH and a DELETE, each of a transaction of its own."""
    await db.execute("INSERT INTO lists(id, name) VALUES ('a/b', 'first'), ('c', 'second')")
    await db.execute("UPDATE lists SET name = 'changed' WHERE id = 'a/b'")
    await db.execute("DELETE FROM lists WHERE id = 'c'")


async def letters_of(db: SyncDatabase) -> list[tuple[str, list[str]]]:
    return [(letter.refusal.code, [entry.id for entry in letter.entries]) for letter in await db.dead_letters.list()]


@pytest.mark.requirement(36, 37, 38)
@pytest.mark.parametrize("name", DIALECTS)
async def test_every_dialect_carries_what_was_written(db: SyncDatabase, backend: ForeignBackend, name: str) -> None:
    await write_three_kinds(db)
    await connector_for(backend, DIALECTS[name]).upload_data(db)
    assert backend.tables == {"lists": {"a/b": {"name": "changed"}}}
    assert await count(db) == 0


@pytest.mark.requirement(36)
async def test_rest_sends_one_request_for_each_row_with_its_column_values(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    await write_three_kinds(db)
    await connector_for(backend, RestPerEntryUploader()).upload_data(db)
    assert [(each.method, each.path, each.body) for each in backend.uploads] == [
        ("PUT", "/api/data/lists/a/b", {"name": "first"}),  # aiohttp shows the path decoded; %2F went over the wire
        ("PUT", "/api/data/lists/c", {"name": "second"}),
        ("PATCH", "/api/data/lists/a/b", {"name": "changed"}),
        ("DELETE", "/api/data/lists/c", None),
    ]


@pytest.mark.requirement(28, 37)
async def test_transactions_go_as_a_list_under_names_that_a_repeat_does_not_change(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    await write_three_kinds(db)
    backend.answers = [(503, "busy")]
    connector = connector_for(backend, TransactionsUploader())
    with pytest.raises(ServiceError):
        await connector.upload_data(db)
    await connector.upload_data(db)
    first, second = backend.uploads
    assert (first.method, first.path) == ("PUT", "/api/powersync/upload")
    assert first.body == second.body
    assert first.body["transactions"] == [
        {
            "op_id": "crud:1",
            "ops": [
                {"op": "PUT", "table": "lists", "id": "a/b", "data": {"name": "first"}},
                {"op": "PUT", "table": "lists", "id": "c", "data": {"name": "second"}},
            ],
        },
        {"op_id": "crud:3", "ops": [{"op": "PATCH", "table": "lists", "id": "a/b", "data": {"name": "changed"}}]},
        {"op_id": "crud:4", "ops": [{"op": "DELETE", "table": "lists", "id": "c", "data": None}]},
    ]


@pytest.mark.requirement(38)
async def test_table_batches_send_an_update_as_an_upsert_where_the_app_says_so(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    await write_three_kinds(db)
    await connector_for(backend, TableBatchUploader(patch="upsert", max_transactions=10)).upload_data(db)
    [request] = backend.uploads
    assert (request.method, request.path) == ("POST", "/api/powersync/upload")
    assert request.body == {
        "changes": {
            "lists": [
                {"type": "PUT", "id": "a/b", "data": {"name": "first"}},
                {"type": "PUT", "id": "c", "data": {"name": "second"}},
                {"type": "PUT", "id": "a/b", "data": {"name": "changed"}},
                {"type": "DELETE", "id": "c"},
            ]
        }
    }


@pytest.mark.requirement(38)
async def test_table_batches_refuse_an_update_unless_told_otherwise(db: SyncDatabase, backend: ForeignBackend) -> None:
    await write_three_kinds(db)
    with pytest.raises(UploadRejected, match="PATCH") as raised:
        await connector_for(backend, TableBatchUploader()).upload_data(db)
    assert 'patch="upsert"' in raised.value.hint
    assert await count(db) == 2  # the insert has gone, the update and what is behind it wait
    assert await letters_of(db) == []


@pytest.mark.requirement(35)
async def test_the_recipes_unsuccessful_answer_becomes_a_dead_letter_and_the_queue_goes_on(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    await write(db, "a")
    await write(db, "b")
    backend.answers = [(200, {"success": False, "error": "Name is taken"})]
    await connector_for(backend, OperationsUploader()).upload_data(db)
    assert backend.uploads[0].body == {
        "operations": [{"id": "a", "op": "PUT", "table": "lists", "opData": {"name": "a"}}]
    }
    assert await count(db) == 0
    [letter] = await db.dead_letters.list()
    assert (letter.refusal.message, letter.refusal.status_code) == ("Name is taken", 200)
    assert backend.tables == {"lists": {"b": {"name": "b"}}}


@pytest.mark.parametrize("body", [{"success": False}, {"rejected": ["crud:1"]}, {"errors": [{"message": "no"}]}])
@pytest.mark.parametrize("name", FOREIGN)
async def test_a_success_whose_body_lists_what_was_rejected_is_none(
    db: SyncDatabase, backend: ForeignBackend, name: str, body: dict[str, Any]
) -> None:
    """Write path reference, 8: an app lost writes that a backend had answered with 200 and a `rejected` list."""
    await write(db, "a")
    backend.answers = [(200, body)]
    await connector_for(backend, DIALECTS[name]).upload_data(db)
    assert [ids for _, ids in await letters_of(db)] == [["a"]]


@pytest.mark.requirement(44, 45)
@pytest.mark.parametrize("name", FOREIGN)
async def test_a_refusal_leaves_the_queue_as_a_dead_letter_by_default(
    db: SyncDatabase, backend: ForeignBackend, name: str
) -> None:
    backend.refuse = {"b": REFUSAL}
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    connector = connector_for(backend, DIALECTS[name])
    await connector.upload_data(db)
    assert await count(db) == 0
    assert await letters_of(db) == [("BAD_NAME", ["b"])]
    assert sorted(backend.tables["lists"]) == ["a", "c"]
    assert connector.rejected == 1


@pytest.mark.requirement(41)
@pytest.mark.parametrize("name", FOREIGN)
async def test_a_refusal_blocks_the_queue_where_the_policy_says_so(
    db: SyncDatabase, backend: ForeignBackend, name: str
) -> None:
    backend.refuse = {"b": REFUSAL}
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    connector = connector_for(backend, DIALECTS[name], UploadPolicy(on_reject="block"))
    with pytest.raises(UploadRejected, match="no such name") as raised:
        await connector.upload_data(db)
    assert raised.value.error_code == "BAD_NAME"
    assert [transaction.crud[0].id for transaction in await db.get_crud_transactions(10)] == ["b", "c"]
    assert sorted(backend.tables["lists"]) == ["a"]  # what is behind it does not overtake it
    assert await letters_of(db) == []


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_refusal_is_dropped_where_the_policy_says_so(
    db: SyncDatabase, backend: ForeignBackend, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend.refuse = {"b": REFUSAL}
    await write(db, "b")
    await connector_for(backend, DIALECTS[name], UploadPolicy(on_reject="drop")).upload_data(db)
    assert await count(db) == 0
    assert await letters_of(db) == []
    assert "BAD_NAME" in caplog.text  # with a line in the log, never in silence


@pytest.mark.requirement(40)
async def test_a_refused_entry_is_skipped_and_the_rest_of_its_transaction_goes_on(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    told: list[str] = []
    policy = UploadPolicy(on_reject="skip_entry", on_rejected=lambda _, refusal: told.append(refusal.code))
    backend.refuse = {"2": REFUSAL}
    await db.execute("INSERT INTO lists(id, name) VALUES ('1', 'one'), ('2', 'two'), ('3', 'three')")
    await connector_for(backend, RestPerEntryUploader(), policy).upload_data(db)
    assert sorted(backend.tables["lists"]) == ["1", "3"]
    assert await count(db) == 0
    assert told == ["BAD_NAME"]
    assert await letters_of(db) == [("BAD_NAME", ["2"])]


async def test_a_letter_of_single_entries_holds_what_the_backend_has_not_taken(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    backend.refuse = {"2": REFUSAL}
    await db.execute("INSERT INTO lists(id, name) VALUES ('1', 'one'), ('2', 'two'), ('3', 'three')")
    await connector_for(backend, RestPerEntryUploader()).upload_data(db)
    assert sorted(backend.tables["lists"]) == ["1"]
    assert await letters_of(db) == [("BAD_NAME", ["2", "3"])]


@pytest.mark.requirement(20)
@pytest.mark.parametrize("status", [401, 403, 408, 425, 429])
@pytest.mark.parametrize("name", DIALECTS)
async def test_who_asks_and_when_is_never_a_refusal_of_the_writes(
    db: SyncDatabase, backend: ForeignBackend, name: str, status: int
) -> None:
    await write(db, "a")
    backend.answers = [(status, {"message": "not now"})] * 2
    connector = connector_for(backend, DIALECTS[name], UploadPolicy(on_reject="drop", max_attempts=1))
    with pytest.raises(ServiceError) as raised:
        await connector.upload_data(db)
    assert raised.value.status_code == status
    assert await count(db) == 1
    assert await letters_of(db) == []
    assert len(backend.uploads) == (2 if status == 401 else 1)  # a refused token is replaced once


async def test_a_forbidden_upload_is_a_refusal_where_the_policy_says_so(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    await write(db, "a")
    backend.answers = [(403, {"message": "wrong role"})]
    policy = UploadPolicy(on_forbidden="dead_letter")
    await connector_for(backend, TransactionsUploader(), policy).upload_data(db)
    assert await letters_of(db) == [("HTTP_403", ["a"])]


@pytest.mark.requirement(42, 47)
@pytest.mark.parametrize(
    "answer",
    [
        (500, {"message": "boom"}),
        (502, PAGE),
        (503, ""),
        (504, PAGE),
        (302, "", {"location": "https://login.example.com"}),
        (200, PAGE),
    ],
)
@pytest.mark.parametrize("name", DIALECTS)
async def test_what_no_backend_has_said_keeps_the_queue(
    db: SyncDatabase, backend: ForeignBackend, name: str, answer: Any
) -> None:
    await write(db, "a")
    backend.answers = [answer]
    connector = connector_for(backend, DIALECTS[name], UploadPolicy(on_reject="drop"))
    with pytest.raises(ServiceError):
        await connector.upload_data(db)
    assert await count(db) == 1
    await connector.upload_data(db)
    assert await count(db) == 0


@pytest.mark.requirement(47)
async def test_an_empty_success_of_the_write_api_settles_nothing(db: SyncDatabase, backend: ForeignBackend) -> None:
    await write(db, "a")
    backend.answers = [(200, "")]
    with pytest.raises(ServiceError, match="with nothing"):
        await connector_for(backend, WriteApiUploader()).upload_data(db)
    assert await count(db) == 1


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("name", ["transactions", "table batches", "operations", "write api"])
async def test_a_route_that_is_not_there_is_a_wrong_address_and_no_refusal(
    db: SyncDatabase, backend: ForeignBackend, name: str, status: int
) -> None:
    await write(db, "a")
    backend.answers = [(status, {"detail": "Not Found"})]
    with pytest.raises(ServiceError) as raised:
        await connector_for(backend, DIALECTS[name]).upload_data(db)
    assert "address" in raised.value.hint
    assert await count(db) == 1


async def test_a_row_that_is_gone_counts_as_deleted(db: SyncDatabase, backend: ForeignBackend) -> None:
    await write(db, "a")
    await connector_for(backend, RestPerEntryUploader()).upload_data(db)
    await db.execute("DELETE FROM lists WHERE id = 'a'")
    backend.refuse = {"a": (404, {"message": "no such row"})}
    await connector_for(backend, RestPerEntryUploader()).upload_data(db)
    assert await count(db) == 0
    assert await letters_of(db) == []


@pytest.mark.requirement(46, 232)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"message": "disk full"}, "disk full"),
        ({"title": "Oops", "detail": "the shard is down"}, "the shard is down"),
        ({"detail": [{"msg": "field required", "loc": ["body"]}]}, "field required"),
        ({"error": {"message": "nested"}}, "nested"),
        ("plain words", "HTTP 500"),
        ("", "HTTP 500"),
    ],
)
async def test_the_words_of_the_backend_reach_the_error(
    db: SyncDatabase, backend: ForeignBackend, body: Any, text: str
) -> None:
    await write(db, "a")
    backend.answers = [(500, body)]
    with pytest.raises(ServiceError, match=text):
        await connector_for(backend, TransactionsUploader()).upload_data(db)


@pytest.mark.requirement(50)
async def test_small_transactions_go_together_and_none_is_split(db: SyncDatabase, backend: ForeignBackend) -> None:
    for number in range(12):
        await db.execute(
            f"INSERT INTO lists(id, name) VALUES ('{number}x', 'x'), ('{number}y', 'y'), ('{number}z', 'z')"
        )
    store = MemoryTokenStore("session-1")
    connector = HttpConnector(backend.url, token_store=store, max_transactions=5, max_operations=7)
    await connector.upload_data(db)
    sizes = [[len(each["crud"]) for each in request.body["transactions"]] for request in backend.uploads]
    assert sizes == [[3, 3]] * 6  # a third transaction would be the operations 7 to 9
    backend.requests.clear()
    async with db.write_transaction() as transaction:
        await transaction.execute_many("INSERT INTO lists(id, name) VALUES (?, 'x')", [[f"r{n}"] for n in range(20)])
    await connector.upload_data(db)
    assert [[len(each["crud"]) for each in request.body["transactions"]] for request in backend.uploads] == [[20]]


@pytest.mark.parametrize("name", ["transactions", "write api"])
async def test_of_a_request_that_is_refused_as_a_whole_each_transaction_is_asked_for_alone(
    db: SyncDatabase, backend: ForeignBackend, name: str
) -> None:
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    ok = (200, {"results": [{"status": "success"}]})
    backend.answers = [(400, {"message": "b is odd"}), ok, (400, {"message": "b is odd"}), ok]
    await connector_for(backend, DIALECTS[name]).upload_data(db)
    assert await letters_of(db) == [("HTTP_400", ["b"])]
    assert await count(db) == 0
    assert len(backend.uploads) == 4


async def test_a_backend_that_fails_at_one_transaction_again_and_again_has_refused_it_in_the_end(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    await write(db, "a")
    await write(db, "b")
    connector = connector_for(backend, TransactionsUploader(max_transactions=1), UploadPolicy(max_attempts=3))
    backend.answers = [(500, {"message": "bug"}), (503, ""), (500, {"message": "bug"})]
    for _ in range(3):
        with pytest.raises(ServiceError):
            await connector.upload_data(db)
    assert await count(db) == 2  # the 503 was no attempt
    backend.answers = [(500, {"message": "bug"})]
    await connector.upload_data(db)
    assert await letters_of(db) == [("ATTEMPTS_EXHAUSTED", ["a"])]
    assert await count(db) == 0


@pytest.mark.requirement(259)
async def test_the_wait_of_a_returned_retryable_error_reaches_the_uploader(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    await write(db, "a")
    backend.answers = [(200, {"results": [{"status": "retryable_error", "retry_after_ms": 1500, "message": "later"}]})]
    with pytest.raises(RetryableUploadError, match="later") as raised:
        await connector_for(backend, WriteApiUploader()).upload_data(db)
    assert raised.value.retry_after_s == 1.5


@pytest.mark.requirement(30, 49)
async def test_a_backends_own_checkpoint_is_asked_for_once_at_the_end_of_the_queue(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    for number in range(12):
        await write(db, f"r{number}")
    connector = HttpConnector(
        backend.url,
        token_store=MemoryTokenStore("session-1"),
        uploader=WriteApiUploader(max_transactions=5),
        checkpoint_path="/api/data/checkpoint",
    )
    await connector.upload_data(db)
    assert (len(backend.requests), backend.checkpoints) == (1 + 3 + 1, 1)  # token, uploads, checkpoint
    [row] = await db.get_all("SELECT value FROM ps_kv WHERE key = 'target_checkpoint_request_id'")
    assert row["value"] == 1
    assert backend.requests[-1].body == {"client_id": await db.get_client_id()}


async def test_what_cannot_be_sent_does_not_hold_up_what_stands_before_it(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    await db.execute("UPDATE lists SET name = 'x' WHERE id = 'a'")
    with pytest.raises(UploadRejected):
        await connector_for(backend, TableBatchUploader(max_transactions=10)).upload_data(db)
    assert sorted(backend.tables["lists"]) == ["a", "b", "c"]
    assert await count(db) == 1


@pytest.mark.parametrize("name", ["rest", "transactions"])
async def test_a_connection_that_breaks_between_two_transactions_leaves_the_first_settled(
    db: SyncDatabase, backend: ForeignBackend, name: str
) -> None:
    for row_id in ("a", "b"):
        await write(db, row_id)
    both_refused = [(422, {"message": "no"})] if name == "transactions" else []
    # Twice, because aiohttp repeats an idempotent request whose kept connection has broken.
    backend.answers = [*both_refused, (200, {}), (0, ""), (0, "")]
    with pytest.raises(ConnectionFailed):
        await connector_for(backend, DIALECTS[name]).upload_data(db)
    assert [transaction.crud[0].id for transaction in await db.get_crud_transactions(5)] == ["b"]


async def test_after_a_forbidden_upload_the_next_attempt_has_a_new_token(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    await write(db, "a")
    backend.answers = [(403, {"message": "wrong role"})]
    connector = connector_for(backend, TransactionsUploader())
    with pytest.raises(ServiceError):
        await connector.upload_data(db)
    await connector.upload_data(db)
    first, second = (each.headers["authorization"] for each in backend.uploads)
    assert first != second


async def test_two_uploads_at_a_time_send_nothing_twice(db: SyncDatabase, backend: ForeignBackend) -> None:
    for number in range(8):
        await write(db, f"r{number}")
    connector = connector_for(backend, TransactionsUploader(max_transactions=2))
    await asyncio.gather(connector.upload_data(db), connector.upload_data(db))
    assert len(backend.uploads) == 4
