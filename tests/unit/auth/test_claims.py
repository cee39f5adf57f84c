"""What a token must say, and with which code it is refused otherwise."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from syncline.auth.claims import CLOCK_TOLERANCE_S, MAX_LIFETIME_S
from syncline.errors import AuthError
from tests.unit.auth.issuer import NOW_S
from tests.unit.auth.tokens import claims, code_of, oct_jwk, sign, sign_bytes, verifier

CHECKS = verifier(oct_jwk("HS256", kid="k"))


@pytest.mark.requirement(109)
@pytest.mark.requirement(110, missing="an open stream ends at expiry")
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": NOW_S - CLOCK_TOLERANCE_S}, "PSYNC_S2103"),
        ({"exp": -1e308, "iat": -1e308}, "PSYNC_S2103"),
        ({"exp": NOW_S + MAX_LIFETIME_S + 1}, "PSYNC_S2104"),
        ({"exp": 1e308}, "PSYNC_S2104"),
        ({"exp": 1e308, "iat": -1e308}, "PSYNC_S2104"),
        ({"aud": "other"}, "PSYNC_S2105"),
        ({"aud": []}, "PSYNC_S2105"),
        ({"aud": "app/"}, "PSYNC_S2105"),
        ({"aud": "APP"}, "PSYNC_S2105"),
        ({"aud": "https://app"}, "PSYNC_S2105"),
        ({"aud": 7}, "PSYNC_S2105"),
        ({"aud": None}, "PSYNC_S2105"),
        ({"aud": {"app": "app"}}, "PSYNC_S2105"),
        ({"aud": ["app", 7]}, "PSYNC_S2105"),
        ({"aud": [["app"]]}, "PSYNC_S2105"),
        ({"iat": NOW_S + CLOCK_TOLERANCE_S + 1}, "PSYNC_S2101"),
        ({"nbf": NOW_S + CLOCK_TOLERANCE_S + 1}, "PSYNC_S2101"),
        ({"nbf": "now"}, "PSYNC_S2101"),
        ({"parameters": "text"}, "PSYNC_S2101"),
        ({"parameters": None}, "PSYNC_S2101"),
        ({"parameters": [1]}, "PSYNC_S2101"),
        ({"sub": {"id": 1}}, "PSYNC_S2101"),
        ({"sub": ["user-1"]}, "PSYNC_S2101"),
        ({"exp": True}, "PSYNC_S2101"),
        ({"exp": None}, "PSYNC_S2101"),
        ({"exp": str(NOW_S + 300)}, "PSYNC_S2101"),
        ({"exp": [NOW_S + 300]}, "PSYNC_S2101"),
        ({"iat": {}}, "PSYNC_S2101"),
    ],
)
async def test_a_wrong_claim_is_refused_with_its_code(changed: dict[str, Any], code: str) -> None:
    assert await code_of(sign_bytes(json.dumps(claims(**changed)).encode()), CHECKS) == code


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{",
        b'{"sub": NaN}',
        b'{"exp": 1e400}',
        b'{"exp": ' + b"9" * 400 + b"}",
        b'{"sub": "\\ud800"}',
        b'\xef\xbb\xbf{"sub": 1}',
        b'{"sub": "\xff"}',
        b"[" * 5000,
    ],
)
async def test_a_signed_payload_that_is_no_json_object_is_refused_as_malformed(payload: bytes) -> None:
    assert await code_of(sign_bytes(payload), CHECKS) == "PSYNC_S2101"


@pytest.mark.parametrize("claim", ["sub", "iat", "exp", "aud"])
async def test_a_missing_claim_is_refused_and_named(claim: str) -> None:
    payload = {name: value for name, value in claims().items() if name != claim}
    with pytest.raises(AuthError, match=f'"{claim}"') as caught:
        await CHECKS.verify(sign(payload), now_s=NOW_S)
    assert caught.value.error_code == "PSYNC_S2101"


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW_S - CLOCK_TOLERANCE_S + 1},
        {"exp": NOW_S - CLOCK_TOLERANCE_S + 0.5},
        {"iat": NOW_S + CLOCK_TOLERANCE_S},
        {"nbf": NOW_S + CLOCK_TOLERANCE_S},
        {"exp": NOW_S + MAX_LIFETIME_S},
        {"aud": ["x", "app"]},
        {"parameters": {}},
        {"iss": 7, "jti": [], "any": None},
    ],
)
async def test_clocks_may_differ_by_a_minute_and_a_lifetime_may_be_a_day(changed: dict[str, Any]) -> None:
    assert (await CHECKS.verify(sign_bytes(json.dumps(claims(**changed)).encode()), now_s=NOW_S)).user_id == "user-1"


async def test_the_longest_lifetime_and_the_one_that_came_are_told() -> None:
    with pytest.raises(AuthError, match=r"must be 86400 seconds or less, not 90000"):
        await CHECKS.verify(sign(claims(exp=NOW_S + 90_000)), now_s=NOW_S)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (-0.0, "0"),
        (1e21, "1e+21"),
        (2**53 + 1, "9007199254740993"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        ("é\x00", "é\x00"),
    ],
)
@pytest.mark.requirement(112, missing="in rules and streams")
async def test_a_subject_keeps_its_type_and_has_a_text(subject: object, text: str) -> None:
    verified = await CHECKS.verify(sign_bytes(json.dumps(claims(sub=subject)).encode()), now_s=NOW_S)
    assert (verified.payload["sub"], type(verified.payload["sub"]), verified.user_id) == (subject, type(subject), text)


@pytest.mark.requirement(113, missing="in sync config")
async def test_claims_of_the_token_are_kept_as_they_are() -> None:
    extra = {"parameters": {"tenants": [1, 2.5, "x", None, {"a": True}]}, "role": "admin"}
    assert (await CHECKS.verify(sign(claims(**extra)), now_s=NOW_S)).payload == claims(**extra)


async def test_an_end_between_two_seconds_is_rounded_down() -> None:
    verified = await CHECKS.verify(sign_bytes(json.dumps(claims(exp=NOW_S + 10.9)).encode()), now_s=NOW_S)
    assert verified.expires_at_s == NOW_S + 10


@pytest.mark.requirement(107)
async def test_the_answer_names_the_received_audience_and_the_accepted_ones_only_in_development(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="syncline.auth")
    token = sign(claims(aud="http://other"))
    for development in (False, True):
        caplog.clear()
        with pytest.raises(AuthError) as caught:
            await verifier(oct_jwk("HS256", kid="k"), development=development).verify(token, now_s=NOW_S)
        assert caught.value.message == 'Unexpected "aud" claim value: "http://other"'
        assert ("app" in str(caught.value)) is development
        (record,) = caplog.records
        assert record.getMessage() == 'Audience "http://other" refused; accepted: app'


async def test_a_long_audience_is_told_in_part_and_in_one_line() -> None:
    with pytest.raises(AuthError) as caught:
        await CHECKS.verify(sign(claims(aud="line\n" * 1000)), now_s=NOW_S)
    assert len(caught.value.message) < 300
    assert "\n" not in caught.value.message
