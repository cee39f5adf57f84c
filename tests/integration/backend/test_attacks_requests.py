"""Forged tokens and strange bodies, over HTTP and a real Postgres: nothing is written, nothing is told, and there is one clear code."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import Generator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from syncline.testing.postgres import PostgresServer
from tests.integration.backend.attack_target import (
    BODY_BYTES_MAX,
    KEY,
    KEY_ID,
    Target,
    entry,
    nothing_told,
    serving_target,
    token,
)

OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGE_JWK = RSAAlgorithm.to_jwk(OTHER_KEY.public_key(), as_dict=True)
PUBLIC_PEM = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def target(postgres_server: PostgresServer) -> Generator[Target]:
    with serving_target(postgres_server) as target:
        yield target


@pytest.fixture(autouse=True)
def _as_before(target: Target) -> Generator[None]:
    """Rows that Ann wrote under her own name go again."""
    yield
    target.forget()


# Tokens.


def claims_of(text: str) -> dict[str, Any]:
    return jwt.decode(text, options={"verify_signature": False})


def part(value: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def made_by_hand(*, alg: str, signature: bool = False) -> str:
    """What PyJWT refuses to sign: no signature at all, or the public key as a shared secret (for libraries that believe the header)."""
    claims = claims_of(token())
    head = part({"alg": alg, "typ": "JWT", "kid": KEY_ID}) + b"." + part(claims)
    mac = hmac.new(PUBLIC_PEM, head, hashlib.sha256).digest() if signature else b""
    return (head + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def by_another_key(**header: Any) -> str:
    claims = claims_of(token())
    return jwt.encode(claims, OTHER_KEY, "RS256", {"kid": KEY_ID, **header})


def with_other_claims() -> str:
    """Bob's claims under Ann's signature."""
    head, _, signature = token().split(".")
    return f"{head}.{token('bob', org='b').split('.')[1]}.{signature}"


BAD_TOKENS = {
    "expired": lambda: token(exp=int(time.time()) - 120),
    "not yet valid": lambda: token(nbf=int(time.time()) + 600, iat=int(time.time()) + 600, exp=int(time.time()) + 900),
    "of another audience": lambda: token(aud="another-app"),
    "without an audience": lambda: token(aud=None),
    "without a subject": lambda: token(sub=None),
    "with an empty subject": lambda: token(""),
    "with null for a subject": lambda: jwt.encode(claims_of(token()) | {"sub": None}, KEY, "RS256", {"kid": KEY_ID}),
    "that never expires": lambda: token(exp=None),
    "that is good for a year": lambda: token(exp=int(time.time()) + 365 * 86_400),
    "with alg none": lambda: made_by_hand(alg="none"),
    "with alg NONE": lambda: made_by_hand(alg="NONE"),
    "signed with the public key": lambda: made_by_hand(alg="HS256", signature=True),
    "of another key": by_another_key,
    "that brings its key": lambda: by_another_key(jwk=STRANGE_JWK),
    "that names its keys": lambda: by_another_key(jku="http://127.0.0.1:1/jwks"),
    "of a key id that is a path": lambda: by_another_key(kid="../../dev/null"),
    "with other claims": with_other_claims,
    "in parts": lambda: token().rsplit(".", 1)[0],
    "of nothing": lambda: "..",
    "that is long": lambda: "a" * 20_000,
}


def test_a_good_token_opens(target: Target) -> None:
    """What the bad ones are made from."""
    assert target.verdict(entry("PUT", "new", "notes", name="n"), bearer=token()) == "success"


@pytest.mark.requirement(156)
@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_bad_token_opens_nothing(target: Target, kind: str) -> None:
    with target.unchanged():
        body = json.dumps({"transactions": [{"crud": [entry("PUT", "new", name="n")]}]}).encode()
        answer = target.send(body, BAD_TOKENS[kind]())
        assert answer.status == 401
        assert answer.json()["code"].startswith("PSYNC_S21")
        nothing_told(answer)


def test_a_user_named_anywhere_but_in_the_token_is_nobody(target: Target) -> None:
    with target.unchanged():
        body = json.dumps({"user_id": "bob", "transactions": [{"crud": [entry("DELETE", "bobs")], "user_id": "bob"}]})
        answer = target.send(body.encode(), path="/api/data?user_id=bob", **{"x-user-id": "bob"})
        assert (answer.status, answer.json()["results"]) == (200, [{"status": "success"}])


# Bodies.


def raw(value: str, *, before: str = "") -> bytes:
    """An upload whose column `name` is this JSON text."""
    data = f'{{{before}"name": {value}}}'
    return f'{{"transactions": [{{"crud": [{{"op":"PUT","table":"notes","id":"new","op_data":{data}}}]}}]}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        raw("NaN"),
        raw("Infinity"),
        raw("1e999"),
        raw('"n"', before='"name": "m", '),
        raw('"n"', before='"owner_id": "ann", "owner_id": "bob", '),
        raw("[" * 40_000 + "]" * 40_000),
        raw('"\ud800"'.encode("utf-8", "surrogatepass").decode("latin-1")).replace(b"\xc3", b"\xff"),
        raw('"n"').replace(b'"id":"new"', b'"id":5'),
        raw('"n"').replace(b'"PUT"', b'"TRUNCATE"'),
        raw('"n"').replace(b'"table":"notes"', b'"table":["notes"]'),
        raw('"n"')[:-1],
        b"\x1f\x8b" + raw('"n"'),
        b"",
        b"null",
    ],
    ids=lambda body: ascii(body[-60:]),
)
def test_a_body_that_readers_could_disagree_about_is_refused(target: Target, body: bytes) -> None:
    with target.unchanged():
        answer = target.send(body)
        assert answer.status == 400
        assert answer.json().keys() == {"message"}
        nothing_told(answer)


def test_what_is_too_large_or_too_deep_is_refused(target: Target) -> None:
    with target.unchanged():
        assert target.send(raw('"' + "x" * BODY_BYTES_MAX + '"')).status == 413
        assert target.verdict(entry("PUT", "new", "notes", name=json.loads("[" * 100 + "]" * 100))) == "INVALID_DATA"
        assert target.verdict(entry("PUT", "new" + "x" * 2000, "notes", name="n")) == "INVALID_DATA"


def test_a_compressed_bomb_is_never_opened(target: Target) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < BODY_BYTES_MAX
    with target.unchanged():
        answer = target.send(bomb, **{"content-encoding": "gzip"})
        assert (answer.status, list(answer.json())) == (415, ["message"])
        assert target.send(bomb).status == 400
