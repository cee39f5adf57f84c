"""The URI of a key set: whether it can be used, and how it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncline.errors import ConfigError

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["masked_uri", "parse_jwks_uri"]

_HINT = "https://auth.example.com/.well-known/jwks.json"


def parse_jwks_uri(text: str) -> URL:
    """The URI. Raises ConfigError with PSYNC_S3103 for a scheme that is not http(s), PSYNC_S3102 for what is no URI; never shows it."""
    from yarl import URL  # not everybody has such a URI

    try:
        uri = URL(text.strip())
    except ValueError:
        raise ConfigError("client_auth.jwks_uri is not a valid URI.", code="PSYNC_S3102", hint=_HINT) from None
    if not uri.scheme:
        raise ConfigError("client_auth.jwks_uri is not a complete URI.", code="PSYNC_S3102", hint=_HINT)
    if uri.scheme not in {"http", "https"}:
        raise ConfigError("client_auth.jwks_uri must begin with http:// or https://.", code="PSYNC_S3103", hint=_HINT)
    if not uri.host:
        raise ConfigError("client_auth.jwks_uri has no host.", code="PSYNC_S3102", hint=_HINT)
    return uri


def masked_uri(uri: URL) -> str:
    """The URI without user, password, query and fragment, for logs."""
    return str(uri.with_user(None).with_query(None).with_fragment(None))
