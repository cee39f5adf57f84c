"""What `token decode` says of claims: nothing where a service accepts them, and something wherever it refuses."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.auth.claims import ClaimRules, check_claims
from syncline.auth.token_parts import TOKEN_BYTES_MAX
from syncline.cli.exit_codes import CommandFailed
from syncline.cli.token_report import claim_findings, decoded, duration, times_in_words
from syncline.errors import AuthError

NOW_S = 1_800_000_000.0
GOOD: dict[str, Any] = {"sub": "u", "aud": ["app"], "iat": NOW_S - 60, "exp": NOW_S + 600}
TIMES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-90_000, 90_000).map(lambda away: int(NOW_S) + away), st.none(), st.text(max_size=2), st.booleans()
)
SUBJECTS: st.SearchStrategy[Any] = st.sampled_from(["u", 1, None, [1], {"a": 1}])
AUDIENCES: st.SearchStrategy[Any] = st.sampled_from(
    ["app", "other", ["app"], ["app", "b"], ["b"], ["app", 1], [], 7, None]
)
OBJECTS: st.SearchStrategy[Any] = st.sampled_from([{}, [], None])
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "sub": SUBJECTS,
    "aud": AUDIENCES,
    "iat": TIMES,
    "exp": TIMES,
    "nbf": TIMES,
    "parameters": OBJECTS,
}
CLAIMS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional=OPTIONAL)


@pytest.mark.requirement(209)
@given(CLAIMS, st.sampled_from([{}, GOOD]))
def test_the_findings_agree_with_the_service(changed: dict[str, Any], base: dict[str, Any]) -> None:
    claims = base | changed
    try:
        check_claims(claims, ClaimRules(frozenset({"app"})), now_s=NOW_S)
        accepted = True
    except AuthError:
        accepted = False
    assert (claim_findings(claims, NOW_S, ["app"]) == []) is accepted


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"exp": NOW_S - 7200}, "ended 2 hours ago [PSYNC_S2103]"),
        ({"iat": NOW_S + 600}, "issued 10 minutes from now"),
        ({"nbf": NOW_S + 600}, "not good before 10 minutes"),
        ({"exp": NOW_S + 2 * 86_400}, "takes 1 day at most [PSYNC_S2104]"),
        ({"aud": "https://app"}, 'for "https://app", and accepted are: app [PSYNC_S2105]'),
        ({"iat": "soon"}, '"iat" is not a number'),
    ],
)
def test_each_finding_says_what_is_wrong(changed: dict[str, Any], says: str) -> None:
    [finding] = claim_findings(GOOD | changed, NOW_S, ["app"])
    assert says in finding


def test_an_audience_that_differs_in_a_slash_is_pointed_out() -> None:
    [finding] = claim_findings(GOOD | {"aud": "https://a/"}, NOW_S, ["https://a"])
    assert "differ in a slash" in finding


def test_without_audiences_nothing_is_said_of_them() -> None:
    assert claim_findings(GOOD | {"aud": "anything"}, NOW_S, None) == []


def test_times_are_told_in_words() -> None:
    assert times_in_words(GOOD, NOW_S) == {
        "issued": "2027-01-15T07:59:00Z, 1 minute ago",
        "good until": "2027-01-15T08:10:00Z, in 10 minutes",
        "lifetime": "11 minutes",
    }
    assert [duration(s) for s in (0, 1, 59.6, 3661, 90_061, 86_400 * 400)] == [
        "0 seconds", "1 second", "1 minute", "1 hour 1 minute", "1 day 1 hour", "400 days",
    ]  # fmt: skip
    assert times_in_words({"exp": 10**18}, NOW_S)["good until"].startswith("1000000000000000000 seconds since 1970")


def _token(header: Any, payload: Any) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload))
    return ".".join([*parts, "c2ln"])


def test_any_header_is_shown_and_what_is_no_token_is_refused() -> None:
    assert decoded(_token({"alg": "none"}, {"sub": 1})) == ({"alg": "none"}, {"sub": 1})
    for text in ("", "a.b", "a.b.c", _token([], {}), _token({}, "x"), "." * 5):
        with pytest.raises(CommandFailed, match="no JSON Web Token"):
            decoded(text)
    with pytest.raises(CommandFailed, match=f"longer than {TOKEN_BYTES_MAX}"):
        decoded("a" * (TOKEN_BYTES_MAX + 1))
