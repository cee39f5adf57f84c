"""Tokens of other issuers, and of the service's own configuration: accepted where they should be, refused with a code and a hint."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
import yaml
from aiohttp import web

from syncline.auth.jwk import read_key
from syncline.auth.keys import StaticKeys
from syncline.auth.signer import TokenSigner
from syncline.auth.supabase import SUPABASE_LIFETIME_S
from syncline.backend import BackendAuth
from syncline.backend.auth import providers
from syncline.backend.auth.provider_verifier import USER_ID_CHARACTERS_MAX, ProviderVerifier
from syncline.backend.auth.providers import Provider, auth0, clerk, cognito, firebase, keycloak, supabase
from syncline.backend.auth.service_config import ClientAuth, ServiceConfigVerifier, read_client_auth
from syncline.errors import AudienceMismatch, AuthError, ConfigError, KeysUnavailable, TokenInvalid
from syncline.service.keys import make_verifier
from syncline.service.settings import ClientAuthSettings
from tests.support.web_server import serving

NOW_S = 1_800_000_000
URL = "https://sync.example.com"
RSA, EC, SECRET = (TokenSigner.generate(algorithm) for algorithm in ("RS256", "ES256", "HS256"))
SHARED = "a shared secret of thirty-two bytes, or more"

PRESETS: dict[str, tuple[Provider, dict[str, Any]]] = {
    "supabase": (
        supabase("abcdefgh"),
        {"iss": "https://abcdefgh.supabase.co/auth/v1", "aud": "authenticated", "role": "authenticated"},
    ),
    "auth0": (
        auth0("tenant.eu.auth0.com", audience="https://api.example.com"),
        {
            "iss": "https://tenant.eu.auth0.com/",
            "aud": ["https://api.example.com", "https://tenant.eu.auth0.com/userinfo"],
            "azp": "client-1",
        },
    ),
    "firebase": (firebase("my-app"), {"iss": "https://securetoken.google.com/my-app", "aud": "my-app"}),
    "clerk": (
        clerk("name-12.clerk.accounts.dev", audience="my-app"),
        {"iss": "https://name-12.clerk.accounts.dev", "aud": "my-app", "azp": "https://app.example.com"},
    ),
    "clerk-session": (
        clerk("clerk.example.com", authorized_parties=["https://app.example.com"]),
        {"iss": "https://clerk.example.com", "azp": "https://app.example.com", "sid": "sess_1", "sts": "active"},
    ),
    "cognito": (
        cognito("eu-central-1", "eu-central-1_Ab", client_ids=["client-1", "client-2"]),
        {
            "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab",
            "aud": "client-2",
            "token_use": "id",
        },
    ),
    "cognito-access": (
        cognito("cn-north-1", "cn-north-1_Ab", client_ids=["client-1"], tokens="access"),
        {
            "iss": "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_Ab",
            "client_id": "client-1",
            "token_use": "access",
        },
    ),
    "keycloak": (
        keycloak("https://login.example.com/auth/", "my-realm", audience="sync"),
        {"iss": "https://login.example.com/auth/realms/my-realm", "aud": ["account", "sync"], "typ": "Bearer"},
    ),
}
"""Each provider with what its tokens say besides sub, iat and exp."""


def sign(signer: TokenSigner, payload: Mapping[str, Any]) -> str:
    """A token that says just this: no claim is added."""
    content = json.dumps(dict(payload)).encode()
    return jwt.api_jws.encode(content, signer._material, algorithm=signer.algorithm, headers={"kid": signer.kid})


def payload_of(preset: str, **changed: Any) -> dict[str, Any]:
    claims = {"sub": "user-1", "iat": NOW_S, "exp": NOW_S + 300} | PRESETS[preset][1] | changed
    return {name: value for name, value in claims.items() if value is not None}


async def refused(preset: str, payload: Mapping[str, Any], *, signer: TokenSigner = RSA) -> AuthError:
    with pytest.raises(AuthError) as caught:
        await ProviderVerifier(PRESETS[preset][0], keys=RSA.keys).verify(sign(signer, payload), now_s=NOW_S)
    return caught.value


@pytest.mark.parametrize("preset", PRESETS)
async def test_a_user_s_token_is_accepted_and_all_it_says_is_kept(preset: str) -> None:
    payload = payload_of(preset)
    verified = await ProviderVerifier(PRESETS[preset][0], keys=RSA.keys).verify(sign(RSA, payload), now_s=NOW_S)
    assert (verified.user_id, verified.payload, verified.expires_at_s) == ("user-1", payload, NOW_S + 300)


@pytest.mark.requirement(107)
@pytest.mark.parametrize("preset", PRESETS)
async def test_a_token_of_another_issuer_app_time_key_or_nobody_is_refused(preset: str) -> None:
    provider = PRESETS[preset][0]
    claim = provider.audience_claim
    cases: list[tuple[dict[str, Any], str]] = [
        ({"iss": provider.issuer + "x"}, "PSYNC_S2101"),
        ({"iss": [provider.issuer]}, "PSYNC_S2101"),
        ({"iss": None}, "PSYNC_S2101"),
        ({claim: "elsewhere"}, "PSYNC_S2105"),
        ({claim: ["elsewhere"]}, "PSYNC_S2105"),
        ({claim: None}, "PSYNC_S2101"),
        ({"exp": NOW_S - 100}, "PSYNC_S2103"),
        ({"exp": None}, "PSYNC_S2101"),
        ({"iat": NOW_S + 100}, "PSYNC_S2101"),
        ({"exp": NOW_S + provider.max_lifetime_s + 1}, "PSYNC_S2104"),
        ({"sub": None}, "PSYNC_S2101"),
        ({"sub": ""}, "PSYNC_S2101"),
        ({"sub": 7}, "PSYNC_S2101"),
        ({"sub": "x" * (USER_ID_CHARACTERS_MAX + 1)}, "PSYNC_S2101"),
    ]
    for changed, code in cases:
        error = await refused(preset, payload_of(preset, **changed))
        assert error.error_code == code, changed
    forged = TokenSigner.generate("EdDSA") if "EdDSA" in provider.algorithms else TokenSigner.generate()
    assert (await refused(preset, payload_of(preset), signer=forged)).error_code == "PSYNC_S2101"
    assert (await refused(preset, payload_of(preset), signer=SECRET)).error_code == "PSYNC_S2101"
    assert isinstance(await refused(preset, payload_of(preset, **{claim: "x"})), AudienceMismatch)


@pytest.mark.parametrize(
    ("preset", "changed"),
    [
        ("supabase", {"role": "anon"}),
        ("supabase", {"role": "service_role"}),
        ("auth0", {"gty": "client-credentials"}),
        ("clerk", {"sts": "pending"}),
        ("clerk-session", {"sts": "pending"}),
        ("cognito", {"token_use": "access"}),
        ("cognito-access", {"token_use": "id"}),
        ("keycloak", {"typ": "ID"}),
        ("keycloak", {"typ": "Refresh"}),
    ],
)
async def test_another_kind_of_token_of_the_same_keys_is_refused(preset: str, changed: dict[str, Any]) -> None:
    error = await refused(preset, payload_of(preset, **changed))
    assert (error.error_code, type(error)) == ("PSYNC_S2101", TokenInvalid)
    assert error.hint
    (value,) = changed.values()
    assert value not in str(error)


async def test_a_key_that_fits_several_algorithms_is_used_for_the_issuer_s_only() -> None:
    (jwk,) = RSA.jwks()["keys"]
    keys = StaticKeys([read_key({name: value for name, value in jwk.items() if name != "alg"})])
    content = json.dumps(payload_of("firebase")).encode()
    token = jwt.api_jws.encode(content, RSA._material, algorithm="RS384", headers={"kid": RSA.kid})
    own = replace(firebase("my-app"), algorithms=frozenset({"RS384"}))
    assert (await ProviderVerifier(own, keys=keys).verify(token, now_s=NOW_S)).user_id == "user-1"
    with pytest.raises(TokenInvalid, match="algorithm"):
        await ProviderVerifier(firebase("my-app"), keys=keys).verify(token, now_s=NOW_S)


def test_the_key_sets_are_where_the_providers_publish_them() -> None:
    assert {name: provider.jwks_uri for name, (provider, _) in PRESETS.items()} == {
        "supabase": "https://abcdefgh.supabase.co/auth/v1/.well-known/jwks.json",
        "auth0": "https://tenant.eu.auth0.com/.well-known/jwks.json",
        "firebase": "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
        "clerk": "https://name-12.clerk.accounts.dev/.well-known/jwks.json",
        "clerk-session": "https://clerk.example.com/.well-known/jwks.json",
        "cognito": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab/.well-known/jwks.json",
        "cognito-access": "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_Ab/.well-known/jwks.json",
        "keycloak": "https://login.example.com/auth/realms/my-realm/protocol/openid-connect/certs",
    }
    assert PRESETS["supabase"][0].max_lifetime_s == SUPABASE_LIFETIME_S


@pytest.mark.parametrize(
    "make",
    [
        lambda: supabase("https://abcdefgh.supabase.co"),
        lambda: supabase(""),
        lambda: auth0("https://tenant.eu.auth0.com", audience="a"),
        lambda: auth0("tenant.eu.auth0.com", audience=""),
        lambda: auth0("tenant.eu.auth0.com/evil", audience="a"),
        lambda: firebase("my app"),
        lambda: clerk("clerk.example.com"),
        lambda: clerk("clerk.example.com", authorized_parties="https://app.example.com"),
        lambda: cognito("eu", "eu_1", client_ids=[]),
        lambda: cognito("eu", "eu_1", client_ids="client-1"),
        lambda: keycloak("login.example.com", "my-realm", audience="sync"),
        lambda: keycloak("https://login.example.com", "my/realm", audience="sync"),
        lambda: Provider(
            "Own", "https://own.example.com", f"{URL}/jwks", frozenset({"a"}), algorithms=frozenset({"HS256"})
        ),
        lambda: ProviderVerifier(replace(firebase("my-app"), jwks_uri="http://keys.example.com/jwks")),
        lambda: ProviderVerifier(replace(firebase("my-app"), jwks_uri="file:///etc/keys")),
    ],
)
def test_what_would_accept_anybody_or_nobody_is_told_when_it_is_set_up(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.hint


@asynccontextmanager
async def key_server(signers: list[TokenSigner]) -> AsyncGenerator[str]:
    """Publishes the keys of these signers, whatever is in the list at the moment, and says under which address."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"keys": [jwk for signer in signers for jwk in signer.jwks()["keys"]]})

    app = web.Application()
    app.router.add_get("/jwks", answer)
    async with serving(app) as url:
        yield f"{url}/jwks"


