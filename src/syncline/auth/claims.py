"""What a token must say, once its signature is known to be good (configuration reference, section 4, rules 4 to 8). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from syncline.errors import AudienceMismatch, TokenExpired, TokenInvalid, TokenLifetimeTooLong
from syncline.protocol.bucket_names import canonical_json

__all__ = ["CLOCK_TOLERANCE_S", "MAX_LIFETIME_S", "REQUIRED_CLAIMS", "ClaimRules", "VerifiedToken", "check_claims"]

CLOCK_TOLERANCE_S = 60  # seconds that clocks may differ, for exp, nbf and iat
MAX_LIFETIME_S = 86_400  # seconds, exp - iat
REQUIRED_CLAIMS = ("sub", "iat", "exp", "aud")
_AUDIENCE_SHOWN_MAX = 200  # characters of a received audience that an answer repeats


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """Which audiences are accepted, and how long a token may live (seconds, exp - iat). Keys may have rules of their own."""

    audiences: frozenset[str]
    max_lifetime_s: int = MAX_LIFETIME_S


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token says, after its signature and claims were checked."""

    payload: dict[str, Any]
    user_id: str  # text of `sub`
    expires_at_s: int  # seconds since 1970


def check_claims(payload: dict[str, Any], rules: ClaimRules, *, now_s: float) -> VerifiedToken:
    """The token of this payload at `now_s` (seconds since 1970).

    Raises TokenInvalid, TokenExpired, TokenLifetimeTooLong, or AudienceMismatch, whose context has what was `received`.
    """
    for claim in REQUIRED_CLAIMS:
        if claim not in payload:
            raise TokenInvalid(f'Missing required "{claim}" claim.')
    expires_at_s, issued_at_s = _seconds(payload, "exp"), _seconds(payload, "iat")
    if expires_at_s <= now_s - CLOCK_TOLERANCE_S:
        raise TokenExpired("The token has expired.")
    if issued_at_s > now_s + CLOCK_TOLERANCE_S:
        raise TokenInvalid('The "iat" claim lies in the future.', hint="Compare the clocks of both machines.")
    if "nbf" in payload and _seconds(payload, "nbf") > now_s + CLOCK_TOLERANCE_S:
        raise TokenInvalid('The token is not valid yet: its "nbf" claim lies in the future.')
    _check_audience(payload["aud"], rules.audiences)
    lifetime_s = expires_at_s - issued_at_s
    if lifetime_s > rules.max_lifetime_s:
        raise TokenLifetimeTooLong(
            f"The token's lifetime (exp - iat) must be {rules.max_lifetime_s} seconds or less, not {lifetime_s:.0f}."
        )
    if not isinstance(payload.get("parameters", {}), dict):
        raise TokenInvalid('The "parameters" claim must be an object.')
    return VerifiedToken(payload, _user_id(payload["sub"]), math.floor(expires_at_s))


def _check_audience(received: object, accepted: frozenset[str]) -> None:
    """Exact comparison, protocol and port included. A list with anything but texts in it is no audience (RFC 7519, 4.1.3)."""
    listed = cast("list[object]", received) if isinstance(received, list) else [received]
    if all(isinstance(audience, str) for audience in listed) and not accepted.isdisjoint(listed):
        return
    shown = orjson.dumps(received).decode()[:_AUDIENCE_SHOWN_MAX]
    raise AudienceMismatch(f'Unexpected "aud" claim value: {shown}', received=shown)


def _seconds(payload: Mapping[str, Any], claim: str) -> float:
    value = payload[claim]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(f'The "{claim}" claim must be a number.')
    return value


def _user_id(subject: object) -> str:
    """Text of a JSON scalar. Raises TokenInvalid for an object or array."""
    if isinstance(subject, str):
        return subject
    if isinstance(subject, dict | list):
        raise TokenInvalid('The "sub" claim must be a scalar.')
    if subject is None or isinstance(subject, bool):
        return {None: "null", True: "true", False: "false"}[subject]
    assert isinstance(subject, int | float), "JSON has no other scalars"
    return canonical_json([subject])[1:-1]
