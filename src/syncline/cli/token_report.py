"""What a token says, and what is wrong with its claims, in words. Pure: the clock is an argument.

All findings at once; `syncline.auth.claims.check_claims`, which a service asks, stops at the first (configuration reference, 4).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from syncline.auth.claims import CLOCK_TOLERANCE_S, MAX_LIFETIME_S, REQUIRED_CLAIMS
from syncline.auth.token_parts import TOKEN_BYTES_MAX
from syncline.cli.exit_codes import CommandFailed

__all__ = ["claim_findings", "decoded", "duration", "times_in_words"]

_TIMES = {"iat": "issued", "nbf": "good from", "exp": "good until"}
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def decoded(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims; nothing is verified. Raises CommandFailed, without the token, for what is none."""
    if len(token) > TOKEN_BYTES_MAX:
        raise CommandFailed(f"The token is longer than {TOKEN_BYTES_MAX} bytes.")
    parts = token.split(".")
    if len(parts) != 3:
        raise CommandFailed("This is no JSON Web Token.", hint="It has three parts, separated by dots.")
    return _part(parts[0], "header"), _part(parts[1], "payload")


def _part(text: str, name: str) -> dict[str, Any]:
    try:
        value: object = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CommandFailed(f"This is no JSON Web Token: its {name} is not JSON in base64url.")
    return cast("dict[str, Any]", value)


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `11 hours 30 minutes`."""
    left = round(abs(seconds))
    parts: list[str] = []
    for name, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    return " ".join(parts[:2]) or "0 seconds"


def times_in_words(claims: Mapping[str, Any], now_s: float) -> dict[str, str]:
    """The claims that are times: `2026-11-21T04:00:00Z, 2 hours ago`; and how long the token is good for."""
    found: dict[str, str] = {}
    for claim, words in _TIMES.items():
        value = _seconds(claims.get(claim))
        if value is not None:
            away = duration(value - now_s)
            found[words] = f"{_iso(value)}, {f'in {away}' if value > now_s else f'{away} ago'}"
    issued, ends = _seconds(claims.get("iat")), _seconds(claims.get("exp"))
    if issued is not None and ends is not None:
        found["lifetime"] = duration(ends - issued)
    return found


def claim_findings(
    claims: Mapping[str, Any], now_s: float, audiences: Collection[str] | None, *, lifetime_max_s: int = MAX_LIFETIME_S
) -> list[str]:
    """What a service that accepts these audiences refuses, with what to do; None: nothing is known of them."""
    found = [f'There is no claim "{claim}".' for claim in REQUIRED_CLAIMS if claim not in claims]
    times = {claim: _seconds(claims[claim]) for claim in ("iat", "exp", "nbf") if claim in claims}
    found += [f'The claim "{claim}" is not a number of seconds.' for claim, value in times.items() if value is None]
    issued, ends, begins = times.get("iat"), times.get("exp"), times.get("nbf")
    if ends is not None and ends <= now_s - CLOCK_TOLERANCE_S:
        found.append(f"It ended {duration(now_s - ends)} ago [PSYNC_S2103]. Fetch a new one.")
    if issued is not None and issued > now_s + CLOCK_TOLERANCE_S:
        found.append(f"It was issued {duration(issued - now_s)} from now: compare the clocks of both machines.")
    if begins is not None and begins > now_s + CLOCK_TOLERANCE_S:
        found.append(f"It is not good before {duration(begins - now_s)} from now.")
    if issued is not None and ends is not None and ends - issued > lifetime_max_s:
        found.append(
            f"It is good for {duration(ends - issued)}, and a service takes {duration(lifetime_max_s)} at most [PSYNC_S2104]."
        )
    if not isinstance(claims.get("parameters", {}), dict):
        found.append('The claim "parameters" is no object.')
    if isinstance(claims.get("sub"), dict | list):
        found.append('The claim "sub" is no single value.')
    if audiences is not None and "aud" in claims:
        found += _audience_findings(claims["aud"], audiences)
    return found


def _audience_findings(received: object, accepted: Collection[str]) -> list[str]:
    """Exact comparison, as in `check_claims`."""
    listed = cast("list[object]", received) if isinstance(received, list) else [received]
    texts = [one for one in listed if isinstance(one, str)]
    if len(texts) == len(listed) and set(texts) & set(accepted):
        return []
    wanted = ", ".join(accepted) or "none at all"
    near = [one for one in texts if one.rstrip("/") in {other.rstrip("/") for other in accepted}]
    hint = " They differ in a slash at the end: write the same text on both sides." if near else ""
    return [f"It is for {json.dumps(received)}, and accepted are: {wanted} [PSYNC_S2105].{hint}"]


def _seconds(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _iso(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} seconds since 1970"
