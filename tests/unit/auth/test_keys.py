"""Which keys can be configured, and which of them are tried for a token."""

from __future__ import annotations

import base64
import logging
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.utils import to_base64url_uint

from syncline.auth.jwk import MEMBER_CHARACTERS_MAX, RSA_BITS_MAX, RSA_BITS_MIN, VerificationKey, read_key
from syncline.auth.keys import KEYS_PER_ID_MAX, SECRET_BYTES_MIN, StaticKeys, select_keys
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
        ({**RSA_JWK, "kid": "k", "n": "AQAB"}, "is not a valid RSA key|has 17 bits"),
        ({**RSA_JWK, "kid": "k", "e": "Ag"}, "is not a valid RSA key"),
        ({**EC_JWK, "y": EC_JWK["x"]}, "is not a valid EC key"),
        ({**EC_JWK, "crv": "secp256k1"}, "is not a valid EC key|crv does not fit alg"),
        ({**EC_JWK, "crv": ["P-256"]}, "crv is not a text"),
        ({**EC_JWK, "kid": "k" * (MEMBER_CHARACTERS_MAX + 1)}, "kid is longer than"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_with_its_place(jwk: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"client_auth\.jwks\.keys\[0\].*({problem})") as caught:
        StaticKeys.from_jwks([jwk])
    assert caught.value.error_code == "PSYNC_S2201"


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


def test_an_rsa_key_that_is_too_long_is_refused() -> None:
    for bits, refused in ((RSA_BITS_MAX, False), (RSA_BITS_MAX + 1, True)):
        modulus = (1 << bits) - 1  # no product of two primes, which only its owner could tell
        jwk = {**RSA_JWK, "kid": "k", "n": to_base64url_uint(modulus).decode()}
        if refused:
            with pytest.raises(ConfigError, match=f"{bits} bits"):
                read_key(jwk)
        else:
            assert read_key(jwk).material.key_size == bits


def test_a_private_key_is_read_as_its_public_half_whatever_its_private_members_are() -> None:
    key = read_key({**EC_JWK, "d": 7, "p": [], "oth": {}, "dq": "*"})
    assert key.material == read_key(EC_JWK).material


def test_more_keys_of_one_id_than_are_tried_for_a_token_are_refused() -> None:
    for kid in ("k", None):
        jwks = [{**oct_jwk(bytes([index]) * 32), "kid": kid} for index in range(KEYS_PER_ID_MAX + 1)]
        assert len(StaticKeys.from_jwks(jwks[1:]).cached()) == KEYS_PER_ID_MAX
        with pytest.raises(ConfigError, match=f"more than {KEYS_PER_ID_MAX}") as caught:
            StaticKeys.from_jwks(jwks)
        assert "kid" in caught.value.hint


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
