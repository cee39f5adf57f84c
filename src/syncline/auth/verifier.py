"""Who asks: verifies a JSON Web Token (configuration reference, section 4; codes in section 5)."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from syncline.auth.keys import ALGORITHMS, KeySource, VerificationKey, decode_base64url, select_keys
from syncline.errors import (
    AudienceMismatch,
    ConfigError,
    KeysUnavailable,
    TokenExpired,
    TokenInvalid,
    TokenLifetimeTooLong,
    TokenMissing,
)

__all__ = [
    "CLOCK_TOLERANCE_S",
    "MAX_LIFETIME_S",
    "TOKEN_BYTES_MAX",
    "TokenVerifier",
    "VerifiedToken",
    "parse_authorization",
]

log = logging.getLogger(__name__)

CLOCK_TOLERANCE_S = 60  # seconds that clocks may differ, for exp, nbf and iat
MAX_LIFETIME_S = 86_400  # seconds, exp - iat
TOKEN_BYTES_MAX = 64 * 1024  # bytes of a token
_AUDIENCE_SHOWN_MAX = 200  # characters of a received audience that an answer repeats
_AUTHORIZATION = re.compile(r"(?:Token|Bearer) (\S+)")


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token says, after its signature and claims were checked."""

    payload: dict[str, Any]
    user_id: str  # text of `sub`
    expires_at_s: int  # seconds since 1970


def parse_authorization(header: str | None) -> str:
    """The token of an `Authorization` header: `Token <jwt>` or `Bearer <jwt>` (protocol reference, 1). Raises TokenMissing."""
    match = _AUTHORIZATION.fullmatch(header or "")
    if match is None:
        raise TokenMissing("Authentication required.", hint="Send the header `Authorization: Token <jwt>`.")
    return match[1]


class TokenVerifier:
    """Verifies tokens against the keys of one or more sources.

    `audiences` are the accepted `aud` values; with none, every token is refused. `development` adds the accepted audiences to
    the answer about a wrong one; else they are in the log only.
    """

    def __init__(
        self,
        keys: KeySource | Sequence[KeySource],
        audiences: Iterable[str],
        *,
        max_lifetime_s: int = MAX_LIFETIME_S,
        development: bool = False,
    ) -> None:
        self._sources: list[KeySource] = list(keys) if isinstance(keys, Sequence) else [keys]
        self._audiences = frozenset(audiences)
        self._max_lifetime_s = max_lifetime_s
        self._development = development

    async def verify(self, token: str, *, now_s: float) -> VerifiedToken:
        """Check signature and claims at `now_s` (seconds since 1970).

        Raises TokenInvalid, TokenExpired, TokenLifetimeTooLong, AudienceMismatch, or KeysUnavailable when the key may be one
        that could not be fetched.
        """
        header, payload, signed, signature = _parse(token)
        algorithm, kid = _header_fields(header)
        if not self._verified_at_hand(algorithm, kid, signed, signature):
            await self._verify_with_all(algorithm, kid, signed, signature)
        return self._check_claims(payload, now_s)

    def _verified_at_hand(self, algorithm: str, kid: str | None, signed: bytes, signature: bytes) -> bool:
        """Whether a key of this `kid` that is at hand verifies the token: the usual case, which waits for no source."""
        at_hand = [key for source in self._sources for key in source.cached()]
        return any(key.kid == kid and key.verifies(algorithm, signed, signature) for key in at_hand if kid is not None)

    async def _verify_with_all(self, algorithm: str, kid: str | None, signed: bytes, signature: bytes) -> None:
        """Try the keys of every source, fetched where there are none. Raises TokenInvalid or KeysUnavailable."""
        keys, failure = await self._all_keys()
        selected = select_keys(keys, kid=kid, algorithm=algorithm)
        if any(key.verifies(algorithm, signed, signature) for key in selected):
            return
        named = any(key.kid == kid for key in selected if kid is not None)
        if not named:  # the key may be a new one, or one of a source that does not answer
            for source in self._sources:
                source.key_missing()
            if failure is not None:
                raise failure
        if not selected:
            raise TokenInvalid("No known key has this token's key id.", hint="Compare `kid` with the configured keys.")
        if not any(key.allows(algorithm) for key in selected):
            raise TokenInvalid("The token's algorithm does not fit its key.")
        raise TokenInvalid("Signature verification failed.")

    async def _all_keys(self) -> tuple[list[VerificationKey], KeysUnavailable | None]:
        """Keys of the sources that have some, and the failure of one that has none."""
        results = await asyncio.gather(*(_keys_of(source) for source in self._sources))
        failures = [result for result in results if isinstance(result, KeysUnavailable)]
        keys = [key for result in results if not isinstance(result, KeysUnavailable) for key in result]
        return keys, failures[0] if failures else None

    def _check_claims(self, payload: dict[str, Any], now_s: float) -> VerifiedToken:
        missing = [claim for claim in ("sub", "iat", "exp", "aud") if claim not in payload]
        if missing:
            raise TokenInvalid(f'Missing required "{missing[0]}" claim.')
        expires_at_s, issued_at_s = _seconds(payload, "exp"), _seconds(payload, "iat")
        if expires_at_s <= now_s - CLOCK_TOLERANCE_S:
            raise TokenExpired("The token has expired.")
        if issued_at_s > now_s + CLOCK_TOLERANCE_S:
            raise TokenInvalid('The "iat" claim lies in the future.', hint="Compare the clocks of both machines.")
        if "nbf" in payload and _seconds(payload, "nbf") > now_s + CLOCK_TOLERANCE_S:
            raise TokenInvalid('The token is not valid yet: its "nbf" claim lies in the future.')
        self._check_audience(payload["aud"])
        if expires_at_s - issued_at_s > self._max_lifetime_s:
            raise TokenLifetimeTooLong(f"The token's lifetime (exp - iat) is above {self._max_lifetime_s} seconds.")
        if not isinstance(payload.get("parameters", {}), dict):
            raise TokenInvalid('The "parameters" claim must be an object.')
        return VerifiedToken(payload, _user_id(payload["sub"]), math.floor(expires_at_s))

    def _check_audience(self, received: object) -> None:
        listed = cast("list[object]", received) if isinstance(received, list) else [received]
        if not all(isinstance(audience, str) for audience in listed):
            raise TokenInvalid('The "aud" claim must be a text or a list of texts.')
        if self._audiences.isdisjoint(listed):
            shown = msgspec.json.encode(received).decode()[:_AUDIENCE_SHOWN_MAX]
            accepted = ", ".join(sorted(self._audiences)) or "none"
            log.warning("Audience refused", extra={"event": "auth.audience", "received": shown, "accepted": accepted})
            hint = f"Accepted here: {accepted}." if self._development else ""
            raise AudienceMismatch(f'Unexpected "aud" claim value: {shown}', hint=hint)


