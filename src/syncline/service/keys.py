"""From `client_auth` of the configuration to a verifier: keys written in the file, and one cache per JWKS URI."""

from __future__ import annotations

import contextlib
import logging

from syncline.auth.jwks import JwksCache
from syncline.auth.keys import KeySource, StaticKeys
from syncline.auth.verifier import TokenVerifier
from syncline.service.settings import ClientAuthSettings

__all__ = ["make_verifier"]

log = logging.getLogger(__name__)


def make_verifier(settings: ClientAuthSettings, closing: contextlib.AsyncExitStack) -> TokenVerifier:
    """The verifier of this configuration. Raises ConfigError for a key or URI that cannot be used (PSYNC_S3102, PSYNC_S3103)."""
    uris = [settings.jwks_uri] if isinstance(settings.jwks_uri, str) else settings.jwks_uri or []
    sources: list[KeySource] = []
    if settings.jwks.keys:
        sources.append(StaticKeys.from_jwks(settings.jwks.keys))
    for uri in uris:
        cache = JwksCache(uri)
        closing.push_async_callback(cache.close)
        sources.append(cache)
    if not sources:
        log.warning(
            "No keys are configured: every token will be refused. Set client_auth.jwks_uri or client_auth.jwks.keys.",
            extra={"event": "service.no_keys"},
        )
    if not settings.audience:
        log.warning(
            "client_auth.audience is empty: every token will be refused (PSYNC_S2105).",
            extra={"event": "service.no_audience"},
        )
    log.info(
        "Keys: %d in the configuration, %d JWKS URIs",
        len(settings.jwks.keys),
        len(uris),
        extra={"event": "service.keys"},
    )
    return TokenVerifier(sources, settings.audience)
