"""Tokens of Supabase Auth (configuration reference, 2.3): their key set, their shared secret, and their claims."""

from __future__ import annotations

import base64
import re

from syncline.auth.claims import ClaimRules
from syncline.auth.jwk import VerificationKey, read_key
from syncline.auth.keys import warn_of_short_secret

__all__ = ["SUPABASE_LIFETIME_S", "SUPABASE_RULES", "supabase_jwks_uri", "supabase_key"]

SUPABASE_LIFETIME_S = 7 * 86_400 + 20 * 60  # a week, the longest that a project can set, and 20 minutes of tolerance
SUPABASE_RULES = ClaimRules(frozenset({"authenticated"}), SUPABASE_LIFETIME_S)
_PROJECT_HOST = re.compile(r"db\.([a-z0-9-]{1,63})\.supabase\.co\.?")


def supabase_jwks_uri(source_host: str | None) -> str | None:
    """Where the project behind a Supabase database publishes its keys; None for any other host.

    The direct host names the project, `db.<project>.supabase.co`. The pooler's does not, and cannot replicate either.
    """
    match = _PROJECT_HOST.fullmatch((source_host or "").lower())
    return f"https://{match[1]}.supabase.co/auth/v1/.well-known/jwks.json" if match else None


def supabase_key(secret: str) -> VerificationKey:
    """The wildcard key of a project that still signs with its shared secret (`client_auth.supabase_jwt_secret`).

    The secret's text is the key: it is not decoded. Raises ConfigError for an empty one.
    """
    where = "client_auth.supabase_jwt_secret"
    encoded = base64.urlsafe_b64encode(secret.encode()).decode()
    key = read_key({"kty": "oct", "alg": "HS256", "k": encoded}, where=where, rules=SUPABASE_RULES)
    warn_of_short_secret(key, where)
    return key