async def _keys_of(source: KeySource) -> Sequence[VerificationKey] | KeysUnavailable:
    try:
        return await source.keys()
    except KeysUnavailable as failure:
        return failure


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, payload, the signed bytes and the signature. Raises TokenInvalid."""
    malformed = TokenInvalid("The token is not a well-formed JWT.", hint="It has three parts, separated by dots.")
    if len(token) > TOKEN_BYTES_MAX:
        raise TokenInvalid(f"The token is longer than {TOKEN_BYTES_MAX} bytes.")
    parts = token.split(".")
    if len(parts) != 3 or "=" in token:  # RFC 7515, 2: base64url without padding
        raise malformed
    try:
        header, payload = (
            msgspec.json.decode(decode_base64url(part, where="part"), type=dict[str, Any]) for part in parts[:2]
        )
        signature = decode_base64url(parts[2], where="signature")
    except (msgspec.DecodeError, RecursionError, ConfigError):
        raise malformed from None
    return header, payload, f"{parts[0]}.{parts[1]}".encode(), signature


def _header_fields(header: Mapping[str, Any]) -> tuple[str, str | None]:
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenInvalid("The token's algorithm is not accepted.", hint=f"Accepted: {', '.join(ALGORITHMS)}.")
    if kid is not None and not isinstance(kid, str):
        raise TokenInvalid('The "kid" of the token is not a text.')
    if "crit" in header:  # RFC 7515, 4.1.11: extensions that we do not know must be refused
        raise TokenInvalid('The token has a "crit" header, whose extensions are not supported.')
    return algorithm, kid


def _seconds(payload: Mapping[str, Any], claim: str) -> float:
    value = payload[claim]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenInvalid(f'The "{claim}" claim must be a number.')
    return value


def _user_id(subject: object) -> str:
    """Text of a JSON scalar. Raises TokenInvalid for an object or array."""
    if isinstance(subject, str):
        return subject
    if isinstance(subject, dict | list):
        raise TokenInvalid('The "sub" claim must be a scalar.')
    if isinstance(subject, float) and subject.is_integer():
        return str(int(subject))
    return msgspec.json.encode(subject).decode()
