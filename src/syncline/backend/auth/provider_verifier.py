"""Verifies tokens of a provider: the signature and times as everywhere, and what a `Provider` says besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from syncline.auth.claims import ClaimRules, VerifiedToken, check_claims
from syncline.auth.jwks import JwksCache
from syncline.auth.jwks_uri import parse_jwks_uri
from syncline.auth.keys import KeySource
from syncline.auth.token_parts import split_token
from syncline.auth.verifier import TokenVerifier
from syncline.backend.auth.providers import Provider
from syncline.errors import AudienceMismatch, ConfigError, TokenInvalid

__all__ = ["USER_ID_CHARACTERS_MAX", "ProviderVerifier", "provider_keys"]

USER_ID_CHARACTERS_MAX = 255  # characters of a user's id; a provider's own limit (OpenID Connect Core, 2) is the same
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ProviderVerifier(TokenVerifier):
    """Accepts one provider's tokens. `keys` are where its keys come from; without, its JWKS address. `close` ends a fetch that runs.

    Raises ConfigError for an address that is not https: PSYNC_S3103; over loopback http will do.
    """

    def __init__(self, provider: Provider, *, keys: KeySource | None = None, development: bool = False) -> None:
        self._provider = provider
        self._cache = provider_keys(provider) if keys is None else None
        source = keys if self._cache is None else self._cache
        assert source is not None, "either was given or made"
        super().__init__(source, provider.audiences, max_lifetime_s=provider.max_lifetime_s, development=development)

    async def close(self) -> None:
        """End a fetch that runs."""
        if self._cache is not None:
            await self._cache.close()

    async def verify(self, token: str, *, now_s: float) -> VerifiedToken:
        """As `TokenVerifier.verify`; besides, TokenInvalid for another issuer, kind of token or algorithm, or without a user."""
        provider = self._provider
        parts = split_token(token)
        if parts.algorithm not in provider.algorithms:
            hint = f"{provider.name} signs with {', '.join(sorted(provider.algorithms))}."
            raise TokenInvalid("The token's algorithm is not one of its issuer's.", hint=hint)
        await self._verifying_key(parts, now_s)
        payload = parts.payload()
        if payload.get("iss") != provider.issuer:
            raise TokenInvalid(
                "The token is of another issuer.",
                hint=f"Compare its `iss` with the issuer that {provider.name} is set up with here.",
            )
        rules = ClaimRules(provider.audiences, provider.max_lifetime_s)
        try:
            verified = check_claims(_with_audience(payload, provider), rules, now_s=now_s)
        except AudienceMismatch as exc:
            raise self._explained(exc, rules) from None
        _check_kind(payload, provider)
        return replace(verified, payload=payload, user_id=_user_id(payload, provider))


def provider_keys(provider: Provider) -> JwksCache:
    """The cache of the provider's key set. Raises ConfigError (PSYNC_S3102, PSYNC_S3103) for its address."""
    uri = parse_jwks_uri(provider.jwks_uri)
    if uri.scheme != "https" and uri.host not in _LOOPBACK:
        raise ConfigError(
            f"The keys of {provider.name} would be fetched without TLS: anybody on the way could put in another.",
            code="PSYNC_S3103",
            hint="Use https; http is for this machine only (127.0.0.1).",
        )
    return JwksCache(provider.jwks_uri)


def _with_audience(payload: dict[str, Any], provider: Provider) -> dict[str, Any]:
    """The payload with `aud` from where this provider says it. Raises TokenInvalid where it does not."""
    claim = provider.audience_claim
    if claim not in payload:
        raise TokenInvalid(
            f'Missing required "{claim}" claim.', hint=f"{provider.name} says there for whom a token is: see its setup."
        )
    return {**payload, "sub": payload.get(provider.user_claim), "aud": payload[claim]}


def _check_kind(payload: Mapping[str, Any], provider: Provider) -> None:
    """The claims that tell a user's token from others of the same keys. The answer says what is wanted, not what came."""
    for claim, allowed in provider.required.items():
        if not _texts_of(payload.get(claim)) & allowed:
            raise TokenInvalid(
                f'The "{claim}" claim is not what is wanted here.', hint=f"Wanted: {', '.join(sorted(allowed))}."
            )
    for claim, denied in provider.refused.items():
        if _texts_of(payload.get(claim)) & denied:
            raise TokenInvalid(
                f'The "{claim}" claim says that this is no signed-in user.', hint="Sign in, and fetch a new token."
            )


def _texts_of(value: object) -> set[str]:
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    return {text for text in listed if isinstance(text, str)}


def _user_id(payload: Mapping[str, Any], provider: Provider) -> str:
    user_id = payload.get(provider.user_claim)
    if not isinstance(user_id, str) or not 0 < len(user_id) <= USER_ID_CHARACTERS_MAX:
        raise TokenInvalid(
            f'The "{provider.user_claim}" claim names no user.',
            hint=f"It must be a text of 1 to {USER_ID_CHARACTERS_MAX} characters.",
        )
    return user_id
