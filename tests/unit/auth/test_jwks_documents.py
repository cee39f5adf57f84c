"""Which documents behind a JWKS URI are taken, and which of their keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from syncline.auth.jwks import DOCUMENT_BYTES_MAX, JwksCache
from syncline.auth.verifier import TokenVerifier
from syncline.errors import KeysUnavailable, TokenInvalid
from tests.unit.auth.issuer import NOW_S, Issuer, SigningKey, running_issuer
from tests.unit.auth.test_verifier import MATRIX, claims

FIRST = SigningKey("first")


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer([FIRST]) as running:
        yield running


async def kids(uri: str) -> list[str | None]:
    return [key.kid for key in await JwksCache(uri).keys()]


@pytest.mark.requirement(104)
async def test_every_public_key_of_the_matrix_verifies_through_jwks_and_a_shared_secret_does_not(
    issuer: Issuer,
) -> None:
    issuer.publish(*({**jwk, "kid": str(index)} for index, (_, _, jwk) in enumerate(MATRIX)))
    checks = TokenVerifier(JwksCache(issuer.uri), ["app"])
    for index, (algorithm, key, _) in enumerate(MATRIX):
        token = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": str(index)})
        if algorithm.startswith("HS"):
            with pytest.raises(TokenInvalid):
                await checks.verify(token, now_s=NOW_S)
        else:
            assert (await checks.verify(token, now_s=NOW_S)).user_id == "user-1"


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kty": "oct"},
        {"kty": ["EC"]},
        {"x": 1},
        {"alg": []},
    ],
)
async def test_a_key_that_is_not_for_signatures_or_broken_is_skipped(issuer: Issuer, changed: dict[str, Any]) -> None:
    issuer.publish({**FIRST.jwk, "kid": "skipped", **changed}, {**FIRST.jwk, "use": "sig", "key_ops": ["verify"]})
    assert await kids(issuer.uri) == ["first"]


@pytest.mark.parametrize(
    "body",
    [b"<html>Sign in</html>", b'{"keys": [', b'{"keys": {}}', b"[]", b"", b"\xff", b" " * (DOCUMENT_BYTES_MAX + 1)],
    ids=["html", "cut", "no list", "no object", "empty", "no text", "too large"],
)
async def test_a_document_that_is_no_key_set_or_too_large_gives_no_keys(issuer: Issuer, body: bytes) -> None:
    issuer.body = body
    with pytest.raises(KeysUnavailable):
        await kids(issuer.uri)


async def test_a_document_of_the_largest_size_is_read(issuer: Issuer) -> None:
    issuer.body = json.dumps({"keys": [FIRST.jwk]}).encode().ljust(DOCUMENT_BYTES_MAX)
    assert await kids(issuer.uri) == ["first"]


async def test_an_empty_key_set_withdraws_every_key(issuer: Issuer) -> None:
    issuer.publish()
    with pytest.raises(TokenInvalid):
        await TokenVerifier(JwksCache(issuer.uri), ["app"]).verify(FIRST.token(), now_s=NOW_S)


async def test_a_redirect_is_followed_within_its_origin_only(issuer: Issuer) -> None:
    assert await kids(issuer.uri.replace("/jwks", "/moved")) == ["first"]
    async with running_issuer() as other:
        other.status, other.headers = 302, {"Location": issuer.uri}
        with pytest.raises(KeysUnavailable):
            await kids(other.uri)
        other.headers = {"Location": other.uri}  # in a circle
        with pytest.raises(KeysUnavailable):
            await kids(other.uri)
    assert issuer.requests == 2
