"""From a configuration file to tokens that are accepted and refused."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from yarl import URL

from syncline.auth.addresses import AddressRules
from syncline.auth.revocation import RevocationList
from syncline.auth.verifier import TokenVerifier
from syncline.errors import ConfigError, KeysUnavailable, TokenInvalid
from syncline.service.config import ServiceConfig, load_config
from syncline.service.keys import make_verifier
from tests.integration.auth.issuer import Issuer, running_issuer
from tests.unit.auth.issuer import NOW_S, SigningKey, key_set
from tests.unit.auth.tokens import claims, code_of, oct_jwk, sign

FIRST, SECOND, PROJECT = SigningKey("first"), SigningKey("second"), SigningKey("project")
SUPABASE_SECRET = "super-secret-jwt-token-with-at-least-32-characters"
SOURCE_URI = "postgresql://app@db.abcdefghijklmnopqrst.supabase.co/postgres"


@pytest.fixture
async def closing() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer([FIRST]) as running:
        yield running


def configured(folder: Path, client_auth: str, **environment: str) -> ServiceConfig:
    text = f"""
replication: {{connections: [{{type: postgresql, uri: "{SOURCE_URI}", sslmode: disable}}]}}
storage: {{type: sqlite, path: storage}}
sync_config: {{content: "config: {{edition: 3}}"}}
client_auth: {client_auth}
"""
    (folder / "service.yaml").write_text(text)
    return load_config(path=Path("service.yaml"), environment=environment, working_directory=folder)


def verifier_of(
    config: ServiceConfig, closing: contextlib.AsyncExitStack, make_download: Any = None, **options: Any
) -> TokenVerifier:
    more = options | ({} if make_download is None else {"make_download": make_download})
    return make_verifier(config.settings.client_auth, closing, source_host=config.source.host, **more)


async def user_of(token: str, checks: TokenVerifier) -> str:
    return (await checks.verify(token, now_s=NOW_S)).user_id


@pytest.mark.requirement(117)
@pytest.mark.requirement(120)
async def test_several_uris_and_keys_of_the_file_are_merged_and_may_come_from_the_environment(
    issuer: Issuer, tmp_path: Path, closing: contextlib.AsyncExitStack
) -> None:
    async with running_issuer([SECOND]) as other:
        client_auth = """
  jwks_uri: [!env PS_JWKS_URI, !env PS_OTHER_URI]
  jwks: {keys: [{kty: oct, alg: HS256, kid: k, k: !env PS_SECRET}]}
  audience: [!env PS_AUDIENCE]
