"""No token breaks the verifier, and none is accepted that PyJWT, used plainly, refuses."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from syncline.auth.jwk import read_key
from syncline.auth.keys import StaticKeys
from syncline.auth.verifier import TokenVerifier, VerifiedToken
from syncline.errors import AudienceMismatch, TokenExpired, TokenInvalid, TokenLifetimeTooLong
from tests.unit.auth.tokens import MATRIX, base64url

PLAIN = get_default_algorithms()
NAMED = {f"key-{index}": entry for index, entry in enumerate(MATRIX)}
WILDCARDS = [MATRIX[0], MATRIX[6]]  # HS256 and ES256
CHECKS = TokenVerifier(
    StaticKeys(
        [
            *(read_key({**jwk, "kid": kid}) for kid, (_, _, jwk) in NAMED.items()),
            *(read_key(jwk) for _, _, jwk in WILDCARDS),
        ]
    ),
    ["app", "other"],
)
SIGNING = [(name, key) for name, key, _ in MATRIX]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["app", "key-0", "HS256", "none", "user-1"])
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NEAR_S = st.integers(-200_000, 200_000).filter(lambda offset: all(abs(offset - edge) > 10 for edge in (-60, 60)))
"""Seconds from now, away from the edges of the tolerance: PyJWT reads the clock by itself."""


@st.composite
def headers(draw: st.DrawFn) -> tuple[dict[str, Any], str, Any]:
    """A header, and what the token is signed with: mostly what the header says, else another key."""
    kid = draw(st.sampled_from([*NAMED, None, "unknown"]))
    choices = [NAMED[kid]] if kid in NAMED else WILDCARDS
    algorithm, key, _ = draw(st.sampled_from(choices if draw(st.integers(0, 4)) else MATRIX))
    header: dict[str, Any] = {"alg": algorithm} | ({} if kid is None else {"kid": kid})
    if not draw(st.integers(0, 5)):
        header |= draw(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "x5c"]), JUNK, max_size=2))
    return header, algorithm, key


@st.composite
def payloads(draw: st.DrawFn) -> dict[str, Any]:
    """Claims that are right, but for a few that are missing or junk."""
    now_s = int(time.time())
    issued = now_s + draw(st.sampled_from([0, -3600]) | NEAR_S)
    payload: dict[str, Any] = {
        "sub": draw(st.text(max_size=5) | st.sampled_from(["user-1", 7, 7.5, None, True])),
        "aud": draw(st.sampled_from(["app", ["app"], ["x", "other"], "x", [], ["app", 7]])),
        "iat": issued,
        "exp": now_s + draw(st.sampled_from([300, 3600]) | NEAR_S),
    }
    if draw(st.booleans()):
        payload["parameters"] = draw(JUNK | st.just(dict[str, Any]()))
    if not draw(st.integers(0, 3)):
        payload["nbf"] = now_s + draw(NEAR_S)
    for claim in draw(st.lists(st.sampled_from(["sub", "aud", "iat", "exp", "nbf"]), max_size=2)):
        if not draw(st.integers(0, 2)):
            payload.pop(claim, None)
        elif not draw(st.integers(0, 2)):
            payload[claim] = draw(JUNK)
    return payload


def assemble(header: Any, payload: Any, algorithm: str, key: Any) -> str:
    """A token of these parts, whatever they are: PyJWT's encoder would refuse some of them."""
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, payload))
    return f"{signed}.{base64url(PLAIN[algorithm].sign(signed.encode(), key))}"


def plainly_accepted(token: str) -> dict[str, Any] | None:
    """The claims, where PyJWT accepts the token with a key that its header allows."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        return None
    for algorithm, key, jwk in [NAMED[kid]] if isinstance(kid, str) and kid in NAMED else WILDCARDS:
        allowed = [algorithm] if jwk["kty"] != "RSA" else ["RS256", "RS384", "RS512"]
        public = key if jwk["kty"] == "oct" else key.public_key()
        try:
            return jwt.decode(
                token,
                public,
                algorithms=allowed,
                audience=["app", "other"],
                leeway=60,
                options={"require": ["iat", "exp", "aud"], "verify_sub": False, "verify_jti": False},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            continue
    return None


def is_ours(header: dict[str, Any], payload: dict[str, Any]) -> bool:
    """What we ask for beyond PyJWT."""
    times = [payload["exp"], payload["iat"], payload.get("nbf", 0)]
    return (
        "crit" not in header
        and header.get("b64", True) is True
        and "sub" in payload  # null is one for us, for PyJWT it is missing
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in times)
        and payload["exp"] - payload["iat"] <= 86_400
        and isinstance(payload.get("parameters", {}), dict)
        and not isinstance(payload["sub"], dict | list)
    )


async def verified(token: str) -> VerifiedToken | None:
    """What our verifier says; anything but an auth error fails the test."""
    try:
        return await CHECKS.verify(token, now_s=time.time())
    except (TokenInvalid, TokenExpired, TokenLifetimeTooLong, AudienceMismatch):
        return None


@given(signed=headers(), payload=payloads())
async def test_a_token_is_accepted_exactly_where_pyjwt_and_our_own_rules_accept_it(
    signed: tuple[dict[str, Any], str, Any], payload: dict[str, Any]
) -> None:
    token = assemble(signed[0], payload, signed[1], signed[2])
    ours, plain = await verified(token), plainly_accepted(token)
    event("accepted" if ours else "refused")
    assert (ours is not None) == (plain is not None and is_ours(signed[0], plain))
    if ours is not None and plain is not None:
        assert {name for name, value in ours.payload.items() if value != plain[name]} == set()


@given(header=JUNK, payload=JUNK, signing=st.sampled_from(SIGNING))
async def test_no_header_and_no_payload_breaks_the_verifier(
    header: Any, payload: Any, signing: tuple[str, Any]
) -> None:
    token = assemble(header, payload, *signing)
    assert await verified(token) is None
    assert plainly_accepted(token) is None


@given(
    signed=headers(),
    payload=payloads(),
    place=st.integers(0, 2000),
    put=st.text(st.characters(codec="latin-1"), max_size=3) | st.sampled_from([".", "..", "=", "A", "-"]),
    cut=st.integers(0, 3),
)
async def test_no_change_of_its_text_makes_a_token_accepted_that_pyjwt_refuses(
    signed: tuple[dict[str, Any], str, Any], payload: dict[str, Any], place: int, put: str, cut: int
) -> None:
    token = assemble(signed[0], payload, signed[1], signed[2])
    place %= len(token)
    changed = token[:place] + put + token[place + cut :]
    if await verified(changed) is not None:
        assert plainly_accepted(changed) is not None


@given(token=st.text(st.characters(codec="latin-1"), max_size=200) | st.from_regex(r"[\w-]{0,60}(\.[\w-]{0,60}){0,4}"))
async def test_no_text_breaks_the_verifier(token: str) -> None:
    assert await verified(token) is None


@pytest.mark.parametrize("kid", [*NAMED, None])
async def test_the_reference_check_accepts_what_it_should(kid: str | None) -> None:
    """Else the properties above would say nothing."""
    algorithm, key, _ = NAMED[kid] if kid else WILDCARDS[0]
    now_s = int(time.time())
    payload = {"sub": "user-1", "aud": "app", "iat": now_s, "exp": now_s + 300}
    token = assemble({"alg": algorithm} | ({"kid": kid} if kid else {}), payload, algorithm, key)
    assert plainly_accepted(token) == payload
    assert await verified(token) is not None
