"""Which keys can be configured, and which of them are tried for a token."""

from __future__ import annotations

import base64
import logging
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from syncline.auth.keys import RSA_BITS_MIN, SECRET_BYTES_MIN, StaticKeys, VerificationKey, read_key, select_keys
from syncline.errors import ConfigError

RSA_JWK = RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key(), as_dict=True)
EC_JWK = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)


def oct_jwk(secret: bytes, algorithm: str = "HS256") -> dict[str, Any]:
    return {"kty": "oct", "alg": algorithm, "k": base64.urlsafe_b64encode(secret).rstrip(b"=").decode()}


@pytest.mark.parametrize(
    ("jwk", "problem"),
    [
        ({"kty": "oct", "k": "AAAA"}, "alg is missing"),
        ({"kty": "oct", "alg": "RS256", "k": "AAAA"}, "alg does not fit kty"),
        ({"kty": "oct", "alg": "none", "k": "AAAA"}, "alg does not fit kty"),
        ({"kty": "oct", "alg": "HS256"}, "k is missing"),
        ({"kty": "oct", "alg": "HS256", "k": "*"}, "k is not base64url"),
        ({"kty": "oct", "alg": "HS256", "k": "AA+/"}, "k is not base64url"),
        ({"kty": "oct", "alg": "HS256", "k": "AAAAA"}, "k is not base64url"),
        ({"kty": "oct", "alg": "HS256", "k": 12345678}, "k is not a text"),
        ({"kty": "RSA", "kid": "k"}, "n is missing"),
        ({**RSA_JWK, "kid": "k", "n": RSA_JWK["n"][:-1] + "+"}, "n is not base64url"),
        ({**RSA_JWK, "kid": "k", "alg": "PS256"}, "alg does not fit kty"),
        ({"kty": "EC", "crv": "P-256"}, "x is missing"),
        ({**EC_JWK, "crv": "P-999"}, "is not a valid EC key"),
        ({**EC_JWK, "alg": "ES384"}, "crv does not fit alg"),
        ({"kty": "OKP", "crv": "X25519", "x": "AAAA"}, "is not a valid OKP key"),
        ({"kty": "x"}, "kty is not supported"),
        ({"kty": ["RSA"]}, "kty is not a text"),
        ({**RSA_JWK, "kid": 1}, "kid is not a text"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_with_its_place(jwk: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"client_auth\.jwks\.keys\[0\].*{problem}"):
        StaticKeys.from_jwks([jwk])


def test_a_configured_rsa_key_needs_a_key_id_and_the_others_do_not() -> None:
    with pytest.raises(ConfigError) as caught:
        StaticKeys.from_jwks([EC_JWK, RSA_JWK])
    assert "client_auth.jwks.keys[1].kid is missing" in caught.value.message
    assert "kid" in caught.value.hint
    assert len(StaticKeys.from_jwks([EC_JWK, {**RSA_JWK, "kid": "k"}, oct_jwk(b"s" * 32)]).cached()) == 3


def test_an_rsa_key_that_is_too_short_is_refused() -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS_MIN // 2).public_key()
    with pytest.raises(ConfigError, match="1024 bits") as caught:
        StaticKeys.from_jwks([{**RSAAlgorithm.to_jwk(short, as_dict=True), "kid": "k"}])
    assert str(RSA_BITS_MIN) in caught.value.hint


@pytest.mark.parametrize(("algorithm", "least"), SECRET_BYTES_MIN.items())
def test_a_short_secret_is_used_with_a_warning_that_does_not_show_it(
    algorithm: str, least: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="syncline.auth")
    StaticKeys.from_jwks([oct_jwk(b"s" * least, algorithm)])
    assert not caplog.records
    short = oct_jwk(b"s" * (least - 1), algorithm)
    (key,) = StaticKeys.from_jwks([short]).cached()
    assert key.material == b"s" * (least - 1)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"client_auth.jwks.keys[0].k has {least - 1} bytes; {algorithm} needs {least}"
    )
    assert short["k"] not in record.getMessage()


def test_padding_of_a_secret_is_allowed() -> None:
    for encoded in ("_-A", "_-A="):
        assert read_key({"kty": "oct", "alg": "HS256", "k": encoded}).material == b"\xff\xe0"


def test_a_public_key_allows_no_symmetric_algorithm_nor_another_family() -> None:
    key = read_key(RSA_JWK)
    assert [
        name for name in ("RS256", "RS512", "HS256", "ES256", "EdDSA", "PS256", "none", "") if key.allows(name)
    ] == [
        "RS256",
        "RS512",
    ]
    assert not key.verifies("HS256", b"signed", b"signature")


def test_every_key_of_a_key_id_is_tried_and_wildcards_only_where_none_has_it() -> None:
    first, second = VerificationKey("k", "oct", "HS256", b"1"), VerificationKey("k", "oct", "HS512", b"2")
    wildcard = VerificationKey(None, "oct", "HS256", b"3")
    keys = [first, wildcard, second]
    assert select_keys(keys, kid="k", algorithm="HS256") == [first, second]
    assert select_keys(keys, kid="other", algorithm="HS256") == [wildcard]
    assert select_keys(keys, kid=None, algorithm="HS256") == [wildcard]
    assert select_keys(keys, kid="other", algorithm="HS512") == []
