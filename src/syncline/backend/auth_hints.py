"""What to do about a refused token: every refusal says it, by its code. Pure."""

from __future__ import annotations

from syncline.errors import AuthError

__all__ = ["with_hint"]

_HINTS = {
    "PSYNC_S2101": "Fetch a new token; if that is refused too, its issuer and this backend do not have the same keys and clocks.",
    "PSYNC_S2103": "Fetch a new token: clients do that by themselves upon this answer, in fetch_credentials.",
    "PSYNC_S2104": "Issue tokens for a shorter time: 5 to 60 minutes suit a device that can fetch new ones.",
    "PSYNC_S2105": "The token's `aud` must be one of those set up here, letter for letter, with protocol and port.",
    "PSYNC_S2106": "Send the header `Authorization: Bearer <jwt>`.",
    "PSYNC_S2202": "The keys' address is not allowed by client_auth: see the server's log.",
    "PSYNC_S2203": "The keys' address is not allowed by client_auth: see the server's log.",
    "PSYNC_S2204": "The issuer's keys could not be fetched: try again; the server's log says why.",
}


def with_hint(error: AuthError) -> AuthError:
    """The same error, with a hint if it had none."""
    error.hint = error.hint or _HINTS.get(error.error_code, _HINTS["PSYNC_S2101"])
    return error
