"""Who asks, and tokens for devices. Logging a user in is the app's own work: this only exchanges a session for a token."""

from __future__ import annotations

import time
from dataclasses import dataclass

from syncline.auth.signer import DEFAULT_LIFETIME_S, SignedToken, TokenSigner
from syncline.auth.verifier import TokenVerifier, parse_authorization

__all__ = ["AuthenticatedUser", "BackendAuth"]


@dataclass(frozen=True, slots=True)
class AuthenticatedUser:
    """A user whose identity was proved."""

    user_id: str


class BackendAuth:
    """Issues tokens for the sync service, and checks them on uploads: backend and service trust the same keys."""

    def __init__(
        self, signer: TokenSigner, *, audience: str, service_url: str, lifetime_s: int = DEFAULT_LIFETIME_S
    ) -> None:
        self._signer = signer
        self._audience = audience
        self._lifetime_s = lifetime_s
        self._verifier = TokenVerifier(signer.keys, [audience])
        self.service_url = service_url

    def issue(self, user: AuthenticatedUser) -> SignedToken:
        """A token for a user whom the app has authenticated."""
        return self._signer.issue(user.user_id, audience=self._audience, now_s=time.time(), lifetime_s=self._lifetime_s)

    async def authenticate(self, authorization: str | None) -> AuthenticatedUser:
        """The user of an `Authorization` header. Raises AuthError."""
        token = await self._verifier.verify(parse_authorization(authorization), now_s=time.time())
        return AuthenticatedUser(token.user_id)

    def jwks(self) -> dict[str, object]:
        """The key set to publish."""
        return dict(self._signer.jwks())
