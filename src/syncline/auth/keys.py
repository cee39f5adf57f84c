"""Keys that tokens are verified with, and which of them fits a token (configuration reference, 4.2 and 4.3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import Algorithm, ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from syncline.errors import ConfigError

__all__ = ["ALGORITHMS", "KeySource", "StaticKeys", "VerificationKey", "read_key", "select_keys"]

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
        """`client_auth.jwks.keys`. Raises ConfigError, which names the entry by its index."""
        return cls(read_key(jwk, where=f"client_auth.jwks.keys[{index}]") for index, jwk in enumerate(jwks))

    def cached(self) -> Sequence[VerificationKey]:
        """All keys."""
        return self._keys

    async def keys(self) -> Sequence[VerificationKey]:
        """All keys."""
        return self._keys

    def key_missing(self) -> None:
        """Nothing to fetch."""


def select_keys(keys: Iterable[VerificationKey], *, kid: str | None, algorithm: str) -> list[VerificationKey]:
    """The keys to try for a token: the one of its `kid` (even where its algorithm does not fit), else all fitting ones without."""
    found = list(keys)
    if kid is not None:
        named = [key for key in found if key.kid == kid]
        if named:
            return named[:1]
    return [key for key in found if key.kid is None and key.allows(algorithm)]


def read_key(jwk: Mapping[str, Any], *, where: str = "key") -> VerificationKey:
    """One JWK. Private parts are dropped. Raises ConfigError, which says what is wrong with it and never shows it."""
    kty, kid, algorithm = jwk.get("kty"), jwk.get("kid"), jwk.get("alg")
    if kid is not None and not isinstance(kid, str):
        raise ConfigError(f"{where}.kid is not a text.")
    if (algorithm is not None and _FAMILIES.get(str(algorithm)[:2]) != kty) or algorithm not in {None, *ALGORITHMS}:
        raise ConfigError(f"{where}.alg does not fit kty.", hint=f"Allowed: {', '.join(ALGORITHMS)}.")
    try:
        if kty == "oct":
            material = _secret(jwk, where)
        elif kty == "RSA":
            material = _public(RSAAlgorithm.from_jwk(dict(jwk)))
        elif kty == "EC":
            material = _public(ECAlgorithm.from_jwk(dict(jwk)))
        elif kty == "OKP":
            material = _public(OKPAlgorithm.from_jwk(dict(jwk)))
        else:
            raise ConfigError(f"{where}.kty is not supported.", hint="Use RSA, EC, OKP or oct.")
    except (PyJWTError, ValueError, TypeError, KeyError) as exc:
        raise ConfigError(f"{where} is not a valid {kty} key: {type(exc).__name__}.") from None
    if isinstance(material, EllipticCurvePublicKey):
        curve_algorithm = _CURVE_ALGORITHMS.get(material.curve.name)
        if curve_algorithm is None or algorithm not in {None, curve_algorithm}:
            raise ConfigError(f"{where}.crv does not fit alg.", hint="P-256: ES256, P-384: ES384, P-521: ES512.")
        algorithm = curve_algorithm
    return VerificationKey(kid, str(kty), algorithm, material)


def _secret(jwk: Mapping[str, Any], where: str) -> bytes:
    if jwk.get("alg") is None:
        raise ConfigError(f"{where}.alg is missing.", hint="An oct key needs alg: HS256, HS384 or HS512.")
    encoded = str(jwk.get("k") or "").rstrip("=")
    try:
        secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ConfigError(f"{where}.k is not base64url.") from None
    if not secret:
        raise ConfigError(f"{where}.k is missing.", hint="k is the secret in base64url.")
    return secret


def _public(key: Any) -> Any:
    private = (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey, Ed448PrivateKey)
    return key.public_key() if isinstance(key, private) else key