@pytest.mark.requirement(104, 116)
async def test_the_keys_come_from_the_provider_s_address_and_may_change_there() -> None:
    published = [EC]
    async with key_server(published) as address:
        provider = replace(supabase("abcdefgh"), jwks_uri=address)
        verifier = ProviderVerifier(provider)
        auth = BackendAuth(None, audience="", service_url=URL, verifier=verifier)
        now_s = int(time.time())
        payload = payload_of("supabase", iat=now_s, exp=now_s + 300)
        user = await auth.authenticate(f"Bearer {sign(EC, payload)}")
        assert (user.user_id, user.claims["role"]) == ("user-1", "authenticated")
        published.append(RSA)
        with pytest.raises(TokenInvalid):
            await auth.authenticate(
                f"Bearer {sign(RSA, payload)}"
            )  # which has the keys fetched again, in the background
        cache = verifier._cache
        assert cache is not None
        assert cache._fetch is not None
        await asyncio.wait({cache._fetch}, timeout=5)
        assert (await auth.authenticate(f"Bearer {sign(RSA, payload)}")).user_id == "user-1"
        await auth.close()


async def test_without_the_provider_s_keys_the_answer_says_to_try_again() -> None:
    async with key_server([EC]) as address:
        pass
    auth = BackendAuth.from_provider(replace(firebase("my-app"), jwks_uri=address), service_url=URL)
    with pytest.raises(KeysUnavailable) as caught:
        await auth.authenticate(f"Bearer {sign(RSA, payload_of('firebase'))}")
    assert caught.value.error_code == "PSYNC_S2204"
    assert "try again" in caught.value.hint
    await auth.close()


