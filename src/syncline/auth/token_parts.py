"""The three parts of a JSON Web Token, taken apart within limits, before anything of it is believed. Pure.

Only the header is decoded here: the payload of a token with a bad signature is not worth the time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import orjson

from syncline.auth.jwk import ALGORITHMS, decode_base64url
from syncline.errors import ConfigError, TokenInvalid, TokenMissing

__all__ = ["HEADER_CHARACTERS_MAX", "TOKEN_BYTES_MAX", "SplitToken", "parse_authorization", "split_token"]

TOKEN_BYTES_MAX = 64 * 1024  # bytes of a token
HEADER_CHARACTERS_MAX = 16 * 1024  # characters of a token's header in base64url; it may bring a certificate chain
_AUTHORIZATION = re.compile(r"(?:Token|Bearer) (\S+)")


@dataclass(frozen=True, slots=True)
class SplitToken:
    """A token whose form is right; nothing is verified yet."""

    algorithm: str  # one of ALGORITHMS
    kid: str | None
    signed: bytes  # what the signature is over
    signature: bytes
    body: str  # the payload in base64url

    def payload(self) -> dict[str, Any]:
        """The claims. Call when the signature is known to be good. Raises TokenInvalid for what is no JSON object.

        Numbers are JavaScript's: integers above 64 bits become reals, as in the reference; what is no real is refused.
        """
        return _decode_object(self.body)


def parse_authorization(header: str | None) -> str:
    """The token of an `Authorization` header: `Token <jwt>` or `Bearer <jwt>` (protocol reference, 1). Raises TokenMissing."""
    match = _AUTHORIZATION.fullmatch(header or "")
    if match is None:
        raise TokenMissing("Authentication required.", hint="Send the header `Authorization: Token <jwt>`.")
    return match[1]


def split_token(token: str) -> SplitToken:
    """Header, payload and signature of a token. Raises TokenInvalid for another form, size or algorithm."""
    if len(token) > TOKEN_BYTES_MAX:
        raise TokenInvalid(f"The token is longer than {TOKEN_BYTES_MAX} bytes.")
    parts = token.split(".")
    if len(parts) != 3 or "=" in token:  # RFC 7515, 2: base64url without padding
        raise _malformed()
    head, body, signature = parts
    if len(head) > HEADER_CHARACTERS_MAX:
        raise TokenInvalid(f"The token's header is longer than {HEADER_CHARACTERS_MAX} characters.")
    algorithm, kid = _header_fields(_decode_object(head))
    return SplitToken(algorithm, kid, f"{head}.{body}".encode(), _decode(signature), body)


def _header_fields(header: dict[str, Any]) -> tuple[str, str | None]:
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenInvalid("The token's algorithm is not accepted.", hint=f"Accepted: {', '.join(ALGORITHMS)}.")
    if "kid" in header and not isinstance(kid, str):  # null is no key id either (RFC 7515, 4.1.4)
        raise TokenInvalid('The "kid" of the token is not a text.')
    if "crit" in header or header.get("b64", True) is not True:  # RFC 7515, 4.1.11; RFC 7797
        raise TokenInvalid('The token needs an extension ("crit" or "b64") that is not supported.')
    return algorithm, kid


def _decode(part: str) -> bytes:
    try:
        return decode_base64url(part, where="part")
    except ConfigError:
        raise _malformed() from None


def _decode_object(part: str) -> dict[str, Any]:
    try:
        value: object = orjson.loads(_decode(part))
    except orjson.JSONDecodeError:
        raise _malformed() from None
    if not isinstance(value, dict):
        raise _malformed()
    return cast("dict[str, Any]", value)


def _malformed() -> TokenInvalid:
    return TokenInvalid("The token is not a well-formed JWT.", hint="It has three parts, separated by dots.")
