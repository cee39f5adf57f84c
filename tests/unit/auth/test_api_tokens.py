"""Who may use the management API."""

from __future__ import annotations

import pytest

from syncline.auth.api_tokens import ApiTokens
from syncline.errors import TokenInvalid


@pytest.mark.requirement(190, missing="the routes")
def test_whoever_has_one_of_the_tokens_is_let_in() -> None:
    tokens = ApiTokens(["first", "sécond"])
    for scheme in ("Token", "Bearer"):
        tokens.check(f"{scheme} first")
        tokens.check(f"{scheme} sécond".encode().decode("latin-1"))  # as a header is read


@pytest.mark.requirement(190, missing="the routes")
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "first",
        "Token",
        "Token firs",
        "Token first2",
        "Token First",
        "Basic first",
        "Token first x",
        "Token \ud800",
    ],
)
def test_everybody_else_is_refused_with_one_code(header: str | None) -> None:
    for tokens in (ApiTokens(["first", "second"]), ApiTokens([]), ApiTokens([""])):
        with pytest.raises(TokenInvalid) as caught:
            tokens.check(header)
        assert (caught.value.error_code, caught.value.status) == ("PSYNC_S2101", 401)
        assert "first" not in caught.value.message
