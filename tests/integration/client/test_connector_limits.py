"""Every bound of the ready connectors, reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from syncline.client import (
    HttpConnector,
    MemoryTokenStore,
    Refusal,
    RequestTimeouts,
    SyncDatabase,
    TransactionsUploader,
)
from syncline.client.connectors.backend_client import ANSWER_BYTES_MAX, MESSAGE_CHARACTERS_MAX
from syncline.client.dead_letters import LIST_MAX
from syncline.client.errors import ConnectionFailed, CredentialsInvalid, ServiceError
from syncline.client.http_connector import BATCHES_PER_CALL_MAX
from tests.integration.client.test_upload import count, write
from tests.support.foreign_backend import ForeignBackend, serve_backend

NESTED = "[" * 100_000


@pytest.fixture
async def backend() -> AsyncGenerator[ForeignBackend]:
    async with serve_backend() as running:
        yield running


def connector_for(backend: ForeignBackend, timeouts: RequestTimeouts | None = None) -> HttpConnector:
    uploader = TransactionsUploader(max_transactions=2)
    store = MemoryTokenStore("session-1")
    return HttpConnector(backend.url, uploader=uploader, token_store=store, timeouts=timeouts)


@pytest.mark.parametrize(("more", "refused"), [(0, False), (1, True)])
async def test_an_answer_is_read_up_to_a_size(
    db: SyncDatabase, backend: ForeignBackend, more: int, refused: bool
) -> None:
    await write(db, "a")
    backend.answers = [(500, "x" * (ANSWER_BYTES_MAX + more))]
    with pytest.raises(ServiceError) as raised:
        await connector_for(backend).upload_data(db)
    assert ("longer than" in str(raised.value)) == refused
    assert await count(db) == 1


async def test_a_message_is_quoted_up_to_a_length(db: SyncDatabase, backend: ForeignBackend) -> None:
    await write(db, "a")
    backend.answers = [(500, {"message": "m" * (MESSAGE_CHARACTERS_MAX + 1)})]
    with pytest.raises(ServiceError) as raised:
        await connector_for(backend).upload_data(db)
    assert raised.value.message.count("m") - "http://127.0.0.1/api/powersync/upload answered HTTP".count("m") == (
        MESSAGE_CHARACTERS_MAX
    )


async def test_one_call_sends_a_bounded_number_of_requests(db: SyncDatabase, backend: ForeignBackend) -> None:
    for number in range(2 * BATCHES_PER_CALL_MAX + 3):
        await write(db, f"r{number}")
    connector = connector_for(backend)
    await connector.upload_data(db)
    assert (len(backend.uploads), await count(db)) == (BATCHES_PER_CALL_MAX, 3)
    await connector.upload_data(db)
    assert await count(db) == 0


async def test_a_request_may_take_a_bounded_time(db: SyncDatabase, backend: ForeignBackend) -> None:
    """Although the backend answers everything else."""

    async def never() -> None:
        if backend.uploads:
            await asyncio.Event().wait()

    backend.before_answer = never
    await write(db, "a")
    with pytest.raises(ConnectionFailed, match="TimeoutError"):
        await connector_for(backend, RequestTimeouts(answer_s=0.3, overdue_s=0.1)).upload_data(db)
    assert await count(db) == 1


async def test_letters_are_listed_up_to_a_number(db: SyncDatabase) -> None:
    await write(db, "a")
    transaction = await db.get_next_crud_transaction()
    assert transaction is not None
    await transaction.reject(Refusal("X"))
    await db.execute(
        "INSERT INTO syncline_dead_letters(created_at, crud, error_code, message)"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT 0, '[]', 'X', '' FROM n",
        [LIST_MAX],
    )
    assert await db.dead_letters.count() == LIST_MAX + 1
    assert len(await db.dead_letters.list(limit=10 * LIST_MAX)) == LIST_MAX
    assert await db.dead_letters.discard_all() == LIST_MAX + 1


@pytest.mark.requirement(47)
@pytest.mark.parametrize("status", [200, 422, 500])
async def test_json_without_an_end_breaks_nothing(db: SyncDatabase, backend: ForeignBackend, status: int) -> None:
    await write(db, "a")
    backend.answers = [(status, NESTED)]
    connector = connector_for(backend)
    if status == 500:
        with pytest.raises(ServiceError):
            await connector.upload_data(db)
    await connector.upload_data(db)
    assert await count(db) == 0


async def test_a_token_route_that_answers_with_nonsense_is_named(backend: ForeignBackend) -> None:
    backend.token_answer = (200, NESTED)
    with pytest.raises(CredentialsInvalid, match="JSON object"):
        await connector_for(backend).fetch_credentials()
