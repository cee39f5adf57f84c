"""Tokens taken apart: forms, sizes and headers that are refused before anything of them is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncline.auth.token_parts import HEADER_CHARACTERS_MAX, TOKEN_BYTES_MAX, parse_authorization, split_token
from syncline.errors import TokenInvalid, TokenMissing
from tests.unit.auth.issuer import NOW_S
from tests.unit.auth.tokens import base64url, claims, code_of, oct_jwk, sign, sign_bytes, unsigned, verifier

CHECKS = verifier(oct_jwk("HS256"))


@pytest.mark.parametrize(
    "token",
    ["", "x", "..", "a.b", "a.b.c", "....", "é.b.c", "a" * 100_000, ".".join("a" * 1000), "e30.e30.", "W10.e30.e30"],
)
async def test_what_is_no_token_is_refused_as_malformed(token: str) -> None:
    assert await code_of(token, CHECKS) == "PSYNC_S2101"


async def test_a_token_in_another_alphabet_or_with_padding_is_refused() -> None:
    head, body, signature = sign(claims()).split(".")
    await CHECKS.verify(f"{head}.{body}.{signature}", now_s=NOW_S)
    for changed in (signature + "=", signature[:-1] + "+", signature[:-1] + "/", signature + "\n", signature + " "):
        assert await code_of(f"{head}.{body}.{changed}", CHECKS) == "PSYNC_S2101"


async def test_a_token_is_as_long_as_its_limit_at_most() -> None:
    def padded(characters: int) -> str:
        return sign_bytes(json.dumps(claims(pad="x" * characters)).encode())

    fixed = len(padded(0))
    at_limit = (TOKEN_BYTES_MAX - fixed) * 3 // 4 - 2
    accepted = padded(at_limit)
    assert TOKEN_BYTES_MAX - 4 < len(accepted) <= TOKEN_BYTES_MAX
    assert (await CHECKS.verify(accepted, now_s=NOW_S)).user_id == "user-1"
    with pytest.raises(TokenInvalid, match=f"longer than {TOKEN_BYTES_MAX} bytes"):
        await CHECKS.verify(padded(at_limit + 6), now_s=NOW_S)


async def test_a_header_is_as_long_as_its_limit_at_most() -> None:
    def padded(characters: int) -> str:
        return sign_bytes(json.dumps(claims()).encode(), headers={"x5c": "x" * characters})

    at_limit = HEADER_CHARACTERS_MAX * 3 // 4 - len('{"alg":"HS256","typ":"JWT","x5c":""}')
    accepted = padded(at_limit)
    assert len(accepted.split(".")[0]) == HEADER_CHARACTERS_MAX
    assert (await CHECKS.verify(accepted, now_s=NOW_S)).user_id == "user-1"
    with pytest.raises(TokenInvalid, match=f"header is longer than {HEADER_CHARACTERS_MAX}"):
        await CHECKS.verify(padded(at_limit + 1), now_s=NOW_S)


@pytest.mark.requirement(104)
@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "NONE", "", "PS256", "PS384", "PS512", "ES256K", "RSA-OAEP", "hs256", None, 7, ["HS256"], {}],
)
async def test_an_algorithm_that_is_not_accepted_is_refused(algorithm: Any) -> None:
    with pytest.raises(TokenInvalid, match="algorithm is not accepted"):
        await CHECKS.verify(unsigned({"alg": algorithm, "kid": "k"}, claims()), now_s=NOW_S)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"kid": None},
        {"kid": 7},
        {"kid": []},
        {"kid": {}},
        {"crit": ["b64"]},
        {"crit": None},
        {"b64": False},
        {"b64": "true"},
    ],
)
async def test_junk_in_the_header_is_refused(header: dict[str, Any]) -> None:
    token = unsigned({"alg": "HS256", **header} if header else {}, claims())
    with pytest.raises(TokenInvalid):
        split_token(token)
    assert await code_of(token, CHECKS) == "PSYNC_S2101"


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b"null", b"[" * 5000, b'{"alg": "HS256", "x": "\xff"}'])
async def test_a_header_that_is_no_json_object_is_refused(header: bytes) -> None:
    assert await code_of(f"{base64url(header)}.e30.e30", CHECKS) == "PSYNC_S2101"


@pytest.mark.requirement(111, missing="the answer over HTTP")
def test_a_token_comes_with_the_scheme_token_or_bearer() -> None:
    assert [parse_authorization(f"{scheme} a.b.c") for scheme in ("Token", "Bearer")] == ["a.b.c", "a.b.c"]
    for header in (
        None,
        "",
        "a.b.c",
        "token a",
        "Bearer  a",
        "Basic a",
        "Token a b",
        "Token a\n",
        " Token a",
        "Token ",
    ):
        with pytest.raises(TokenMissing) as caught:
            parse_authorization(header)
        assert caught.value.error_code == "PSYNC_S2106"
