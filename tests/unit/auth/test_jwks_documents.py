"""Which documents behind a JWKS URI are taken, and which of their keys."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.auth.claims import ClaimRules
from syncline.auth.jwks import JwksCache
from syncline.auth.jwks_document import KEYS_MAX, JwksFailed, read_key_set
from syncline.auth.keys import KEYS_PER_ID_MAX
from syncline.auth.verifier import TokenVerifier
from syncline.errors import TokenInvalid
from tests.unit.auth.issuer import NOW_S, Download, SigningKey, key_set
from tests.unit.auth.tokens import MATRIX, claims, oct_jwk, rsa_jwk

FIRST = SigningKey("first")
JWKS = [FIRST.jwk, rsa_jwk(), oct_jwk("HS256"), *(jwk for _, _, jwk in MATRIX)]


def kids(*jwks: object) -> list[str | None]:
    return [key.kid for key in read_key_set(json.dumps({"keys": jwks}).encode())]


@pytest.mark.requirement(104)
async def test_every_public_key_of_the_matrix_verifies_through_jwks_and_a_shared_secret_does_not() -> None:
    download = Download.of(*({**jwk, "kid": str(index)} for index, (_, _, jwk) in enumerate(MATRIX)))
    checks = TokenVerifier(JwksCache("https://issuer.example/jwks", download=download), ["app"])
    for index, (algorithm, key, _) in enumerate(MATRIX):
        token = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": str(index)})
        if algorithm.startswith("HS"):
            with pytest.raises(TokenInvalid):
                await checks.verify(token, now_s=NOW_S)
        else:
            assert (await checks.verify(token, now_s=NOW_S)).user_id == "user-1"


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"use": ""},
        {"use": ["sig"]},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"key_ops": {"verify": True}},
        {"kty": "oct"},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": ["EC"]},
        {"kty": None},
        {"kty": "ec"},
        {"x": 1},
        {"x": ""},
        {"y": "AAAA"},
        {"crv": "P-192"},
        {"alg": []},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"kid": 7},
    ],
)
def test_a_key_that_is_not_for_signatures_or_broken_is_skipped(changed: dict[str, Any]) -> None:
    good = {**FIRST.jwk, "use": "sig", "key_ops": ["sign", "verify"]}
    assert kids({**FIRST.jwk, "kid": "skipped", **changed}, "text", None, 7, [], good) == ["first"]


def test_members_that_say_nothing_about_use_are_enough() -> None:
    assert kids({**FIRST.jwk, "use": None, "key_ops": None, "x5c": ["…"], "ext": True, "unknown": {}}) == ["first"]


@pytest.mark.parametrize(
    "body",
    [b"<html>Sign in</html>", b'{"keys": [', b'{"keys": {}}', b"{}", b"[]", b"7", b"", b"\xff", b"[" * 5000],
    ids=["html", "cut", "no list", "no keys", "no object", "number", "empty", "no text", "deep"],
)
def test_a_document_that_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(JwksFailed) as caught:
        read_key_set(body)
    assert caught.value.code == "PSYNC_S2204"


def test_a_key_set_without_usable_keys_is_one() -> None:
    assert kids() == kids({"kty": "new"}, oct_jwk("HS256")) == []


def test_a_key_set_has_as_many_keys_as_its_limit_at_most() -> None:
    jwks = [{**FIRST.jwk, "kid": str(index)} for index in range(KEYS_MAX)]
    assert len(kids(*jwks)) == KEYS_MAX
    with pytest.raises(JwksFailed, match=f"more than {KEYS_MAX}"):
        kids(*jwks, FIRST.jwk)


def test_a_key_set_has_as_many_keys_of_one_id_as_are_tried_for_a_token() -> None:
    for jwk in (FIRST.jwk, {**FIRST.jwk, "kid": None}):
        assert len(kids(*[jwk] * KEYS_PER_ID_MAX)) == KEYS_PER_ID_MAX
        with pytest.raises(JwksFailed, match=f"more than {KEYS_PER_ID_MAX}"):
            kids(*[jwk] * (KEYS_PER_ID_MAX + 1))


def test_rules_of_the_uri_are_those_of_its_keys() -> None:
    rules = ClaimRules(frozenset({"theirs"}))
    assert [key.rules for key in read_key_set(key_set(FIRST), rules)] == [rules]


def test_a_published_private_key_is_told_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="syncline.auth")
    assert kids({**FIRST.jwk, "d": "c2VjcmV0"}) == ["first"]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "c2VjcmV0" not in str(vars(record))


MEMBERS = ["kty", "kid", "alg", "use", "key_ops", "crv", "n", "e", "x", "y", "k", "d"]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def broken_jwks(draw: st.DrawFn) -> dict[str, Any]:
    """A key of which some members are missing, junk, or another key's."""
    jwk = dict(draw(st.sampled_from(JWKS)))
    for member in draw(st.lists(st.sampled_from(MEMBERS), max_size=3)):
        match draw(st.integers(0, 2)):
            case 0:
                jwk.pop(member, None)
            case 1:
                jwk[member] = draw(JUNK)
            case _:
                jwk[member] = draw(st.sampled_from(JWKS)).get(member)
    return jwk


@given(jwks=st.lists(broken_jwks() | JUNK, max_size=5))
def test_no_key_set_of_broken_keys_breaks_the_reader(jwks: list[Any]) -> None:
    for key in read_key_set(json.dumps({"keys": [FIRST.jwk, *jwks]}).encode()):
        assert key.family in {"RSA", "EC", "OKP"}
        assert not key.verifies("HS256", b"signed", b"signature")


@given(body=st.binary(max_size=200) | JUNK.map(lambda value: json.dumps(value).encode()))
def test_no_document_breaks_the_reader(body: bytes) -> None:
    with contextlib.suppress(JwksFailed):
        assert read_key_set(body) == ()
