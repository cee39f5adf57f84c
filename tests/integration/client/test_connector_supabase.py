from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from syncline.client import SupabaseConnector, SyncDatabase
from tests.integration.client.test_connector_dialects import letters_of, write_three_kinds
from tests.integration.client.test_upload import write
from tests.support.foreign_backend import ForeignBackend, serve_backend


@pytest.fixture
async def backend() -> AsyncGenerator[ForeignBackend]:
    async with serve_backend() as running:
        yield running


async def test_supabase_takes_rows_through_postgrest_under_the_users_session(
    db: SyncDatabase, backend: ForeignBackend
) -> None:
    sessions = iter(["jwt-1", "jwt-2", "jwt-3", "jwt-4"])
    connector = SupabaseConnector(
        backend.url, "anon", service_url="http://127.0.0.1:2/", get_session_token=lambda: next(sessions)
    )
    await write_three_kinds(db)
    await connector.upload_data(db)
    assert backend.tables == {"lists": {"a/b": {"name": "changed", "id": "a/b"}}}
    puts, patch, delete = backend.uploads[0], backend.uploads[2], backend.uploads[3]
    assert (puts.method, puts.path, puts.body) == ("POST", "/rest/v1/lists", {"name": "first", "id": "a/b"})
    assert "resolution=merge-duplicates" in puts.headers["prefer"]
    assert (patch.method, patch.query, patch.body) == ("PATCH", {"id": "eq.a/b"}, {"name": "changed"})
    assert (delete.method, delete.query) == ("DELETE", {"id": "eq.c"})
    assert [each.headers["authorization"] for each in backend.uploads] == [f"Bearer jwt-{n}" for n in (1, 2, 3, 4)]
    assert {each.headers["apikey"] for each in backend.uploads} == {"anon"}


@pytest.mark.parametrize("code", ["23505", "22P02", "PGRST204"])
async def test_what_postgrest_refuses_becomes_a_dead_letter_under_its_code(
    db: SyncDatabase, backend: ForeignBackend, code: str
) -> None:
    connector = SupabaseConnector(backend.url, "anon", service_url=backend.url, get_session_token=lambda: "jwt")
    backend.refuse = {"a": (409 if code == "23505" else 400, {"code": code, "message": "no", "details": None})}
    await write(db, "a")
    await connector.upload_data(db)
    assert await letters_of(db) == [(code, ["a"])]