"""
        config = configured(
            tmp_path,
            client_auth,
            PS_JWKS_URI=issuer.uri(),
            PS_OTHER_URI=other.uri(),
            PS_SECRET=oct_jwk("HS256")["k"],
            PS_AUDIENCE="app",
        )
        checks = verifier_of(config, closing)
        for token in (FIRST.token(), SECOND.token(), sign(claims())):
            assert await user_of(token, checks) == "user-1"
        assert await code_of(FIRST.token(aud="other"), checks) == "PSYNC_S2105"


@pytest.mark.requirement(223, missing="the database")
@pytest.mark.requirement(224, missing="Postgres")
async def test_keys_are_fetched_at_start_and_the_log_says_so(
    issuer: Issuer, tmp_path: Path, closing: contextlib.AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="syncline")
    uri = issuer.uri().replace("http://", "http://user:password@") + "?key=secret"
    checks = verifier_of(configured(tmp_path, f'{{jwks_uri: "{uri}", audience: [app]}}'), closing)
    await issuer.asked.wait()  # nobody has sent a token yet
    assert await user_of(FIRST.token(), checks) == "user-1"
    (line,) = [record for record in caplog.records if "JWKS fetched" in record.getMessage()]
    assert line.getMessage() == f"JWKS fetched from {issuer.uri()}: 1 usable keys"
    assert not [word for word in ("password", "secret") if any(word in str(vars(record)) for record in caplog.records)]


@pytest.mark.requirement(115)
@pytest.mark.parametrize(
    ("guard", "code"),
    [
        ("jwks_reject_ip_ranges: [local]", "PSYNC_S2203"),
        ('jwks_reject_ip_ranges: ["127.0.0.0/8"]', "PSYNC_S2203"),
        ("block_local_jwks: true", "PSYNC_S2203"),
        ('jwks_reject_ip_ranges: ["10.0.0.0/8"]', None),
        ("block_local_jwks: false", None),
    ],
)
async def test_local_addresses_are_allowed_unless_the_file_blocks_them(
    issuer: Issuer, tmp_path: Path, closing: contextlib.AsyncExitStack, guard: str, code: str | None
) -> None:
    config = configured(tmp_path, f'{{jwks_uri: "{issuer.uri()}", audience: [app], {guard}}}')
    checks = verifier_of(config, closing)
    if code is None:
        assert await user_of(FIRST.token(), checks) == "user-1"
        return
    with pytest.raises(KeysUnavailable) as caught:
        await user_of(FIRST.token(), checks)
    assert caught.value.error_code == code
    assert "127.0.0" not in str(caught.value)
    assert issuer.requests == []


@pytest.mark.parametrize(
    ("client_auth", "code", "message"),
    [
        ("{jwks_uri: ftp://a/b}", "PSYNC_S3103", "http:// or https://"),
        ('{jwks_uri: ["https://a/b", "b"]}', "PSYNC_S3102", "complete URI"),
        ("{jwks_uri: 'https://[::1/'}", "PSYNC_S3102", "valid URI"),
        ("{jwks_reject_ip_ranges: [localhost]}", "PSYNC_S2201", r"jwks_reject_ip_ranges\[0\]"),
        ("{jwks: {keys: [{kty: oct, k: c2VjcmV0}]}}", "PSYNC_S2201", r"jwks\.keys\[0\]\.alg is missing"),
        ("{jwks: {keys: [{kty: RSA, n: AQAB, e: AQAB}]}}", "PSYNC_S2201", r"jwks\.keys\[0\]"),
    ],
)
async def test_what_cannot_be_used_is_refused_at_start(
    tmp_path: Path, closing: contextlib.AsyncExitStack, client_auth: str, code: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        verifier_of(configured(tmp_path, client_auth), closing)
    assert caught.value.error_code == code


def supabase_project(uri: URL, _: AddressRules) -> Callable[[], Awaitable[bytes]]:
    """Its key set at the address that a project has, without the network."""

    async def download() -> bytes:
        assert str(uri) == "https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json"
        return key_set(PROJECT)

    return download


@pytest.mark.requirement(118, 210)
async def test_the_keys_of_the_supabase_project_of_the_source_are_found(
    tmp_path: Path, closing: contextlib.AsyncExitStack
) -> None:
    secret = f'supabase_jwt_secret: "{SUPABASE_SECRET}"'
    keys = f"jwks: {{keys: [{json.dumps(oct_jwk('HS512', kid='k'))}]}}, audience: [app]"
    config = configured(tmp_path, f"{{supabase: true, {secret}, {keys}}}")
    checks = verifier_of(config, closing, supabase_project)
    week_s = 7 * 86_400
    assert await user_of(PROJECT.token(aud="authenticated", exp=NOW_S + week_s), checks) == "user-1"
    assert await code_of(PROJECT.token(aud="app"), checks) == "PSYNC_S2105"
    assert await code_of(PROJECT.token(aud="authenticated", exp=NOW_S + week_s + 1201), checks) == "PSYNC_S2104"
    old = jwt.encode(claims(aud="authenticated", exp=NOW_S + week_s), SUPABASE_SECRET, algorithm="HS256")
    assert await user_of(old, checks) == "user-1"
    assert await user_of(sign(claims(), algorithm="HS512"), checks) == "user-1"
    assert await code_of(sign(claims(aud="authenticated"), algorithm="HS512"), checks) == "PSYNC_S2105"


@pytest.mark.requirement(118)
async def test_a_uri_that_the_file_names_too_is_fetched_once_and_has_the_rules_of_supabase(
    tmp_path: Path, closing: contextlib.AsyncExitStack
) -> None:
    uri = "https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json"
    checks = verifier_of(configured(tmp_path, f'{{supabase: true, jwks_uri: "{uri}"}}'), closing, supabase_project)
    assert await user_of(PROJECT.token(aud="authenticated"), checks) == "user-1"
    assert len(checks._sources) == 1


@pytest.mark.parametrize(
    ("client_auth", "said"),
    [
        ("{}", "No keys are configured"),
        ("{supabase: false, supabase_jwt_secret: x}", "no effect without supabase: true"),
        ("{jwks: {keys: [{kty: oct, alg: HS256, k: c2VjcmV0}]}}", "client_auth.audience is empty"),
    ],
)
async def test_a_configuration_that_refuses_everybody_is_told_at_start(
    tmp_path: Path,
    closing: contextlib.AsyncExitStack,
    caplog: pytest.LogCaptureFixture,
    client_auth: str,
    said: str,
) -> None:
    caplog.set_level(logging.WARNING, logger="syncline.service")
    checks = verifier_of(configured(tmp_path, client_auth), closing)
    assert [record for record in caplog.records if said in record.getMessage()]
    with pytest.raises(TokenInvalid):
        await user_of(FIRST.token(), checks)


async def test_supabase_with_a_source_elsewhere_says_what_to_write(
    tmp_path: Path, closing: contextlib.AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="syncline.service")
    config = configured(tmp_path, "{supabase: true}")
    make_verifier(config.settings.client_auth, closing, source_host="aws-0-eu-central-1.pooler.supabase.com")
    assert any("set client_auth.jwks_uri" in record.getMessage() for record in caplog.records)


async def test_the_service_can_revoke_users(tmp_path: Path, closing: contextlib.AsyncExitStack) -> None:
    revocations = RevocationList()
    config = configured(tmp_path, f"{{jwks: {{keys: [{json.dumps(oct_jwk('HS256'))}]}}, audience: [app]}}")
    checks = verifier_of(config, closing, revocations=revocations)
    assert await user_of(sign(claims()), checks) == "user-1"
    revocations.revoke("user-1", NOW_S + 60)
    assert await code_of(sign(claims()), checks) == "PSYNC_S2101"
