"""Tokens and key sources of those who mean no good: each is refused with its code, and nobody else notices."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from syncline.embedded.ports import free_port
from syncline.testing.service_process import AUDIENCE, KEY_ID, SECRET, ServiceProcess, token
from tests.integration.service.hostile import SYNC_CONFIG, Attacked, base64url

TOKENS = 1000


pytestmark = pytest.mark.usefixtures("unharmed")


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64url(part) for part in parts)


def claims(**changed: Any) -> dict[str, Any]:
    now_s = int(time.time())
    return {"sub": "attacker", "aud": AUDIENCE, "iat": now_s, "exp": now_s + 3600} | changed


def shared(given: dict[str, Any], **header: Any) -> str:
    """A token signed with the shared key, which is right, over claims that are not."""
    return jwt.encode(given, SECRET, algorithm="HS256", headers={"kid": KEY_ID, **header})


def hmac_token(secret: bytes, *, kid: str | None, algorithm: str = "HS256", **changed: Any) -> str:
    """Signed by hand: the library takes no public key for a secret, and no odd claims."""
    head = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid is not None else {})
    signed = f"{base64url(json.dumps(head).encode())}.{base64url(json.dumps(claims(**changed)).encode())}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    return f"{signed}.{base64url(hmac.new(secret, signed.encode(), digest).digest())}"


async def test_a_token_without_a_signature_is_refused(attacked: Attacked) -> None:
    for algorithm in ("none", "None", "NONE", "nOnE", "", "HS1", None, 7, ["HS256"]):
        for kid in (KEY_ID, "rsa", "ec", None, "", "../../etc/passwd", "' OR 1=1 --"):
            header = {"alg": algorithm, "typ": "JWT", "kid": kid}
            for signature in (b"", b"x"):
                assert await attacked.ask({}, bearer=unsigned(header, claims(), signature)) == (401, "PSYNC_S2101")


async def test_a_public_key_is_no_shared_secret(attacked: Attacked) -> None:
    numbers = attacked.keys[1]["n"].encode()
    for secret in (
        attacked.public_pem,
        attacked.public_pem.strip(),
        numbers,
        b"",
        json.dumps(attacked.keys[1]).encode(),
    ):
        for kid in ("rsa", "ec", KEY_ID, None):
            for algorithm in ("HS256", "HS384", "HS512"):
                bearer = hmac_token(secret, kid=kid, algorithm=algorithm)
                assert await attacked.ask({}, bearer=bearer) == (401, "PSYNC_S2101")
    assert await attacked.ask({}, bearer=hmac_token(SECRET, kid=KEY_ID)) == (200, ""), "the helper signs as it should"


async def test_a_key_serves_its_own_algorithm_and_no_other(attacked: Attacked) -> None:
    made = [
        (attacked.rsa_key, "RS256", "rsa", 200),
        (attacked.ec_key, "ES256", "ec", 200),
        (attacked.rsa_key, "RS512", "rsa", 401),
        (attacked.rsa_key, "PS256", "rsa", 401),
        (attacked.rsa_key, "RS256", "ec", 401),
        (attacked.ec_key, "ES256", "rsa", 401),
        (attacked.rsa_key, "RS256", KEY_ID, 401),
    ]
    for key, algorithm, kid, status in made:
        bearer = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": kid})
        assert (await attacked.ask({}, bearer=bearer))[0] == status, (algorithm, kid)


async def test_a_token_brings_no_key_of_its_own(attacked: Attacked) -> None:
    own = base64url(b"an attacker's own secret, of 32 b")
    for extra in (
        {"jwk": {"kty": "oct", "k": own, "alg": "HS256"}},
        {"jku": f"{attacked.base_url}/openapi.json"},
        {"x5u": "http://127.0.0.1:1/"},
        {"x5c": [own]},
        {"crit": ["exp"]},
    ):
        bearer = jwt.encode(
            claims(), b"an attacker's own secret, of 32 b", algorithm="HS256", headers={"kid": "own", **extra}
        )
        assert await attacked.ask({}, bearer=bearer) == (401, "PSYNC_S2101")


async def test_claims_that_are_not_what_they_should_be_are_refused_with_their_code(attacked: Attacked) -> None:
    now_s = int(time.time())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"exp": now_s - 100}, "PSYNC_S2103"),
        ({"exp": now_s + 10**6}, "PSYNC_S2104"),
        ({"exp": 10**400}, "PSYNC_S2101"),
        ({"exp": "soon"}, "PSYNC_S2101"),
        ({"exp": None}, "PSYNC_S2101"),
        ({"iat": now_s + 10**6, "exp": now_s + 10**6 + 10}, "PSYNC_S2101"),
        ({"iat": True}, "PSYNC_S2101"),
        ({"nbf": now_s + 10**6}, "PSYNC_S2101"),
        ({"aud": "others"}, "PSYNC_S2105"),
        ({"aud": ["others"] * 1000}, "PSYNC_S2105"),
        ({"parameters": [1]}, "PSYNC_S2101"),
        ({"sub": {"a": 1}}, "PSYNC_S2101"),
    ]
    for changed, code in cases:
        bearer = hmac_token(SECRET, kid=KEY_ID, **changed)
        assert await attacked.ask({}, bearer=bearer) == (401, code), changed


async def test_a_thousand_bad_tokens_are_refused_each_with_its_code(attacked: Attacked) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    noise = random.Random(seed)
    good = token("attacker")

    def bad(number: int) -> tuple[str, str]:
        match number % 5:
            case 0:
                return base64url(noise.randbytes(noise.randrange(1, 3000))), "PSYNC_S2101"
            case 1:
                head, body, signature = good.split(".")
                at = noise.randrange(len(signature) - 1)  # the last character has bits that say nothing
                return (
                    f"{head}.{body}.{signature[:at]}{'A' if signature[at] != 'A' else 'B'}{signature[at + 1 :]}",
                    "PSYNC_S2101",
                )
            case 2:
                return shared(claims(exp=int(time.time()) - 120 - number)), "PSYNC_S2103"
            case 3:
                return shared(claims(), kid=f"unknown-{number}"), "PSYNC_S2101"
            case _:
                return shared(claims(aud=f"audience-{number}")), "PSYNC_S2105"

    made = [bad(number) for number in range(TOKENS)]
    headers = [{"authorization": f"Token {bearer}"} for bearer, _ in made]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session:

        async def refused(header: dict[str, str]) -> tuple[int, str]:
            async with session.post(f"{attacked.base_url}/sync/stream", data=b"{}", headers=header) as response:
                return response.status, (await response.json())["error"]["code"]

        answers = await asyncio.gather(*map(refused, headers))
    assert answers == [(401, code) for _, code in made]


async def test_headers_that_are_no_token_are_refused(attacked: Attacked) -> None:
    good = token("attacker")
    for header in (
        "",
        "Token",
        f"token {good}",
        f"Token  {good}",
        f"Basic {good}",
        good,
        f"Token {good} x",
        f"Token {good},x",
    ):
        answer = await attacked.ask({}, headers={"authorization": header})
        assert answer in {(401, "PSYNC_S2106"), (401, "PSYNC_S2101")}, header


@pytest.mark.parametrize(
    ("host", "settings", "code"),
    [
        ("127.0.0.1", {"block_local_jwks": True}, "PSYNC_S2203"),
        ("localhost", {"block_local_jwks": True}, None),
        ("127.0.0.1", {"jwks_reject_ip_ranges": ["127.0.0.0/8"]}, "PSYNC_S2203"),
        ("[::1]", {"block_local_jwks": True}, "PSYNC_S2202"),
        ("2130706433", {"jwks_reject_ip_ranges": ["local"]}, None),
        ("[::ffff:127.0.0.1]", {"jwks_reject_ip_ranges": ["local"]}, "PSYNC_S2203"),
    ],
)
async def test_keys_are_not_fetched_from_an_address_that_is_blocked(
    attacked: Attacked, tmp_path: Path, host: str, settings: dict[str, Any], code: str | None
) -> None:
    asked = 0

    async def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    port = free_port()
    server = await asyncio.start_server(count, "127.0.0.1", port)
    process = ServiceProcess(
        tmp_path,
        dsn=attacked.source.dsn,
        sync_config=SYNC_CONFIG,
        client_auth={"jwks_uri": f"http://{host}:{port}/keys", "audience": [AUDIENCE], **settings},
    )
    try:
        async with server:
            await asyncio.to_thread(process.start, timeout_s=60.0)
            headers = {"authorization": f"Token {token('u1')}"}
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{process.base_url}/sync/stream", data=b"{}", headers=headers) as response,
            ):
                found = (await response.json())["error"]["code"]
                assert response.status == 401
                assert found == code if code else found in ("PSYNC_S2202", "PSYNC_S2203", "PSYNC_S2204"), (
                    "as it resolves"
                )
            assert asked == 0
    finally:
        await asyncio.to_thread(process.stop)
