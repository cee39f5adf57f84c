"""Keys of every algorithm, and tokens signed with them."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from syncline.auth.keys import StaticKeys
from syncline.auth.verifier import TokenVerifier
from syncline.errors import AuthError
from tests.unit.auth.issuer import NOW_S

SECRET = b"secret-secret-secret-secret-secret-secret-secret-secret-64-bytes"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}
ED_KEYS = (ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate())


def oct_jwk(algorithm: str, **fields: Any) -> dict[str, Any]:
    return {"kty": "oct", "alg": algorithm, "k": base64.urlsafe_b64encode(SECRET).decode(), **fields}


def rsa_jwk(**fields: Any) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), **fields}


MATRIX: list[tuple[str, Any, dict[str, Any]]] = [
    *((name, SECRET, oct_jwk(name)) for name in ("HS256", "HS384", "HS512")),
    *((name, RSA_KEY, rsa_jwk()) for name in ("RS256", "RS384", "RS512")),
    *((name, key, ECAlgorithm.to_jwk(key.public_key(), as_dict=True)) for name, key in EC_KEYS.items()),
    *(("EdDSA", key, OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)) for key in ED_KEYS),
]
"""Algorithm, what signs, and the JWK that verifies; the JWKs have no `kid`."""


def claims(**changed: Any) -> dict[str, Any]:
    return {"sub": "user-1", "aud": "app", "iat": NOW_S, "exp": NOW_S + 300, **changed}


def verifier(*jwks: dict[str, Any], **options: Any) -> TokenVerifier:
    return TokenVerifier(StaticKeys.from_jwks(jwks), ["app"], **options)


def sign(payload: dict[str, Any], *, kid: str | None = "k", algorithm: str = "HS256", key: Any = SECRET) -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


def sign_bytes(payload: bytes, *, headers: dict[str, Any] | None = None) -> str:
    """A token of any payload, whatever it is, signed with SECRET."""
    return jwt.api_jws.encode(payload, SECRET, headers=headers or {"kid": "k"})


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], payload: dict[str, Any]) -> str:
    """A token with an empty signature."""
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, payload)) + "."


async def code_of(token: str, checks: TokenVerifier) -> str:
    """The code with which a token is refused."""
    with pytest.raises(AuthError) as caught:
        await checks.verify(token, now_s=NOW_S)
    assert caught.value.status == 401
    return caught.value.error_code