async def test_in_development_the_answer_names_the_accepted_audience() -> None:
    verifier = ProviderVerifier(firebase("my-app"), keys=RSA.keys, development=True)
    with pytest.raises(AudienceMismatch, match="my-app"):
        await verifier.verify(sign(RSA, payload_of("firebase", aud="other")), now_s=NOW_S)


def config_file(folder: Path, client_auth: Mapping[str, Any], **sections: Any) -> Path:
    path = folder / "service.yaml"
    path.write_text(yaml.safe_dump({"client_auth": dict(client_auth), **sections}).replace("'!env ", "!env '"))
    return path


async def verdict(verifier: Any, token: str) -> str:
    try:
        return (await verifier.verify(token, now_s=NOW_S)).user_id
    except AuthError as exc:
        return exc.error_code


@pytest.mark.parametrize(
    "client_auth",
    [
        {"audience": ["app"], "jwks": {"keys": [SECRET.private_jwk(), *RSA.jwks()["keys"]]}},
        {"audience": ["app", "authenticated"], "jwks": {"keys": EC.jwks()["keys"]}},
        {"supabase": True, "supabase_jwt_secret": SHARED},
        {"audience": ["app"], "jwks": {"keys": RSA.jwks()["keys"]}, "supabase_jwt_secret": SHARED},
    ],
)
async def test_the_backend_accepts_exactly_what_the_service_of_the_file_accepts(
    tmp_path: Path, client_auth: dict[str, Any]
) -> None:
    ours = ServiceConfigVerifier(read_client_auth(config_file(tmp_path, client_auth)))
    async with AsyncExitStack() as closing:
        theirs = make_verifier(msgspec.convert(client_auth, ClientAuthSettings), closing)
        shared = TokenSigner.from_secret(SHARED.encode(), kid="unknown")
        verdicts: set[str] = set()
        for signer in (SECRET, RSA, EC, shared):
            for audience in ("app", "authenticated", "elsewhere"):
                for lifetime_s in (300, 90_000, SUPABASE_LIFETIME_S + 1):
                    claims = {"sub": "user-1", "aud": audience, "iat": NOW_S, "exp": NOW_S + lifetime_s}
                    token = sign(signer, claims)
                    verdicts.add(await verdict(ours, token))
                    assert await verdict(ours, token) == await verdict(theirs, token)
    assert {"user-1", "PSYNC_S2101", "PSYNC_S2104", "PSYNC_S2105"} <= verdicts


