"""From `client_auth` of the configuration to a verifier: keys written in the file, and one cache per JWKS URI."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from syncline.auth.addresses import AddressRules, read_address_rules
from syncline.auth.claims import ClaimRules
from syncline.auth.jwks import JwksCache
from syncline.auth.jwks_uri import parse_jwks_uri
from syncline.auth.keys import KeySource, StaticKeys
from syncline.auth.revocation import RevocationList
from syncline.auth.supabase import SUPABASE_RULES, supabase_jwks_uri, supabase_key
from syncline.auth.verifier import TokenVerifier
from syncline.service.settings import ClientAuthSettings

__all__ = ["make_verifier"]

if TYPE_CHECKING:
    from yarl import URL

    MakeDownload = Callable[[URL, AddressRules], Callable[[], Awaitable[bytes]]]

log = logging.getLogger(__name__)


def _http_download(uri: URL, addresses: AddressRules) -> Callable[[], Awaitable[bytes]]:
    from syncline.auth.jwks_download import JwksDownload  # an HTTP client: a fifth of all imports, and not everybody's

    return JwksDownload(uri, addresses=addresses)


def make_verifier(
    settings: ClientAuthSettings,
    closing: contextlib.AsyncExitStack,
    *,
    source_host: str | None = None,
    revocations: RevocationList | None = None,
    make_download: MakeDownload = _http_download,
) -> TokenVerifier:
    """The verifier of this configuration. Call in the event loop that serves requests: keys are fetched from now on.

    `source_host` is that of the source database, which names a Supabase project. The caches are closed with `closing`.
    `make_download` is how a document comes from a URI whose addresses are allowed; tests bring their own.

    Raises ConfigError for a URI (PSYNC_S3102, PSYNC_S3103), a key or a range (PSYNC_S2201) that cannot be used.
    """
    addresses = read_address_rules(block_local=settings.block_local_jwks, ranges=settings.jwks_reject_ip_ranges)
    static: list[KeySource] = list(_static_keys(settings))
    caches = [
        JwksCache(uri, download=make_download(parse_jwks_uri(uri), addresses), rules=rules)
        for uri, rules in _jwks_uris(settings, source_host).items()
    ]
    for cache in caches:
        closing.push_async_callback(cache.close)
        cache.begin()
    _report(settings, bool(static), len(caches))
    return TokenVerifier([*static, *caches], settings.audience, revocations=revocations)


def _static_keys(settings: ClientAuthSettings) -> Iterator[StaticKeys]:
    if settings.jwks.keys:
        yield StaticKeys.from_jwks(settings.jwks.keys)
    if settings.supabase_jwt_secret and settings.supabase:
        yield StaticKeys([supabase_key(settings.supabase_jwt_secret)])


def _jwks_uris(settings: ClientAuthSettings, source_host: str | None) -> dict[str, ClaimRules | None]:
    """Each URI once, with the rules of its keys; None: those of the configuration."""
    listed = [settings.jwks_uri] if isinstance(settings.jwks_uri, str) else settings.jwks_uri or []
    uris: dict[str, ClaimRules | None] = dict.fromkeys(listed)
    found = supabase_jwks_uri(source_host) if settings.supabase else None
    if found is not None:
        uris[found] = SUPABASE_RULES
    return uris


def _report(settings: ClientAuthSettings, static: bool, uris: int) -> None:
    """Tell at start what would otherwise only show in refused tokens."""
    log.info(
        "Keys: %d in the configuration, %d JWKS URIs", len(settings.jwks.keys), uris, extra={"event": "service.keys"}
    )
    if not static and not uris:
        hint = "Set client_auth.jwks_uri or client_auth.jwks.keys."
        if settings.supabase:
            hint = (
                "client_auth.supabase finds the keys of a project where the source is db.<project>.supabase.co; "
                "for another host set client_auth.jwks_uri, and authenticated as audience."
            )
        _warn(f"No keys are configured: every token will be refused. {hint}", "service.no_keys")
    if not settings.audience and (settings.jwks.keys or settings.jwks_uri):
        _warn(
            "client_auth.audience is empty: tokens of your keys will be refused (PSYNC_S2105).", "service.no_audience"
        )
    if settings.supabase_jwt_secret and not settings.supabase:
        _warn("client_auth.supabase_jwt_secret has no effect without supabase: true.", "service.no_supabase")


def _warn(message: str, event: str) -> None:
    log.warning("%s", message, extra={"event": event})
