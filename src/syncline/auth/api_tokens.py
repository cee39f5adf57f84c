"""Who may use the management API: whoever has one of the tokens in `api.tokens` (protocol reference, 7.2)."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

from syncline.auth.token_parts import parse_authorization
from syncline.errors import TokenInvalid, TokenMissing

__all__ = ["ApiTokens"]


class ApiTokens:
    """The configured tokens, as digests. With none, everybody is refused."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = [sha256(token.encode()).digest() for token in tokens if token]

    def check(self, authorization: str | None) -> None:
        """Return when the header `Authorization: Token <t>` or `Bearer <t>` has one of the tokens.

        `authorization` is the header as latin-1 text, so that any bytes are one. Raises TokenInvalid (PSYNC_S2101).
        """
        try:
            received = sha256(parse_authorization(authorization).encode("latin-1")).digest()
        except (TokenMissing, UnicodeEncodeError):
            received = b""
        # every token is compared, and digests are of one length: how long it takes says nothing about them
        if not sum(hmac.compare_digest(received, digest) for digest in self._digests):
            raise TokenInvalid("Authorization failed.", hint="Use a token of api.tokens.")
