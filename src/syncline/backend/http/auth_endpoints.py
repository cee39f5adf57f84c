"""The token and key endpoints without a framework: who asks comes in, an answer goes out. Pure but for the signer.

Paths: write path reference, 9; the first of each is the one to use, the others are what older clients ask for. Logging in is the app's:
whom it has signed in is all that these know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from syncline.backend.http.messages import BackendResponse, json_response
from syncline.backend.http.routing import Access, Call, Route
from syncline.backend.tokens import JWKS_HEADERS, TOKEN_HEADERS, AuthenticatedUser, BackendAuth
from syncline.errors import TokenMissing

__all__ = ["AUTH_ROUTES", "JWKS_ROUTES", "TOKEN_ROUTES", "AuthAnswer", "answer_jwks", "answer_token"]

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


class TokenAnswer(msgspec.Struct, rename={"expires_at": "expiresAt"}):
    """A token for the sync service, and where that is. `expiresAt` is ISO 8601, UTC."""

    token: str
    expires_at: str
    powersync_url: str


class KeySetAnswer(msgspec.Struct):
    """A JSON Web Key Set (RFC 7517): public parts only."""

    keys: list[dict[str, Any]]


class ConfigAnswer(msgspec.Struct, rename="camel"):
    """Where the sync service is, and who is asking."""

    powersync_url: str
    user_id: str


async def _token(call: Call) -> BackendResponse:
    return _response(answer_token(call.backend.auth, call.known_user))


async def _jwks(call: Call) -> BackendResponse:
    return _response(answer_jwks(call.backend.auth))


async def _config(call: Call) -> BackendResponse:
    return json_response(ConfigAnswer(call.backend.auth.service_url, call.user.user_id), headers=TOKEN_HEADERS)


def _response(answer: AuthAnswer) -> BackendResponse:
    return json_response(answer.body, status=answer.status, headers=answer.headers)


AUTH_ROUTES = (
    *(
        Route(
            method,
            path,
            _token,
            "A short-lived token for the sync service, in exchange for the app's own session",
            access=Access.LOGIN,
            body_bytes_max=0,
            answers=TokenAnswer,
            statuses=(200, 404),
        )
        for method, path in TOKEN_ROUTES
    ),
    Route(
        "GET",
        "/api/powersync/config",
        _config,
        "Where the sync service is, and who is asking",
        access=Access.LOGIN,
        answers=ConfigAnswer,
    ),
    *(
        Route(method, path, _jwks, "The public keys of the issued tokens", access=Access.PUBLIC, answers=KeySetAnswer)
        for method, path in JWKS_ROUTES
    ),
)
"""The first path of each kind is the one to use."""
