"""Issues the tokens that devices present to the sync service and to the upload routes."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from syncline.auth.claims import MAX_LIFETIME_S
from syncline.auth.jwk import read_key
from syncline.auth.keys import StaticKeys
from syncline.errors import ConfigError

__all__ = ["DEFAULT_LIFETIME_S", "SECRET_BYTES_MIN", "SignedToken", "TokenSigner"]

DEFAULT_LIFETIME_S = 300  # seconds that a token is good for
SECRET_BYTES_MIN = 32  # bytes of an HS256 secret (RFC 7518, 3.2)
_RSA_BITS = 2048
_PROTECTED = frozenset({"sub", "aud", "iat", "exp"})


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token and the second (since 1970) at which it ends."""

    token: str
    expires_at_s: int


class TokenSigner:
    """Signs tokens with one key. Make it with `generate`, `from_pem_file` or `from_secret`."""

    def __init__(self, material: Any, *, algorithm: str, public_jwk: dict[str, Any], verification: StaticKeys) -> None:
        self._material = material
        self._algorithm = algorithm
        self._public_jwk = public_jwk
        self.keys = verification
        """What a TokenVerifier takes to accept this signer's tokens."""

    @property
    def kid(self) -> str:
        """Key id in the header of every token."""
        return self._public_jwk["kid"]

    @classmethod
    def generate(cls) -> TokenSigner:
        """A new RSA key, in memory only: tokens end with the process."""
        return cls._from_rsa(rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS))

    @classmethod
    def from_pem_file(cls, path: Path, *, create: bool = False) -> TokenSigner:
        """The RSA key in a PEM file that only its owner may read; made when missing and `create`. Raises ConfigError."""
        if create:
            _create_pem(path)
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"Others can read the signing key {path}.", hint=f"chmod 600 {path}")
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as exc:
            raise ConfigError(f"The signing key {path} cannot be read: {type(exc).__name__}.") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ConfigError(f"The signing key {path} is not an RSA key.")
        return cls._from_rsa(key)

    @classmethod
    def from_secret(cls, secret: bytes, *, kid: str) -> TokenSigner:
        """HS256 with a secret that the sync service has too (`client_auth.jwks`, kty oct). Raises ConfigError when too short."""
        if len(secret) < SECRET_BYTES_MIN:
            raise ConfigError(f"An HS256 secret needs {SECRET_BYTES_MIN} bytes or more.")
        encoded = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
        key = read_key({"kty": "oct", "alg": "HS256", "kid": kid, "k": encoded})
        return cls(secret, algorithm="HS256", public_jwk={"kty": "oct", "kid": kid}, verification=StaticKeys([key]))

    @classmethod
    def _from_rsa(cls, key: rsa.RSAPrivateKey) -> TokenSigner:
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        members = {"e": jwk["e"], "kty": "RSA", "n": jwk["n"]}
        # RFC 7638: the key's thumbprint, so that the id is stable and changes with the key
        digest = sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
        kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        public = {**members, "alg": "RS256", "use": "sig", "kid": kid}
        return cls(key, algorithm="RS256", public_jwk=public, verification=StaticKeys([read_key(public)]))

    def issue(
        self,
        user_id: str,
        *,
        audience: str,
        now_s: float,
        lifetime_s: int = DEFAULT_LIFETIME_S,
        claims: Mapping[str, Any] | None = None,
    ) -> SignedToken:
        """A token for an authenticated user. Raises ValueError for a lifetime above a day, or claims that are the signer's."""
        if not 0 < lifetime_s <= MAX_LIFETIME_S:
            raise ValueError(f"lifetime_s must be 1 to {MAX_LIFETIME_S}")
        if claims and not _PROTECTED.isdisjoint(claims):
            raise ValueError("claims cannot replace sub, aud, iat or exp")
        issued_at_s = int(now_s)
        expires_at_s = issued_at_s + lifetime_s
        payload = {**(claims or {}), "sub": user_id, "aud": audience, "iat": issued_at_s, "exp": expires_at_s}
        token = jwt.encode(payload, self._material, algorithm=self._algorithm, headers={"kid": self.kid})
        return SignedToken(token, expires_at_s)

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The key set to publish: public parts only; empty for a shared secret."""
        return {"keys": [dict(self._public_jwk)] if self._algorithm == "RS256" else []}


def _create_pem(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as exc:
        raise ConfigError(f"The signing key {path} cannot be written: {exc.strerror}.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
