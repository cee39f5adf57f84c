"""Issues the tokens that devices present to the sync service and to the upload routes.

One signer has one key, of one algorithm. Keys that replace each other: `syncline.backend.auth.rotating_signer`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from syncline.auth.claims import MAX_LIFETIME_S
from syncline.auth.jwk import decode_base64url, read_key
from syncline.auth.keys import StaticKeys
from syncline.errors import ConfigError

__all__ = ["DEFAULT_LIFETIME_S", "SECRET_BYTES_MIN", "SIGNING_ALGORITHMS", "SignedToken", "TokenSigner"]

DEFAULT_LIFETIME_S = 300  # seconds that a token is good for
SECRET_BYTES_MIN = 32  # bytes of an HS256 secret (RFC 7518, 3.2)
SIGNING_ALGORITHMS = ("RS256", "ES256", "EdDSA", "HS256")
"""What a signer can sign with. HS256 is for development: whoever can verify its tokens can also issue them."""

_RSA_BITS = 2048
_PROTECTED = frozenset({"sub", "aud", "iat", "exp"})
_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_ALGORITHMS_OF_TYPES = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA", "oct": "HS256"}
_PUBLIC_MEMBERS = {
    "RSA": ("e", "n"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
}  # and kty; the same ones of RFC 7638, 3.2


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token and the second (since 1970) at which it ends."""

    token: str
    expires_at_s: int


class TokenSigner:
    """Signs tokens with one key. Make it with `generate`, `from_pem_file`, `from_private_jwk` or `from_secret`."""

    def __init__(self, material: Any, *, algorithm: str, public_jwk: dict[str, Any], verification: StaticKeys) -> None:
        self._material = material
        self._public_jwk = public_jwk
        self.algorithm = algorithm
        """One of SIGNING_ALGORITHMS."""
        self.keys = verification
        """What a TokenVerifier takes to accept this signer's tokens."""

    @property
    def kid(self) -> str:
        """Key id in the header of every token."""
        return self._public_jwk["kid"]

    @classmethod
    def generate(cls, algorithm: str = "RS256") -> TokenSigner:
        """A new key, in memory only: tokens end with the process. Raises ConfigError for what is not in SIGNING_ALGORITHMS."""
        if algorithm == "HS256":
            return cls.from_secret(secrets.token_bytes(SECRET_BYTES_MIN), kid=secrets.token_urlsafe(12))
        return cls._from_private_key(_new_private_key(algorithm), "key")

    @classmethod
    def from_pem_file(cls, path: Path, *, create: bool = False, algorithm: str = "RS256") -> TokenSigner:
        """The RSA, P-256 or Ed25519 key in a PEM file that only its owner may read. Raises ConfigError.

        With `create`, a missing file gets a new key of `algorithm`; the key of a file that is there says its own.
        """
        if create:
            _create_pem(path, algorithm)
        try:
            if os.name == "posix" and path.stat().st_mode & 0o077:
                raise ConfigError(f"Others can read the signing key {path}.", hint=f"chmod 600 {path}")
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as exc:
            raise ConfigError(f"The signing key {path} cannot be read: {type(exc).__name__}.") from None
        return cls._from_private_key(key, f"The signing key {path}")

    @classmethod
    def from_secret(cls, secret: bytes, *, kid: str) -> TokenSigner:
        """HS256 with a secret that the sync service has too (`client_auth.jwks`, kty oct). Raises ConfigError when too short."""
        if len(secret) < SECRET_BYTES_MIN:
            raise ConfigError(f"An HS256 secret needs {SECRET_BYTES_MIN} bytes or more.")
        key = read_key({"kty": "oct", "alg": "HS256", "kid": kid, "k": _base64url(secret)})
        return cls(secret, algorithm="HS256", public_jwk={"kty": "oct", "kid": kid}, verification=StaticKeys([key]))

    @classmethod
    def from_private_jwk(cls, jwk: Mapping[str, Any], *, where: str = "key") -> TokenSigner:
        """The key that `private_jwk` gave. `where` names it in a ConfigError, which never shows it."""
        kty, kid = jwk.get("kty"), jwk.get("kid")
        if kty == "oct":
            if not isinstance(kid, str):
                raise ConfigError(f"{where} has no kid.")
            return cls.from_secret(decode_base64url(str(jwk.get("k", "")), where=f"{where}.k"), kid=kid)
        readers = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
        try:
            key: Any = readers[str(kty)](dict(jwk))
        except (PyJWTError, ValueError, TypeError, KeyError) as exc:
            raise ConfigError(f"{where} is not a private key: {type(exc).__name__}.") from None
        return cls._from_private_key(key, where)

    @classmethod
    def _from_private_key(cls, key: object, where: str) -> TokenSigner:
        if not isinstance(key, _PrivateKey):
            raise ConfigError(f"{where} is not a private RSA, P-256 or Ed25519 key.")
        if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, ec.SECP256R1):
            raise ConfigError(f"{where} is not of the curve P-256.", hint="openssl ecparam -genkey -name prime256v1")
        jwk = _private_members(key)
        members = {member: jwk[member] for member in ("kty", *_PUBLIC_MEMBERS[jwk["kty"]])}
        # RFC 7638: the key's thumbprint, so that the id is stable and changes with the key
        digest = sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
        algorithm = _ALGORITHMS_OF_TYPES[jwk["kty"]]
        public = {**members, "alg": algorithm, "use": "sig", "kid": _base64url(digest)}
        verification = StaticKeys([read_key(public, where=where)])
        return cls(key, algorithm=algorithm, public_jwk=public, verification=verification)

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
        token = jwt.encode(payload, self._material, algorithm=self.algorithm, headers={"kid": self.kid})
        return SignedToken(token, expires_at_s)

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The key set to publish: public parts only; empty for a shared secret."""
        return {"keys": [] if self.algorithm == "HS256" else [dict(self._public_jwk)]}

    def private_jwk(self) -> dict[str, Any]:
        """The whole key, to be kept where only its owner reads: never publish or log it. HS256: the entry of `client_auth.jwks.keys`."""
        if self.algorithm == "HS256":
            return {**self._public_jwk, "alg": "HS256", "k": _base64url(self._material)}
        return {**_private_members(self._material), "alg": self.algorithm, "kid": self.kid}


def _private_members(key: _PrivateKey) -> dict[str, Any]:
    """The JWK of a private key, without what a reader would have to check."""
    if isinstance(key, rsa.RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        jwk = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {member: value for member, value in jwk.items() if member != "key_ops"}


def _new_private_key(algorithm: str) -> _PrivateKey:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            raise ConfigError(
                f"No such key can be made: {algorithm!r}.", hint=f"Use one of {', '.join(SIGNING_ALGORITHMS)}."
            )


def _create_pem(path: Path, algorithm: str) -> None:
    if algorithm == "HS256":
        raise ConfigError("A PEM file holds no shared secret.", hint="TokenSigner.from_secret(…), or RS256.")
    key = _new_private_key(algorithm)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as exc:
        raise ConfigError(f"The signing key {path} cannot be written: {exc.strerror}.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
