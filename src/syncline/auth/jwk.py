"""One key to verify tokens with, read from its JSON form (RFC 7517; configuration reference, 2.3 and 4)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm, ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from syncline.auth.claims import ClaimRules
from syncline.errors import ConfigError

__all__ = [
    "ALGORITHMS",
    "CODE",
    "MEMBER_CHARACTERS_MAX",
    "RSA_BITS_MAX",
    "RSA_BITS_MIN",
    "VerificationKey",
    "decode_base64url",
    "read_key",
]

CODE = "PSYNC_S2201"  # of a ConfigError about keys
RSA_BITS_MIN = 2048  # bits of an RSA modulus (RFC 7518, 3.3); the reference verifies with no shorter one either
RSA_BITS_MAX = 8192  # bits of an RSA modulus: longer ones would hold up the event loop for each token
MEMBER_CHARACTERS_MAX = 4096  # characters of one member of a key

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
    """One key. `algorithm` None: any of its family. `kid` None (a wildcard): tried for every token that names no known key."""

    kid: str | None
    family: str  # `kty` of the JWK: oct, RSA, EC, OKP
    algorithm: str | None
    material: Any  # what `jwt.algorithms` verifies with; a public key, or the bytes of a shared secret
    rules: ClaimRules | None = None  # instead of the verifier's, for tokens of this key

    def allows(self, algorithm: str) -> bool:
        """Whether a token of this algorithm may be verified with this key. Keeps a public key from being used as a secret."""
        if self.algorithm is not None:
            return self.algorithm == algorithm
        return _FAMILIES.get(algorithm[:2]) == self.family

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `signed`; False where the key does not allow the algorithm."""
        return self.allows(algorithm) and ALGORITHMS[algorithm].verify(signed, self.material, signature)


def read_key(jwk: Mapping[str, Any], *, where: str = "key", rules: ClaimRules | None = None) -> VerificationKey:
    """One JWK. Private parts are not looked at. Raises ConfigError, which says what is wrong with it and never shows it."""
    kty, kid, algorithm = (_text(jwk, member, where) for member in ("kty", "kid", "alg"))
    if algorithm is not None and (algorithm not in ALGORITHMS or _FAMILIES[algorithm[:2]] != kty):
        raise _refused(f"{where}.alg does not fit kty.", hint=f"Allowed: {', '.join(ALGORITHMS)}.")
    if kty not in _ENCODED_MEMBERS:
        raise _refused(f"{where}.kty is not supported.", hint="Use RSA, EC, OKP or oct.")
    if kty == "oct":
        return VerificationKey(kid, kty, algorithm, _secret(jwk, algorithm, where), rules)
    material = _public_key(jwk, kty, where)
    if isinstance(material, RSAPublicKey) and not RSA_BITS_MIN <= material.key_size <= RSA_BITS_MAX:
        hint = f"An RSA key needs {RSA_BITS_MIN} bits or more (RFC 7518, 3.3), and {RSA_BITS_MAX} at most."
        raise _refused(f"{where} has {material.key_size} bits.", hint=hint)
    if isinstance(material, EllipticCurvePublicKey):
        curve_algorithm = _CURVE_ALGORITHMS.get(material.curve.name)
        if curve_algorithm is None or algorithm not in {None, curve_algorithm}:
            raise _refused(f"{where}.crv does not fit alg.", hint="P-256: ES256, P-384: ES384, P-521: ES512.")
        algorithm = curve_algorithm
    return VerificationKey(kid, kty, algorithm, material, rules)


def decode_base64url(text: str, *, where: str) -> bytes:
    """Bytes of base64url, with or without padding. Raises ConfigError for another alphabet; Python's decoder accepts both."""
    digits = text.rstrip("=")
    try:
        if not _BASE64URL.fullmatch(digits):
            raise ValueError("another alphabet")
        return base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
    except ValueError:
        raise _refused(
            f"{where} is not base64url.", hint="base64url has '-' and '_' where base64 has '+' and '/'."
        ) from None


def _public_key(jwk: Mapping[str, Any], kty: str, where: str) -> Any:
    """The public key of its public members: a private part is neither needed nor checked, which would take long."""
    members: dict[str, Any] = {"kty": kty, "crv": _text(jwk, "crv", where)}
    for member in _ENCODED_MEMBERS[kty]:
        members[member] = _text(jwk, member, where)
        if not decode_base64url(members[member] or "", where=f"{where}.{member}"):
            raise _refused(
                f"{where}.{member} is missing.", hint=f"A {kty} key needs {', '.join(_ENCODED_MEMBERS[kty])}."
            )
    try:
        return _READERS[kty](members)
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError) as exc:
        raise _refused(f"{where} is not a valid {kty} key: {type(exc).__name__}.") from None


def _text(jwk: Mapping[str, Any], member: str, where: str) -> str | None:
    value = jwk.get(member)
    if value is not None and not isinstance(value, str):
        raise _refused(f"{where}.{member} is not a text.", hint="Put the value in quotes.")
    if value is not None and len(value) > MEMBER_CHARACTERS_MAX:
        raise _refused(f"{where}.{member} is longer than {MEMBER_CHARACTERS_MAX} characters.")
    return value


def _secret(jwk: Mapping[str, Any], algorithm: str | None, where: str) -> bytes:
    if algorithm is None:
        raise _refused(f"{where}.alg is missing.", hint="An oct key needs alg: HS256, HS384 or HS512.")
    secret = decode_base64url(_text(jwk, "k", where) or "", where=f"{where}.k")
    if not secret:
        raise _refused(f"{where}.k is missing.", hint="k is the secret in base64url.")
    return secret


def _refused(message: str, *, hint: str = "") -> ConfigError:
    return ConfigError(message, code=CODE, hint=hint)
