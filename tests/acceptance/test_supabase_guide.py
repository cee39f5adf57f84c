"""docs/howto/supabase.md: its statements and files, against Postgres with the functions that Supabase has, and tokens as it makes them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jwt
import psycopg
import psycopg.errors
import pytest
import yaml
from tools.page_runner import blocks_of

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.errors import AuthFailed
from syncline.service.config import load_config
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import TokenOnly

PAGE = Path(__file__).parents[2] / "docs/howto/supabase.md"
FILES = {
    found[1]: block.text
    for block in blocks_of(PAGE)
    if (found := re.match(r"(?:#|--) ([\w.-]+)\n", block.text)) is not None
}
SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
ALICE, BOB = "a11ce000-0000-4000-8000-000000000001", "b0b00000-0000-4000-8000-000000000002"
WEEK_S = 7 * 86_400
SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])
# What every Supabase project has: the role of signed-in users, and the user of the request, as PostgREST sets it.
OF_SUPABASE = """
CREATE ROLE authenticated NOLOGIN;
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT nullif(current_setting('request.jwt.claims', true)::json ->> 'sub', '')::uuid $$;
GRANT USAGE ON SCHEMA auth TO authenticated;
"""


def supabase_token(user_id: str, **changes: Any) -> str:
    """An access token as Supabase Auth signs it with the project's shared secret."""
    now_s = int(time.time())
    payload = {
        "iss": "https://abcdefghijklmnopqrst.supabase.co/auth/v1",
        "aud": "authenticated",
        "role": "authenticated",
        "sub": user_id,
        "iat": now_s,
        "exp": now_s + WEEK_S,
        "session_id": "5cbaf4b1-8c54-4a9e-a3f2-6f2ac7a62b52",
    } | changes
    return jwt.encode({key: value for key, value in payload.items() if value is not None}, SECRET, algorithm="HS256")


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> Generator[ScratchDatabase]:
    """A database that was set up as the page says."""
    postgres_database.execute(OF_SUPABASE)
    postgres_database.execute(FILES["setup.sql"])
    yield postgres_database
    postgres_database.execute("DROP OWNED BY syncline, authenticated CASCADE; DROP ROLE syncline, authenticated")


def through_postgrest(source: ScratchDatabase, user_id: str, sql: str) -> None:
    """A write as PostgREST makes it: under the role and the claims of the user."""
    with psycopg.connect(source.dsn) as connection:
        connection.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps({"sub": user_id}),))
        connection.execute("SET LOCAL ROLE authenticated")
        connection.execute(sql.encode())


@pytest.mark.requirement(210)
async def test_users_of_supabase_see_their_rows_and_row_security_decides_what_they_write(
    source: ScratchDatabase, tmp_path: Path
) -> None:
    through_postgrest(source, ALICE, "INSERT INTO lists (id, name) VALUES (gen_random_uuid(), 'first')")
    through_postgrest(source, BOB, "INSERT INTO lists (id, name) VALUES (gen_random_uuid(), 'of Bob')")
    dsn = source.dsn.replace("postgres@", "syncline@")
    text = FILES["service-with-secret.yaml"].replace("!env PS_SUPABASE_JWT_SECRET", json.dumps(SECRET))
    with ServiceProcess(
        tmp_path / "service", dsn=dsn, sync_config=FILES["sync-config.yaml"], **yaml.safe_load(text)
    ) as service:
        async with SyncDatabase(tmp_path / "phone.db", schema=SCHEMA) as phone:
            await phone.connect(TokenOnly(service.base_url, supabase_token(ALICE)))
            await phone.wait_for_first_sync(timeout=30)
            through_postgrest(source, ALICE, "INSERT INTO lists (id, name) VALUES (gen_random_uuid(), 'second')")
            forged = f"INSERT INTO lists (id, name, owner_id) VALUES (gen_random_uuid(), 'forged', '{ALICE}')"
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                through_postgrest(source, BOB, forged)

            async def has_both() -> bool:
                rows = await phone.get_all("SELECT name FROM lists ORDER BY name")
                return [row["name"] for row in rows] == ["first", "second"]

            await eventually(has_both, timeout_s=30, what="the device has the copied and the streamed row")
        anon = supabase_token(ALICE, role="anon", aud=None, sub=None)  # the public key of a project
        for refused in (anon, supabase_token(ALICE, aud="another-app"), supabase_token(ALICE)[:-4] + "AAAA"):
            assert await is_refused(service, refused, tmp_path)


async def is_refused(service: ServiceProcess, text: str, folder: Path) -> bool:
    """Whether the service refuses a token."""
    async with SyncDatabase(folder / "stranger.db", schema=SCHEMA) as stranger:
        await stranger.connect(TokenOnly(service.base_url, text))
        status = await stranger.wait_for_status(
            lambda status: status.download_error is not None or bool(status.has_synced), timeout=30
        )
        return isinstance(status.download_error, AuthFailed)


@pytest.mark.requirement(210)
def test_the_files_of_the_guide_are_taken_by_the_service(tmp_path: Path) -> None:
    (tmp_path / "sync-config.yaml").write_text(FILES["sync-config.yaml"])
    whole = FILES["service.yaml"]
    head = whole[: whole.index("client_auth:")]
    uri = "postgresql://syncline:secret@db.abcdefghijklmnopqrst.supabase.co:5432/postgres"
    environment = {"PS_SOURCE_URI": uri, "PS_SUPABASE_JWT_SECRET": SECRET}
    texts = [whole, head + FILES["service-with-secret.yaml"], head + FILES["service-self-hosted.yaml"]]
    found: list[tuple[bool, str | None, Any, list[str]]] = []
    for text in texts:
        (tmp_path / "service.yaml").write_text(text)
        config = load_config(path=Path("service.yaml"), environment=environment, working_directory=tmp_path)
        auth = config.settings.client_auth
        found.append((auth.supabase, auth.supabase_jwt_secret, auth.jwks_uri, auth.audience))
        assert config.source.host == "db.abcdefghijklmnopqrst.supabase.co"
    keys = "https://supabase.example.com/auth/v1/.well-known/jwks.json"
    assert found == [(True, None, None, []), (True, SECRET, None, []), (False, None, keys, ["authenticated"])]
