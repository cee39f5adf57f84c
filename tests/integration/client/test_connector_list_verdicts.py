"""A list of transactions whose answer tells each one's verdict, as our own backend does: it is believed where it is whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from syncline.client import HttpConnector, MemoryTokenStore, SyncDatabase, TransactionsUploader
from syncline.client.errors import ClientError
from tests.integration.client.test_upload import count, write
from tests.support.foreign_backend import ForeignBackend, serve_backend

SUCCESS = {"status": "success"}
REFUSED = {
    "status": "fatal_error",
    "requires_client_handling": False,
    "message": "no such name",
    "failed_operation": {"error_code": "BAD_NAME", "message": "no such name"},
}
LATER = {"status": "retryable_error", "message": "busy"}


@pytest.fixture
async def backend() -> AsyncGenerator[ForeignBackend]:
    async with serve_backend() as running:
        yield running


@pytest.fixture
async def connector(backend: ForeignBackend) -> HttpConnector:
    store = MemoryTokenStore()
    await store.set("session-1")
    return HttpConnector(backend.url, token_store=store, uploader=TransactionsUploader())


async def refused_rows(db: SyncDatabase) -> list[tuple[str, list[str]]]:
    letters = await db.dead_letters.list()
    return [(letter.refusal.code, [entry.id for entry in letter.entries]) for letter in letters]


async def test_nothing_is_sent_again_where_each_has_a_verdict(
    db: SyncDatabase, backend: ForeignBackend, connector: HttpConnector
) -> None:
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    backend.answers = [(200, {"success": False, "results": [SUCCESS, REFUSED, SUCCESS]})]
    await connector.upload_data(db)
    assert len(backend.uploads) == 1
    assert await count(db) == 0
    assert await refused_rows(db) == [("BAD_NAME", ["b"])]


@pytest.mark.parametrize("results", [[REFUSED], [SUCCESS, REFUSED, SUCCESS, SUCCESS], [SUCCESS, "no", SUCCESS], "none"])
async def test_verdicts_that_are_not_whole_are_asked_for_one_by_one(
    db: SyncDatabase, backend: ForeignBackend, connector: HttpConnector, results: Any
) -> None:
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    backend.refuse = {"b": (422, {"code": "BAD_NAME", "message": "no such name"})}
    backend.answers = [(200, {"success": False, "results": results})]
    await connector.upload_data(db)
    assert [len(each.body["transactions"]) for each in backend.uploads] == [3, 1, 1, 1]
    assert await count(db) == 0
    assert await refused_rows(db) == [("BAD_NAME", ["b"])]


async def test_what_has_no_final_verdict_stays_with_what_is_behind_it(
    db: SyncDatabase, backend: ForeignBackend, connector: HttpConnector
) -> None:
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    backend.answers = [(200, {"success": False, "results": [REFUSED, LATER, SUCCESS]})]
    with pytest.raises(ClientError, match="busy"):
        await connector.upload_data(db)
    assert await refused_rows(db) == [("BAD_NAME", ["a"])]
    assert [each.crud[0].id for each in await db.get_crud_transactions(5)] == ["b", "c"]
