from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncline.client import (
    ConfigAndToken,
    Credentials,
    HttpConnector,
    MemoryTokenStore,
    RestPerEntryUploader,
    SessionToken,
    StaticConnector,
    SyncDatabase,
    TokenEndpoint,
    WriteApiUploader,
    get_connector,
    reset_connector,
)
from syncline.client.errors import AuthFailed, ConnectionFailed, CredentialsInvalid, NotSignedIn, ServiceError
from syncline.client.settings import SettingsInvalid
from tests.integration.client.test_sync import DEADLINE_S, FAST_S
from tests.integration.client.test_upload import EMPTY, count, drained, write
from tests.support.foreign_backend import ForeignBackend, serve_backend
from tests.support.scripted_service import ScriptedService
from tests.support.tls_server import CertificateAuthority


def jwt(**claims: Any) -> str:
    """A token whose claims can be read; its signature is nobody's."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.c2ln"


@pytest.fixture
async def backend(service: ScriptedService) -> AsyncGenerator[ForeignBackend]:
    async with serve_backend(ForeignBackend(service_url=service.url)) as running:
        yield running


def bearers(backend: ForeignBackend) -> list[tuple[str, str]]:
    return [(each.path, each.headers.get("authorization", "")) for each in backend.requests]


@pytest.mark.requirement(11, 19, 48)
async def test_the_stored_login_gets_a_token_by_post_and_both_calls_carry_a_bearer(
    db: SyncDatabase, service: ScriptedService, backend: ForeignBackend
) -> None:
    service.lines = EMPTY
    connector = HttpConnector(
        backend.url, auth_path="/api/powersync/auth", method="POST", token_store=MemoryTokenStore("session-1")
    )
    await write(db, "a")
    await db.connect(connector)
    await drained(db)
    auth, upload = bearers(backend)[0], bearers(backend)[-1]
    assert auth == ("/api/powersync/auth", "Bearer session-1")
    assert backend.requests[0].method == "POST"
    assert upload[1].startswith("Bearer sync-u1-")
    assert all(bearer.startswith("Bearer ") for _, bearer in bearers(backend))
    await db.wait_for_status(lambda s: s.connected, DEADLINE_S)
    assert service.headers[0]["authorization"].startswith("Token sync-u1-")


@pytest.mark.requirement(13, 234)
async def test_a_configuration_tells_the_address_and_the_user_and_another_route_the_token(
    service: ScriptedService, backend: ForeignBackend
) -> None:
    connector = HttpConnector(
        backend.url,
        config_path="/api/powersync/config",
        token_path="/api/auth/token",
        token_store=MemoryTokenStore("session-1"),
    )
    credentials = await connector.fetch_credentials()
    assert credentials is not None
    assert (credentials.endpoint, credentials.user_id) == (service.url, "u1")
    assert [each.path for each in backend.requests] == ["/api/powersync/config", "/api/auth/token"]


@pytest.mark.requirement(12)
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "`token` is missing"),
        ({"token": None}, "`token` is missing"),
        ({"token": ""}, "`token` is empty"),
        ({"token": 7}, "`token` must be a text, not int"),
        ({"token": "t", "expiresAt": 1700000000}, "`expiresAt` must be a text, not int"),
        ({"token": "t", "expiresAt": "tomorrow"}, "`expiresAt` is not an ISO 8601 time"),
        ({"token": "t", "powersync_url": ["x"]}, "`powersync_url` must be a text, not list"),
        ({"token": "t"}, "`powersync_url` is missing"),
        (["t"], "instead of a JSON object"),
        ("<html>login</html>", "an HTML page"),
        ("", "answered with nothing"),
    ],
)
async def test_an_answer_that_holds_no_credentials_is_named_by_its_field(
    backend: ForeignBackend, body: Any, problem: str
) -> None:
    backend.token_answer = (200, body)
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"))
    with pytest.raises(CredentialsInvalid, match=problem) as raised:
        await connector.fetch_credentials()
    assert "/api/auth/token" in str(raised.value)


@pytest.mark.parametrize("body", [{}, {"powersyncUrl": ""}, {"powersyncUrl": 4}, "x"])
async def test_a_configuration_without_an_address_is_named(backend: ForeignBackend, body: Any) -> None:
    backend.config_answer = (200, body)
    connector = HttpConnector(backend.url, ConfigAndToken(), token_store=MemoryTokenStore("session-1"))
    with pytest.raises(CredentialsInvalid, match="/api/powersync/config"):
        await connector.fetch_credentials()


@pytest.mark.requirement(12)
async def test_the_expiry_that_the_answer_tells_is_kept(backend: ForeignBackend) -> None:
    backend.token_answer = (
        200,
        {"token": "t", "powersync_url": "http://s", "expiresAt": "2030-01-02T03:04:05Z", "more": 1},
    )
    credentials = await HttpConnector(backend.url, token_store=MemoryTokenStore("session-1")).fetch_credentials()
    assert credentials == Credentials("http://s", "t", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.mark.requirement(234)
async def test_what_the_answer_does_not_tell_is_read_from_the_token(backend: ForeignBackend) -> None:
    token = jwt(sub="ada", exp=2_000_000_000)
    backend.token_answer = (200, {"token": token})
    connector = HttpConnector(
        backend.url, TokenEndpoint(service_url="http://sync.example/"), token_store=MemoryTokenStore("session-1")
    )
    credentials = await connector.fetch_credentials()
    assert credentials == Credentials(
        "http://sync.example", token, datetime.fromtimestamp(2_000_000_000, UTC), user_id="ada"
    )


@pytest.mark.requirement(7)
async def test_a_backend_that_knows_nobody_means_not_signed_in(backend: ForeignBackend) -> None:
    assert await HttpConnector(backend.url).fetch_credentials() is None
    assert await HttpConnector(backend.url, token_store=MemoryTokenStore("wrong")).fetch_credentials() is None


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_a_failing_token_route_is_an_error_with_its_status(backend: ForeignBackend, status: int) -> None:
    backend.token_answer = (status, {"message": "no luck"})
    with pytest.raises(ServiceError, match="no luck") as raised:
        await HttpConnector(backend.url, token_store=MemoryTokenStore("session-1")).fetch_credentials()
    assert raised.value.status_code == status


async def test_a_backend_that_is_down_is_named(unused_tcp_port: int) -> None:
    with pytest.raises(ConnectionFailed, match=str(unused_tcp_port)):
        await HttpConnector(f"http://127.0.0.1:{unused_tcp_port}").fetch_credentials()


@pytest.mark.requirement(14, 252)
async def test_an_identity_providers_session_is_asked_for_each_time(
    db: SyncDatabase, service: ScriptedService, backend: ForeignBackend
) -> None:
    service.lines = EMPTY
    made = [0]

    async def session_token() -> str:
        made[0] += 1
        return jwt(sub="ada", jti=made[0])

    connector = HttpConnector(
        backend.url, SessionToken(service.url, session_token), uploader=WriteApiUploader(max_transactions=1)
    )
    await write(db, "a")
    await write(db, "b")
    await connector.upload_data(db)
    sent = [each.headers["authorization"] for each in backend.uploads]
    assert len(set(sent)) == len(sent) == 2
    assert made[0] == 2


@pytest.mark.requirement(252)
async def test_a_token_is_not_used_after_its_end(db: SyncDatabase, backend: ForeignBackend) -> None:
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"))
    for expires in (time.time() - 5, time.time() + 600, time.time() + 600):
        backend.token_answer = (200, {"token": jwt(exp=expires), "powersync_url": "http://s"})
        await write(db, f"{expires}")
        await connector.upload_data(db)
    asked = [each.path for each in backend.requests]
    assert asked.count("/api/auth/token") == 2  # the first was at its end already, the second is good for the third


async def test_nobody_signed_in_at_the_provider_is_not_an_error(backend: ForeignBackend) -> None:
    assert await HttpConnector(backend.url, SessionToken("http://s", lambda: None)).fetch_credentials() is None


@pytest.mark.requirement(15)
async def test_a_development_token_is_enough_to_read(db: SyncDatabase, service: ScriptedService) -> None:
    service.lines = EMPTY
    connector = StaticConnector.from_env({"POWERSYNC_URL": service.url + "/", "POWERSYNC_TOKEN": "dev"})
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert service.headers[0]["authorization"] == "Token dev"
    await write(db, "a")
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, CredentialsInvalid)
    assert await count(db) == 1


@pytest.mark.requirement(15)
@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"POWERSYNC_URL": "http://s"}, "POWERSYNC_TOKEN"),
        ({"POWERSYNC_TOKEN": "t"}, "POWERSYNC_URL"),
        ({"POWERSYNC_TOKEN": "t", "BACKEND_URL": "http://b"}, "POWERSYNC_URL"),
        ({"POWERSYNC_URL": "ftp://s", "POWERSYNC_TOKEN": "t"}, "POWERSYNC_URL"),
    ],
)
def test_a_missing_variable_is_named(environ: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        StaticConnector.from_env(environ)


@pytest.mark.requirement(17)
async def test_logout_forgets_the_login_and_the_credentials(backend: ForeignBackend, db: SyncDatabase) -> None:
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"))
    await write(db, "a")
    await connector.upload_data(db)
    await connector.logout()
    assert await connector.token_store.get() is None
    assert await connector.fetch_credentials() is None
    await write(db, "b")
    with pytest.raises(NotSignedIn):
        await connector.upload_data(db)
    assert await count(db) == 1
    backend.sessions["session-2"] = "u2"
    await connector.login("session-2")
    await connector.upload_data(db)
    assert backend.uploads[-1].headers["authorization"].startswith("Bearer sync-u2-")


@pytest.mark.requirement(17)
async def test_credentials_that_arrive_after_the_logout_are_not_kept(backend: ForeignBackend) -> None:
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"))

    async def logout_meanwhile() -> None:
        await connector.logout()

    backend.before_answer = logout_meanwhile
    assert await connector.fetch_credentials() is None
    with pytest.raises(NotSignedIn):
        await connector.authenticated_fetch("GET", "/api/profile")


@pytest.mark.requirement(233)
async def test_a_request_of_the_app_carries_the_token_and_replaces_a_refused_one(backend: ForeignBackend) -> None:
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"))
    answer = await connector.authenticated_fetch("GET", "/api/profile", params={"full": "1"})
    assert (answer.status, answer.json()) == (200, {"name": "Ada"})
    backend.revoked |= backend.tokens
    assert (await connector.authenticated_fetch("GET", "api/profile")).ok
    assert [each.path for each in backend.requests].count("/api/auth/token") == 2
    assert backend.requests[1].query == {"full": "1"}


@pytest.mark.requirement(233)
async def test_a_token_that_is_refused_twice_is_an_error(backend: ForeignBackend) -> None:
    backend.token_answer = (200, {"token": "never good", "powersync_url": "http://s"})
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"))
    with pytest.raises(AuthFailed, match="Expired"):
        await connector.authenticated_fetch("GET", "/api/profile")


@pytest.mark.parametrize("path", ["http://elsewhere.example/x", "https://127.0.0.1.evil.example/"])
async def test_the_token_never_goes_to_another_host(backend: ForeignBackend, path: str) -> None:
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"))
    with pytest.raises(CredentialsInvalid, match="backend only"):
        await connector.authenticated_fetch("GET", path)
    with pytest.raises(CredentialsInvalid, match="backend only"):
        await connector.authenticated_fetch("GET", backend.url + ".evil.example/")
    assert backend.requests == []


@pytest.mark.requirement(20)
async def test_a_revoked_token_keeps_every_write(
    db: SyncDatabase, service: ScriptedService, backend: ForeignBackend
) -> None:
    service.lines = EMPTY
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"), uploader=RestPerEntryUploader())
    backend.token_answer = (200, {"token": "revoked", "powersync_url": service.url})
    backend.revoked.add("revoked")
    for row_id in ("a", "b", "c"):
        await write(db, row_id)
    await db.connect(connector, retry_delay_s=FAST_S)
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, AuthFailed)
    async with asyncio.timeout(DEADLINE_S):
        while len(backend.uploads) < 6:  # noqa: ASYNC110 - three passes, each with a second token
            await asyncio.sleep(0.01)
    assert await count(db) == 3
    assert await db.dead_letters.count() == 0
    backend.revoked.clear()
    await drained(db)
    assert sorted(backend.tables["lists"]) == ["a", "b", "c"]


async def test_uploads_can_carry_the_login_token(db: SyncDatabase, backend: ForeignBackend) -> None:
    connector = HttpConnector(backend.url, token_store=MemoryTokenStore("session-1"), upload_token="login")
    await write(db, "a")
    await connector.upload_data(db)
    assert backend.uploads[0].headers["authorization"] == "Bearer session-1"
    await connector.logout()
    await write(db, "b")
    with pytest.raises(NotSignedIn):
        await connector.upload_data(db)


@pytest.mark.requirement(21)
def test_there_is_one_connector_until_it_is_reset() -> None:
    reset_connector()
    try:
        first = get_connector(lambda: HttpConnector("http://127.0.0.1:1"))
        assert get_connector() is first
        assert get_connector(lambda: HttpConnector("http://127.0.0.1:2")) is first
        reset_connector()
        assert get_connector(lambda: HttpConnector("http://127.0.0.1:1")) is not first
    finally:
        reset_connector()


@pytest.mark.requirement(21, 23)
def test_the_shared_connector_is_made_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POWERSYNC_URL", "BACKEND_URL", "POWERSYNC_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    reset_connector()
    try:
        with pytest.raises(SettingsInvalid, match="BACKEND_URL"):
            get_connector()
        monkeypatch.setenv("BACKEND_URL", "http://127.0.0.1:6060/")
        assert type(get_connector()) is HttpConnector
        reset_connector()
        monkeypatch.setenv("POWERSYNC_TOKEN", "dev")
        monkeypatch.setenv("POWERSYNC_URL", "http://127.0.0.1:8080")
        assert type(get_connector()) is StaticConnector
    finally:
        reset_connector()


async def test_a_certificate_of_an_authority_of_ones_own_is_trusted_where_the_app_says_so(
    backend: ForeignBackend, tmp_path: Path
) -> None:
    authority = CertificateAuthority.new()
    certificate, key = tmp_path / "backend.pem", tmp_path / "backend.key"
    for path, content in zip((certificate, key), authority.issue("localhost"), strict=True):
        path.write_bytes(content)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cadata=authority.pem)
    async with serve_backend(ForeignBackend(service_url=backend.service_url), tls=served) as secure:
        url = secure.url.replace("127.0.0.1", "localhost")
        store = MemoryTokenStore("session-1")
        with pytest.raises(ConnectionFailed, match="Certificate"):
            await HttpConnector(url, token_store=store).fetch_credentials()
        assert await HttpConnector(url, token_store=store, ssl_context=trusting).fetch_credentials() is not None
