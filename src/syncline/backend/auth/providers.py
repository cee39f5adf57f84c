"""Who else issues tokens: Supabase, Auth0, Firebase, Clerk, Cognito, Keycloak, as data. Pure.

Each function fills in a `Provider`; one that is missing here is a `Provider(…)` of your own. What is in them is from the providers'
own pages about verifying their tokens.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from syncline.auth.claims import MAX_LIFETIME_S
from syncline.auth.supabase import SUPABASE_LIFETIME_S
from syncline.errors import ConfigError

__all__ = ["Provider", "auth0", "clerk", "cognito", "firebase", "keycloak", "supabase"]

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)(/[^?#\s]*)?")
_ASYMMETRIC = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"})


@dataclass(frozen=True, slots=True)
class Provider:
    """An issuer of tokens, and what its tokens must say. Raises ConfigError for one that would accept what it should not.

    `audience_claim` names the claim that says for whom a token is: one of `audiences` must be in it. `user_claim` names the user's id.
    `required` lists claims with the texts of which one must stand there; `refused` lists texts that must not, where the claim is there.
    """

    name: str  # for messages
    issuer: str  # `iss`, exactly
    jwks_uri: str
    audiences: frozenset[str]
    audience_claim: str = "aud"
    user_claim: str = "sub"
    algorithms: frozenset[str] = frozenset({"RS256"})
    max_lifetime_s: int = MAX_LIFETIME_S  # seconds, exp - iat
    required: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    refused: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def __post_init__(self) -> None:
        if not self.issuer or not self.audiences or "" in self.audiences:
            raise ConfigError(
                f"{self.name} needs an issuer and an audience.", hint="Else tokens for other apps would be accepted."
            )
        if not self.algorithms or not self.algorithms <= _ASYMMETRIC:
            hint = f"Use some of {', '.join(sorted(_ASYMMETRIC))}: a shared secret cannot be published."
            raise ConfigError(f"{self.name} names an algorithm that no published key can have.", hint=hint)


def supabase(project: str) -> Provider:
    """Users of a Supabase project (`abcdefgh` of `https://abcdefgh.supabase.co`) that signs with asymmetric keys.

    A project that still has its shared secret: `client_auth.supabase_jwt_secret` of the service's configuration.
    """
    issuer = f"https://{_checked(project, _NAME, 'supabase', 'abcdefgh')}.supabase.co/auth/v1"
    return Provider(
        "Supabase",
        issuer,
        f"{issuer}/.well-known/jwks.json",
        frozenset({"authenticated"}),
        algorithms=frozenset({"RS256", "ES256"}),
        max_lifetime_s=SUPABASE_LIFETIME_S,
        required={"role": frozenset({"authenticated"})},  # neither the public `anon` key nor `service_role`
    )


def auth0(domain: str, *, audience: str) -> Provider:
    """Access tokens for an API of an Auth0 tenant. `domain`: `tenant.eu.auth0.com`, or your own; `audience`: the API's identifier."""
    issuer = f"https://{_checked(domain, _HOST, 'auth0', 'tenant.eu.auth0.com')}/"  # with its slash
    return Provider(
        "Auth0",
        issuer,
        f"{issuer}.well-known/jwks.json",
        frozenset({audience}),
        refused={"gty": frozenset({"client-credentials"})},  # a machine, and no user
    )


def firebase(project_id: str) -> Provider:
    """ID tokens of a Firebase project."""
    project = _checked(project_id, _NAME, "firebase", "my-app-1234")
    return Provider(
        "Firebase",
        f"https://securetoken.google.com/{project}",
        "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
        frozenset({project}),
    )


def clerk(
    frontend_api: str, *, audience: str | None = None, authorized_parties: Collection[str] = frozenset()
) -> Provider:
    """Tokens of a Clerk instance: `clerk.example.com`, or `name-12.clerk.accounts.dev`.

    With `audience`, those of a JWT template that sets `aud`: what the sync service needs too. Without, session tokens, which have none:
    `authorized_parties` are then the origins of your app, one of which must be in `azp`. Both may be given, but tokens of native apps
    have no `azp`. Raises ConfigError for neither.
    """
    issuer = f"https://{_checked(frontend_api, _HOST, 'clerk', 'name-12.clerk.accounts.dev')}"
    parties = _texts(authorized_parties, "clerk(authorized_parties)")
    if audience is None and not parties:
        raise ConfigError(
            "clerk needs an audience or authorized_parties.",
            hint='clerk("name-12.clerk.accounts.dev", audience="my-app"), with a JWT template that sets "aud".',
        )
    return Provider(
        "Clerk",
        issuer,
        f"{issuer}/.well-known/jwks.json",
        parties if audience is None else frozenset({audience}),
        audience_claim="azp" if audience is None else "aud",
        required={"azp": parties} if parties else {},
        refused={"sts": frozenset({"pending"})},  # signed in, but not through with what the instance asks of its users
    )


def cognito(
    region: str, user_pool_id: str, *, client_ids: Collection[str], tokens: Literal["id", "access"] = "id"
) -> Provider:
    """Tokens of an Amazon Cognito user pool, for one of these app clients.

    ID tokens have the client in `aud`, and the sync service takes them too; access tokens have it in `client_id` and no `aud`.
    """
    region = _checked(region, _NAME, "cognito", "eu-central-1")
    pool = _checked(user_pool_id, _NAME, "cognito", "eu-central-1_AbCdEf")
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    issuer = f"https://cognito-idp.{region}.{domain}/{pool}"
    return Provider(
        "Cognito",
        issuer,
        f"{issuer}/.well-known/jwks.json",
        _texts(client_ids, "cognito(client_ids)"),
        audience_claim="aud" if tokens == "id" else "client_id",
        required={"token_use": frozenset({tokens})},
    )


def keycloak(url: str, realm: str, *, audience: str) -> Provider:
    """Access tokens of a Keycloak realm. `url` is the server's, with its path: `https://login.example.com`, older ones `…/auth`.

    `audience` is what an audience mapper of the client's scope adds to `aud`; Keycloak adds nothing of yours by itself.
    """
    base = _checked(url.rstrip("/"), _ORIGIN, "keycloak", "https://login.example.com")
    issuer = f"{base}/realms/{_checked(realm, _NAME, 'keycloak', 'my-realm')}"
    return Provider(
        "Keycloak",
        issuer,
        f"{issuer}/protocol/openid-connect/certs",
        frozenset({audience}),
        algorithms=_ASYMMETRIC,  # as the realm is set up
        required={"typ": frozenset({"Bearer"})},  # neither ID tokens nor refresh tokens
    )


def _checked(text: str, form: re.Pattern[str], preset: str, example: str) -> str:
    if not form.fullmatch(text):
        raise ConfigError(f"{preset} does not understand {text[:100]!r}.", hint=f"Write it as in {example!r}.")
    return text


def _texts(values: Collection[str], what: str) -> frozenset[str]:
    """A text alone is a collection of letters, which nobody means."""
    if isinstance(values, str):
        raise ConfigError(f"{what} is one text; it must be a collection of texts.", hint='["first", "second"]')
    return frozenset(values)
