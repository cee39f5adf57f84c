"""Who asks, and tokens for devices. Logging a user in is the app's own work: this only exchanges a session for a token."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from syncline.auth.claims import MAX_LIFETIME_S
from syncline.auth.keys import KeySource
from syncline.auth.signer import DEFAULT_LIFETIME_S, SignedToken
from syncline.auth.verifier import TokenVerifier, parse_authorization
from syncline.backend.auth_hints import with_hint
from syncline.errors import AuthError, ConfigError, TokenInvalid

if TYPE_CHECKING:
    from syncline.backend.auth.providers import Provider

__all__ = [
    "JWKS_HEADERS",
    "JWKS_MAX_AGE_S",
    "TOKEN_HEADERS",
    "AuthenticatedUser",
    "BackendAuth",
    "ExtraClaims",
    "Signer",
]

JWKS_MAX_AGE_S = 60  # seconds that a key set may be kept on the way; far below the time for which a key is announced
JWKS_HEADERS: Mapping[str, str] = {"cache-control": f"public, max-age={JWKS_MAX_AGE_S}"}
"""Of an answer with a key set."""

TOKEN_HEADERS: Mapping[str, str] = {"cache-control": "no-store"}
"""Of an answer with a token, which nobody on the way may keep."""


@dataclass(frozen=True, slots=True)
class AuthenticatedUser:
    """A user whose identity was proved. `claims` is what else their token says; empty where there was none.

    Claims are not compared, and not shown: they may be personal.
    """

    user_id: str
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False, repr=False)


ExtraClaims = Callable[[AuthenticatedUser], Mapping[str, Any]]
"""More claims for a user's token, for `auth.parameter(…)` in sync streams and `claims` on uploads; sub, aud, iat, exp are ours."""


class Signer(Protocol):
    """What issues tokens: a `TokenSigner` with one key, or a `RotatingSigner`."""

    @property
    def keys(self) -> KeySource:
        """What accepts its tokens."""
        ...

    def issue(
        self, user_id: str, *, audience: str, now_s: float, lifetime_s: int, claims: Mapping[str, Any] | None = None
    ) -> SignedToken:
        """A token. Raises ValueError for claims or a lifetime that cannot be."""
        ...

    def jwks(self) -> Mapping[str, object]:
        """The key set to publish."""
        ...


class BackendAuth:
    """Issues tokens for the sync service, and checks them on uploads: backend and service trust the same keys.

    Without `signer` others issue the tokens (`from_provider`, `from_service_config`); without `verifier` the signer's own are accepted.
    `lifetime_s` is 1 to 86,400; 5 to 60 minutes suit devices. `claims` adds claims. Raises ConfigError for what cannot work.
    """

    def __init__(
        self,
        signer: Signer | None,
        *,
        audience: str,
        service_url: str,
        lifetime_s: int = DEFAULT_LIFETIME_S,
        claims: ExtraClaims | None = None,
        verifier: TokenVerifier | None = None,
    ) -> None:
        if not 1 <= lifetime_s <= MAX_LIFETIME_S:
            raise ConfigError(f"lifetime_s must be 1 to {MAX_LIFETIME_S} seconds.", hint="300 to 3600 suit devices.")
        if signer is not None and not audience:
            raise ConfigError(
                "Tokens need an audience.", hint="The same text as in client_auth.audience of the service."
            )
        if verifier is None:
            if signer is None:
                raise ConfigError(
                    "BackendAuth has no keys: every upload would be refused.",
                    hint="Give it a signer, or use BackendAuth.from_provider or BackendAuth.from_service_config.",
                )
            verifier = TokenVerifier(signer.keys, [audience])
        self._signer = signer
        self._audience = audience
        self._lifetime_s = lifetime_s
        self._claims = claims
        self._verifier = verifier
        self.service_url = service_url

    @classmethod
    def from_provider(cls, provider: Provider, *, service_url: str, development: bool = False) -> BackendAuth:
        """Uploads with tokens of another issuer: `from_provider(supabase("abcdefgh"), service_url=…)`. Issues none itself.

        `development` adds the accepted audiences to the answer about a wrong one. Raises ConfigError.
        """
        from syncline.backend.auth.provider_verifier import ProviderVerifier  # only this needs a provider's keys

        verifier = ProviderVerifier(provider, development=development)
        return cls(None, audience="", service_url=service_url, verifier=verifier)

    @classmethod
    def from_service_config(
        cls,
        path: Path | str,
        *,
        service_url: str,
        signer: Signer | None = None,
        lifetime_s: int = DEFAULT_LIFETIME_S,
        claims: ExtraClaims | None = None,
        environment: Mapping[str, str] = os.environ,
        development: bool = False,
    ) -> BackendAuth:
        """Uploads with the tokens that the service of this configuration accepts: same keys, same audience. Blocks for the file.

        A `signer`, whose keys the configuration must have, issues tokens for its first audience. Raises ConfigError.
        """
        from syncline.backend.auth.service_config import ServiceConfigVerifier, read_client_auth  # as above

        settings = read_client_auth(Path(path), environment=environment)
        verifier = ServiceConfigVerifier(settings, development=development)
        audience = next(iter(verifier.audiences), "")
        return cls(
            signer,
            audience=audience,
            service_url=service_url,
            lifetime_s=lifetime_s,
            claims=claims,
            verifier=verifier,
        )

    @property
    def issues_tokens(self) -> bool:
        """Whether `issue` works: else the app's token route has nothing to give."""
        return self._signer is not None

    def issue(self, user: AuthenticatedUser) -> SignedToken:
        """A token for a user whom the app has authenticated.

        Raises ConfigError where others issue the tokens, and ValueError for extra claims that are ours.
        """
        if self._signer is None:
            raise ConfigError(
                "This backend issues no tokens: its users bring those of another issuer.",
                hint="Let the client's fetch_credentials ask that issuer, or give BackendAuth a signer.",
            )
        extra = self._claims(user) if self._claims else None
        return self._signer.issue(
            user.user_id, audience=self._audience, now_s=time.time(), lifetime_s=self._lifetime_s, claims=extra
        )

    def token_answer(self, user: AuthenticatedUser) -> dict[str, str]:
        """The body of `GET /api/auth/token`, to be sent with TOKEN_HEADERS. Raises as `issue`."""
        issued = self.issue(user)
        expires_at = datetime.fromtimestamp(issued.expires_at_s, UTC).isoformat().replace("+00:00", "Z")
        return {"token": issued.token, "expiresAt": expires_at, "powersync_url": self.service_url}

    async def authenticate(self, authorization: str | None) -> AuthenticatedUser:
        """The user of an `Authorization` header. Raises AuthError, always with a code and a hint."""
        try:
            token = await self._verifier.verify(parse_authorization(authorization), now_s=time.time())
        except AuthError as exc:
            raise with_hint(exc) from None
        if not token.user_id or token.payload["sub"] is None:
            # For the sync service that is a user as any other; here all such tokens would own each other's rows.
            raise TokenInvalid("The token names nobody.", hint="Its `sub` must be the id of a user.")
        return AuthenticatedUser(token.user_id, token.payload)

    def jwks(self) -> dict[str, object]:
        """The key set to publish, with JWKS_HEADERS: public parts only; empty where others issue the tokens."""
        return dict(self._signer.jwks()) if self._signer is not None else {"keys": []}

    async def close(self) -> None:
        """End what runs in the background: a fetch of keys."""
        close = getattr(self._verifier, "close", None)
        if close is not None and inspect.isawaitable(closing := close()):
            await closing
