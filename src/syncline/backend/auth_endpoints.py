"""The token and key endpoints without a framework: who asks comes in, an answer goes out. Pure but for the signer.

Paths: write path reference, 9; the first of each is the one to use, the others are what older clients ask for. Logging in is the app's:
whom it has signed in is all that these know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncline.backend.tokens import JWKS_HEADERS, TOKEN_HEADERS, AuthenticatedUser, BackendAuth
from syncline.errors import TokenMissing

__all__ = ["JWKS_ROUTES", "TOKEN_ROUTES", "AuthAnswer", "answer_jwks", "answer_token"]

TOKEN_ROUTES = (("GET", "/api/auth/token"), ("POST", "/api/powersync/auth"), ("GET", "/api/get_powersync_token/"))
"""Method and path of `answer_token`."""

JWKS_ROUTES = (
    ("GET", "/api/auth/jwks"),
    ("GET", "/api/auth/keys"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/api/get_keys/"),
)
"""Method and path of `answer_jwks`."""


@dataclass(frozen=True, slots=True)
class AuthAnswer:
    """An HTTP answer: status, a JSON object, headers (names in lower case, without content-type)."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str]


def answer_token(auth: BackendAuth, user: AuthenticatedUser | None) -> AuthAnswer:
    """A token for the user whom the app has signed in; 401 (PSYNC_S2106) for nobody, 404 where others issue the tokens.

    Raises ValueError where the app's extra claims are ours.
    """
    if not auth.issues_tokens:
        message = "This backend issues no tokens. Fetch one from the issuer that its users sign in to."
        return AuthAnswer(404, {"message": message}, TOKEN_HEADERS)
    if user is None or not user.user_id:
        message = "Nobody is signed in. Sign in to the app first: a token is only given for its session."
        return AuthAnswer(401, {"message": message, "code": TokenMissing.code}, TOKEN_HEADERS)
    return AuthAnswer(200, auth.token_answer(user), TOKEN_HEADERS)


def answer_jwks(auth: BackendAuth) -> AuthAnswer:
    """The public keys, for everybody; an empty list for a shared secret, and where others issue the tokens."""
    return AuthAnswer(200, auth.jwks(), JWKS_HEADERS)
