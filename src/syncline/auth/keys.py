"""Keys that tokens are verified with, and which of them fits a token (configuration reference, 4.2 and 4.3)."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from jwt.algorithms import Algorithm, ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from syncline.errors import ConfigError

__all__ = [
    "ALGORITHMS",
    "RSA_BITS_MIN",
    "SECRET_BYTES_MIN",
    "KeySource",
    "StaticKeys",
    "VerificationKey",
    "decode_base64url",
    "read_key",
    "select_keys",
]

log = logging.getLogger(__name__)

RSA_BITS_MIN = 2048  # bits of an RSA modulus (RFC 7518, 3.3); the reference verifies with no shorter one either
SECRET_BYTES_MIN = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes of a shared secret below which its owner is warned (RFC 7518, 3.2)."""

ALGORITHMS: Mapping[str, Algorithm] = {
    "HS256": HMACAlgorithm(HMACAlgorithm.SHA256),
    "HS384": HMACAlgorithm(HMACAlgorithm.SHA384),
    "HS512": HMACAlgorithm(HMACAlgorithm.SHA512),
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "ES512": ECAlgorithm(ECAlgorithm.SHA512),
    "EdDSA": OKPAlgorithm(),
}
"""The algorithms that a token may name; `none` and PS* are not among them."""

