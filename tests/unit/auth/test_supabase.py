"""Tokens of Supabase Auth."""

from __future__ import annotations

import logging

import jwt
import pytest

from syncline.auth.keys import StaticKeys
from syncline.auth.supabase import SUPABASE_LIFETIME_S, supabase_jwks_uri, supabase_key
from syncline.auth.verifier import TokenVerifier
from syncline.errors import ConfigError
from tests.unit.auth.issuer import NOW_S
from tests.unit.auth.tokens import claims, code_of, oct_jwk, sign

SUPABASE_SECRET = "super-secret-jwt-token-with-at-least-32-characters-–-and-longer-still"


@pytest.mark.requirement(118)
@pytest.mark.parametrize(
    ("host", "project"),
    [
        ("db.abcdefghijklmnopqrst.supabase.co", "abcdefghijklmnopqrst"),
        ("DB.Abc.Supabase.co", "abc"),
        ("db.abc.supabase.co.", "abc"),
        ("aws-0-eu-central-1.pooler.supabase.com", None),
        ("db.abc.supabase.co.evil.example", None),
        ("evil.example/db.abc.supabase.co", None),
        ("db.a/b.supabase.co", None),
        ("db.a@b.supabase.co", None),
        ("db.a.b.supabase.co", None),
        ("db..supabase.co", None),
        ("localhost", None),
        ("", None),
        (None, None),
    ],
)
def test_the_project_is_known_by_the_host_of_its_database(host: str | None, project: str | None) -> None:
    expected = f"https://{project}.supabase.co/auth/v1/.well-known/jwks.json" if project else None
    assert supabase_jwks_uri(host) == expected


@pytest.mark.requirement(118)
async def test_a_shared_secret_verifies_tokens_for_the_audience_authenticated_that_live_for_a_week() -> None:
    sources = [StaticKeys.from_jwks([oct_jwk("HS256", kid="k")]), StaticKeys([supabase_key(SUPABASE_SECRET)])]
    checks = TokenVerifier(sources, ["app"])

    def token(lifetime_s: int = 3600, aud: str = "authenticated", algorithm: str = "HS256") -> str:
        payload = claims(aud=aud, exp=NOW_S + lifetime_s, role="authenticated")
        return jwt.encode(payload, SUPABASE_SECRET, algorithm=algorithm, headers={"kid": "project"})

    assert SUPABASE_LIFETIME_S == 606_000
    for lifetime_s in (3600, 604_800, SUPABASE_LIFETIME_S):
        assert (await checks.verify(token(lifetime_s), now_s=NOW_S)).user_id == "user-1"
    assert await code_of(token(SUPABASE_LIFETIME_S + 1), checks) == "PSYNC_S2104"
    assert await code_of(token(aud="app"), checks) == "PSYNC_S2105"  # the configured audience is for the other keys
    assert await code_of(token(algorithm="HS512"), checks) == "PSYNC_S2101"
    assert (await checks.verify(sign(claims()), now_s=NOW_S)).user_id == "user-1"
    assert await code_of(sign(claims(aud="authenticated")), checks) == "PSYNC_S2105"
    assert await code_of(sign(claims(exp=NOW_S + 604_800)), checks) == "PSYNC_S2104"


def test_the_text_of_the_secret_is_the_key() -> None:
    assert supabase_key("c2VjcmV0" * 5).material == b"c2VjcmV0" * 5


def test_an_empty_secret_is_refused_and_a_short_one_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="syncline.auth")
    with pytest.raises(ConfigError, match="supabase_jwt_secret"):
        supabase_key("")
    supabase_key("too-short")
    (record,) = caplog.records
    assert "client_auth.supabase_jwt_secret has 9 bytes" in record.getMessage()
    assert "too-short" not in record.getMessage()
