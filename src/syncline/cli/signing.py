"""Keys that `generate token` signs with, and the signature itself.

Nothing of a token is decided here: a developer may want one that a service refuses.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from syncline.auth.jwk import ALGORITHMS, decode_base64url
from syncline.auth.signer import TokenSigner
from syncline.backend.auth.key_folder import KeyFolder
from syncline.backend.auth.rotating_signer import RotatingSigner
from syncline.cli.exit_codes import CommandFailed

__all__ = ["SigningKey", "key_of_file", "key_of_folder", "key_of_service", "signed_token"]

_EXAMPLE = """Secrets stand in client_auth.jwks.keys; this prints one:  syncline keys generate --algorithm HS256 --print
client_auth:
  jwks:
    keys:
      - kty: oct
        alg: HS256
        kid: my-key-id
        k: base64-encoded-secret-here"""
_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs: `kid` None gives a header without one."""

    algorithm: str
    kid: str | None
    material: Any = field(repr=False)


def key_of_service(keys: Sequence[Mapping[str, Any]], kid: str | None) -> SigningKey:
    """The first shared secret of `client_auth.jwks.keys`, or that with the key id. Raises CommandFailed where there is none."""
    usable = [key for key in keys if key.get("kty") == "oct" and key.get("alg", "HS256") in ("HS256", "HS384", "HS512")]
    if not usable:
        raise CommandFailed("No usable keys found in the service's configuration.", hint=_EXAMPLE)
    chosen = [key for key in usable if kid is None or key.get("kid") == kid]
    if not chosen:
        raise CommandFailed("No key found with the given kid.", hint=_known(str(key.get("kid")) for key in usable))
    key = chosen[0]
    material = decode_base64url(str(key.get("k", "")), where="client_auth.jwks.keys: k")
    return SigningKey(str(key.get("alg", "HS256")), key.get("kid"), material)


def key_of_folder(path: Path, kid: str | None) -> SigningKey:
    """The key of a key folder whose turn it is, or that with the key id. Raises CommandFailed, ConfigError."""
    stored = KeyFolder(path).read()
    if not stored:
        raise CommandFailed(f"There are no keys in {path}.", hint=f"syncline keys generate --folder {path}")
    wanted = kid or RotatingSigner(KeyFolder(path)).kid
    for key in stored:
        if key.times.kid == wanted:
            return _of_signer(key.signer)
    raise CommandFailed("No key found with the given kid.", hint=_known(key.times.kid for key in stored))


def key_of_file(path: Path) -> SigningKey:
    """The private key of a PEM file. Raises ConfigError."""
    return _of_signer(TokenSigner.from_pem_file(path))


def _known(kids: Any) -> str:
    return f"There are: {', '.join(kids)}."


def _of_signer(signer: TokenSigner) -> SigningKey:
    jwk = signer.private_jwk()
    if jwk["kty"] == "oct":
        return SigningKey(signer.algorithm, signer.kid, decode_base64url(jwk["k"], where="key"))
    try:
        return SigningKey(signer.algorithm, signer.kid, _READERS[jwk["kty"]](jwk))
    except PyJWTError as exc:
        raise CommandFailed(f"The key {signer.kid} cannot sign: {type(exc).__name__}.") from exc


def signed_token(key: SigningKey, claims: Mapping[str, Any]) -> str:
    """The token (RFC 7515, 3.1). The header is the field's: `alg`, and `kid` where the key has one."""
    header = {"alg": key.algorithm} | ({} if key.kid is None else {"kid": key.kid})
    signed = ".".join(_part(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{signed}.{_part(ALGORITHMS[key.algorithm].sign(signed.encode(), key.material))}"


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