_FAMILIES = {"HS": "oct", "RS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_ENCODED_MEMBERS = {"oct": ("k",), "RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
_READERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One key. `algorithm` None: any of its family. `kid` None: tried for every token that names no known key."""

    kid: str | None
    family: str  # `kty` of the JWK: oct, RSA, EC, OKP
    algorithm: str | None
    material: Any  # what `jwt.algorithms` verifies with; a public key, or the bytes of a shared secret

    def allows(self, algorithm: str) -> bool:
        """Whether a token of this algorithm may be verified with this key. Keeps a public key from being used as a secret."""
        if self.algorithm is not None:
            return self.algorithm == algorithm
        return _FAMILIES.get(algorithm[:2]) == self.family

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `signed`; False where the key does not allow the algorithm."""
        return self.allows(algorithm) and ALGORITHMS[algorithm].verify(signed, self.material, signature)


class KeySource(Protocol):
    """Where keys come from: the configuration, or a JWKS URI."""

    def cached(self) -> Sequence[VerificationKey]:
        """Usable keys at hand, without waiting."""
        ...

    async def keys(self) -> Sequence[VerificationKey]:
        """Usable keys, fetched when there are none. Raises KeysUnavailable."""
        ...

    def key_missing(self) -> None:
        """A token named a key that is not among `keys`: fetch again in the background, if that is due."""
        ...


class StaticKeys:
    """Keys that are written into the configuration, or belong to a signer of our own."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_jwks(cls, jwks: Iterable[Mapping[str, Any]]) -> StaticKeys:
        """`client_auth.jwks.keys`. Raises ConfigError, which names the entry by its index; warns of a short secret."""
        keys: list[VerificationKey] = []
        for index, jwk in enumerate(jwks):
            where = f"client_auth.jwks.keys[{index}]"
            key = read_key(jwk, where=where)
            if key.family == "RSA" and key.kid is None:  # configuration reference, 2.3
                raise ConfigError(f"{where}.kid is missing.", hint="An RSA key needs the `kid` that its tokens name.")
            _warn_of_short_secret(key, where)
            keys.append(key)
        return cls(keys)

    def cached(self) -> Sequence[VerificationKey]:
        """All keys."""
        return self._keys

    async def keys(self) -> Sequence[VerificationKey]:
        """All keys."""
        return self._keys

    def key_missing(self) -> None:
        """Nothing to fetch."""


def select_keys(keys: Iterable[VerificationKey], *, kid: str | None, algorithm: str) -> list[VerificationKey]:
    """The keys to try for a token: those of its `kid`, even where the algorithm does not fit, else all fitting ones without.

    Two sources may each have a key of one `kid`; then both are tried.
    """
    found = list(keys)
    named = [key for key in found if kid is not None and key.kid == kid]
    if named:
        return named
    return [key for key in found if key.kid is None and key.allows(algorithm)]


def read_key(jwk: Mapping[str, Any], *, where: str = "key") -> VerificationKey:
    """One JWK. Private parts are dropped. Raises ConfigError, which says what is wrong with it and never shows it."""
    kty, kid, algorithm = (_text(jwk, member, where) for member in ("kty", "kid", "alg"))
    if algorithm is not None and (algorithm not in ALGORITHMS or _FAMILIES[algorithm[:2]] != kty):
        raise ConfigError(f"{where}.alg does not fit kty.", hint=f"Allowed: {', '.join(ALGORITHMS)}.")
    if kty not in _ENCODED_MEMBERS:
        raise ConfigError(f"{where}.kty is not supported.", hint="Use RSA, EC, OKP or oct.")
    if kty == "oct":
        return VerificationKey(kid, kty, algorithm, _secret(jwk, algorithm, where))
    for member in _ENCODED_MEMBERS[kty]:
        if not decode_base64url(_text(jwk, member, where) or "", where=f"{where}.{member}"):
            raise ConfigError(
                f"{where}.{member} is missing.", hint=f"A {kty} key needs {', '.join(_ENCODED_MEMBERS[kty])}."
            )
    try:
        material = _public(_READERS[kty](dict(jwk)))
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError) as exc:
        raise ConfigError(f"{where} is not a valid {kty} key: {type(exc).__name__}.") from None
    if isinstance(material, RSAPublicKey) and material.key_size < RSA_BITS_MIN:
        raise ConfigError(
            f"{where} has {material.key_size} bits.",
            hint=f"An RSA key needs {RSA_BITS_MIN} bits or more (RFC 7518, 3.3).",
        )
    if isinstance(material, EllipticCurvePublicKey):
        curve_algorithm = _CURVE_ALGORITHMS.get(material.curve.name)
        if curve_algorithm is None or algorithm not in {None, curve_algorithm}:
            raise ConfigError(f"{where}.crv does not fit alg.", hint="P-256: ES256, P-384: ES384, P-521: ES512.")
        algorithm = curve_algorithm
    return VerificationKey(kid, kty, algorithm, material)


def decode_base64url(text: str, *, where: str) -> bytes:
    """Bytes of base64url, with or without padding. Raises ConfigError for another alphabet; Python's decoder accepts both."""
    digits = text.rstrip("=")
    try:
        if not _BASE64URL.fullmatch(digits):
            raise ValueError("another alphabet")
        return base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
    except ValueError:
        hint = "base64url has '-' and '_' where base64 has '+' and '/'."
        raise ConfigError(f"{where} is not base64url.", hint=hint) from None


def _text(jwk: Mapping[str, Any], member: str, where: str) -> str | None:
    value = jwk.get(member)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{where}.{member} is not a text.", hint="Put the value in quotes.")
    return value


def _secret(jwk: Mapping[str, Any], algorithm: str | None, where: str) -> bytes:
    if algorithm is None:
        raise ConfigError(f"{where}.alg is missing.", hint="An oct key needs alg: HS256, HS384 or HS512.")
    secret = decode_base64url(_text(jwk, "k", where) or "", where=f"{where}.k")
    if not secret:
        raise ConfigError(f"{where}.k is missing.", hint="k is the secret in base64url.")
    return secret


def _warn_of_short_secret(key: VerificationKey, where: str) -> None:
    """A short secret works, as it does in the reference; it can be guessed from one token, so its owner should know."""
    least = SECRET_BYTES_MIN.get(key.algorithm or "", 0)
    if key.family == "oct" and len(key.material) < least:
        log.warning(
            "%s.k has %d bytes; %s needs %d or more random bytes (RFC 7518, 3.2). "
            "Make a longer one: python -c 'import secrets; print(secrets.token_urlsafe(%d))'",
            where,
            len(key.material),
            key.algorithm,
            least,
            least,
            extra={"event": "auth.short_secret"},
        )


def _public(key: Any) -> Any:
    private = (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey, Ed448PrivateKey)
    return key.public_key() if isinstance(key, private) else key