def test_no_key_of_client_auth_is_forgotten() -> None:
    ours = {name.name for name in msgspec.structs.fields(ClientAuth)}
    assert ours - {"supabase_uri"} == {name.name for name in msgspec.structs.fields(ClientAuthSettings)}


async def test_a_backend_is_set_up_from_the_file_and_issues_for_its_first_audience(tmp_path: Path) -> None:
    path = config_file(tmp_path, {"audience": ["app", "more"], "jwks": {"keys": [SECRET.private_jwk()]}})
    auth = BackendAuth.from_service_config(path, service_url=URL, signer=SECRET, claims=lambda _: {"org": "o"})
    token = auth.issue(
        await auth.authenticate(f"Bearer {SECRET.issue('ann', audience='more', now_s=time.time()).token}")
    )
    assert jwt.decode(token.token, options={"verify_signature": False})["aud"] == "app"
    assert (await auth.authenticate(f"Token {token.token}")).claims["org"] == "o"
    await auth.close()


async def test_only_variables_that_are_needed_must_be_set(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(
        "replication:\n  connections:\n    - {type: postgresql, uri: !env PS_SOURCE_URI}\n"
        "client_auth:\n  audience: [!env PS_AUDIENCE]\n  supabase: !env PS_SUPABASE::boolean\n"
        "  jwks:\n    keys:\n      - {kty: oct, alg: HS256, kid: k, k: !env PS_KEY}\n"
    )
    key = base64.urlsafe_b64encode(b"0" * 32).decode()
    environment = {"PS_AUDIENCE": "app", "PS_KEY": key, "PS_SUPABASE": "FALSE"}
    settings = read_client_auth(path, environment=environment)
    assert (settings.audience, settings.jwks.keys[0]["k"], settings.supabase) == (["app"], key, False)
    with pytest.raises(ConfigError, match=r"line 6: .*PS_SUPABASE does not hold a boolean"):
        read_client_auth(path, environment={**environment, "PS_SUPABASE": "perhaps"})
    with pytest.raises(ConfigError, match=r"line 9: .*PS_KEY is not set"):
        read_client_auth(path, environment={"PS_AUDIENCE": "app", "PS_SUPABASE": "false"})
    with pytest.raises(ConfigError, match="PS_SOURCE_URI"):  # names the Supabase project
        read_client_auth(path, environment={**environment, "PS_SUPABASE": "true"})
    uri = "postgresql://u:p@db.abcdefgh.supabase.co:5432/postgres"
    found = read_client_auth(path, environment={**environment, "PS_SUPABASE": "true", "PS_SOURCE_URI": uri})
    assert found.supabase_uri == "https://abcdefgh.supabase.co/auth/v1/.well-known/jwks.json"


async def test_the_file_s_jwks_uri_is_fetched_within_its_rules(tmp_path: Path) -> None:
    async with key_server([RSA]) as address:
        token = sign(RSA, {"sub": "user-1", "aud": "app", "iat": NOW_S, "exp": NOW_S + 300})
        for rules, expected in [({}, "user-1"), ({"jwks_reject_ip_ranges": ["127.0.0.0/8"]}, "PSYNC_S2203")]:
            path = config_file(tmp_path, {"audience": ["app"], "jwks_uri": address, **rules})
            verifier = ServiceConfigVerifier(read_client_auth(path))
            assert await verdict(verifier, token) == expected
            await verifier.close()


async def test_the_keys_of_a_supabase_project_have_rules_of_their_own() -> None:
    async with key_server([RSA]) as address:
        verifier = ServiceConfigVerifier(ClientAuth(audience=["app"], supabase=True, supabase_uri=address))
        for audience, days, expected in [
            ("authenticated", 6, "user-1"),
            ("authenticated", 8, "PSYNC_S2104"),
            ("app", 1, "PSYNC_S2105"),
        ]:
            claims = {"sub": "user-1", "aud": audience, "iat": NOW_S, "exp": NOW_S + days * 86_400}
            assert await verdict(verifier, sign(RSA, claims)) == expected
        await verifier.close()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[", "PSYNC_S3201"),
        ("- 1", "PSYNC_S3201"),
        ("client_auth: [1]", "PSYNC_S3201"),
        ("client_auth: {audience: app}", "PSYNC_S3201"),
        ("client_auth: {jwks_uri: !env SECRET}", "PSYNC_S3201"),
        ("client_auth: {jwks_uri: !env [PS_A]}", "PSYNC_S3201"),
        ("client_auth: {audience: [app]}", "PSYNC_S3201"),
        ("{}", "PSYNC_S3201"),
        ("client_auth: {jwks_uri: 'https://keys.example.com'}", "PSYNC_S2201"),
        ("client_auth: {audience: [app], jwks_uri: 'ftp://keys.example.com'}", "PSYNC_S3103"),
        ("client_auth: {audience: [app], jwks: {keys: [{kty: secret-value}]}}", "PSYNC_S2201"),
        (json.dumps({"client_auth": {"audience": 1}}), "PSYNC_S3201"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        BackendAuth.from_service_config(path, service_url=URL, environment={"SECRET": "s"})
    assert caught.value.error_code == code
    assert "secret-value" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_client_auth(tmp_path / "missing.yaml")


def test_the_presets_are_all_tested() -> None:
    tested = {name.partition("-")[0] for name in PRESETS}
    assert tested == set(providers.__all__) - {"Provider"}
