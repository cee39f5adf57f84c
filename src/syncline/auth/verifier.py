"""Who asks: verifies a JSON Web Token (configuration reference, section 4; codes in section 5).

Verified tokens are not cached: a token is checked once for a stream that lasts for minutes, and a cache would have to learn of every
key that is withdrawn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

import orjson

from syncline.auth.claims import CLOCK_TOLERANCE_S, MAX_LIFETIME_S, ClaimRules, VerifiedToken, check_claims
from syncline.auth.jwk import VerificationKey
from syncline.auth.keys import KeySource, select_keys
from syncline.auth.revocation import RevocationList
from syncline.auth.token_parts import TOKEN_BYTES_MAX, SplitToken, parse_authorization, split_token
from syncline.errors import AudienceMismatch, KeysUnavailable, TokenInvalid

__all__ = [
    "CLOCK_TOLERANCE_S",
    "MAX_LIFETIME_S",
    "TOKEN_BYTES_MAX",
    "UNKNOWN_KEY_LOG_INTERVAL_S",
    "TokenVerifier",
    "VerifiedToken",
    "parse_authorization",
]

log = logging.getLogger(__name__)

UNKNOWN_KEY_LOG_INTERVAL_S = 10  # seconds between log lines about unknown key ids, which anybody can send
_KEY_IDS_SHOWN_MAX = 20  # key ids in such a line
_KEY_ID_SHOWN_MAX = 100  # characters of a token's key id in such a line


class TokenVerifier:
    """Verifies tokens against the keys of one or more sources.

    `audiences` are the accepted `aud` values; with none, every token is refused but those of keys with rules of their own.
    `development` adds the accepted audiences to the answer about a wrong one; else they are in the log only. `revocations` names
    users whose tokens are refused whatever they say.
    """

    def __init__(
        self,
        keys: KeySource | Sequence[KeySource],
        audiences: Iterable[str],
        *,
        max_lifetime_s: int = MAX_LIFETIME_S,
        development: bool = False,
        revocations: RevocationList | None = None,
    ) -> None:
        self._sources: list[KeySource] = list(keys) if isinstance(keys, Sequence) else [keys]
        self._rules = ClaimRules(frozenset(audiences), max_lifetime_s)
        self._development = development
        self._revocations = revocations
        self._unknown_key_logged_s: float | None = None

    async def verify(self, token: str, *, now_s: float) -> VerifiedToken:
        """Check signature and claims at `now_s` (seconds since 1970).

        Raises TokenInvalid, TokenExpired, TokenLifetimeTooLong, AudienceMismatch, or KeysUnavailable when the key may be one
        that could not be fetched. Waits only for a source that has no usable keys, when no key at hand fits.
        """
        parts = split_token(token)
        key = await self._verifying_key(parts, now_s)
        rules = key.rules or self._rules
        try:
            verified = check_claims(parts.payload(), rules, now_s=now_s)
        except AudienceMismatch as exc:
            raise self._explained(exc, rules) from None
        if self._revocations is not None and self._revocations.is_revoked(verified.user_id, now_s):
            raise TokenInvalid("The access of this user has been revoked.", hint="Sign in again, or ask the operator.")
        return verified

    async def _verifying_key(self, token: SplitToken, now_s: float) -> VerificationKey:
        """The key that verifies the signature. Raises TokenInvalid or KeysUnavailable."""
        keys = [key for source in self._sources for key in source.cached()]
        lacking = [source for source in self._sources if not source.cached()]
        failure: KeysUnavailable | None = None
        if lacking and not _has_id(keys, token.kid):  # it may be a key of theirs
            if token.kid is None and (key := _first_verifying(keys, token)):
                return key
            fetched, failure = await _fetch(lacking)
            keys += fetched
        if key := _first_verifying(keys, token):
            return key
        if _has_id(keys, token.kid):
            raise _refusal(keys, token)
        self._report_unknown_key(keys, token, now_s)
        for source in self._sources:  # the key may be a new one
            source.key_missing()
        raise failure or _refusal(keys, token)

    def _report_unknown_key(self, keys: Sequence[VerificationKey], token: SplitToken, now_s: float) -> None:
        """Tell the operator which key ids there are: the answer must not. Seldom, for anybody can send unknown ones."""
        last_s = self._unknown_key_logged_s
        if last_s is not None and 0 <= now_s - last_s < UNKNOWN_KEY_LOG_INTERVAL_S:
            return
        self._unknown_key_logged_s = now_s
        known = sorted({str(key.kid) for key in keys if key.kid is not None})[:_KEY_IDS_SHOWN_MAX]
        wildcards = sum(key.kid is None for key in keys)
        log.warning(
            "No known key verifies a token",
            extra={
                "event": "auth.unknown_key",
                "received": _shown(token.kid),
                "algorithm": token.algorithm,
                "known": orjson.dumps(known).decode(),
                "keys_without_id": wildcards,
            },
        )

    def _explained(self, exc: AudienceMismatch, rules: ClaimRules) -> AudienceMismatch:
        """The same error, logged with what is accepted; that is in the answer in development only."""
        accepted = ", ".join(sorted(rules.audiences)) or "none"
        received = exc.context["received"]
        log.warning(
            "Audience %s refused; accepted: %s",
            received,
            accepted,
            extra={"event": "auth.audience", "received": received, "accepted": accepted},
        )
        hint = f"Accepted here: {accepted}." if self._development else ""
        return AudienceMismatch(exc.message, hint=hint, received=received)


def _has_id(keys: Iterable[VerificationKey], kid: str | None) -> bool:
    return kid is not None and any(key.kid == kid for key in keys)


def _first_verifying(keys: Iterable[VerificationKey], token: SplitToken) -> VerificationKey | None:
    for key in select_keys(keys, kid=token.kid, algorithm=token.algorithm):
        if key.verifies(token.algorithm, token.signed, token.signature):
            return key
    return None


def _refusal(keys: Iterable[VerificationKey], token: SplitToken) -> TokenInvalid:
    """Why no key verifies the token. The answer names no key of ours."""
    selected = select_keys(keys, kid=token.kid, algorithm=token.algorithm)
    if not selected:
        return TokenInvalid("No known key has this token's key id.", hint="Compare `kid` with the configured keys.")
    if not any(key.allows(token.algorithm) for key in selected):
        return TokenInvalid("The token's algorithm does not fit its key.")
    return TokenInvalid("Signature verification failed.")


async def _fetch(sources: Iterable[KeySource]) -> tuple[list[VerificationKey], KeysUnavailable | None]:
    """Keys of the sources that can be fetched, all at the same time, and the failure of one that cannot."""
    results = await asyncio.gather(*(_keys_of(source) for source in sources))
    failures = [result for result in results if isinstance(result, KeysUnavailable)]
    keys = [key for result in results if not isinstance(result, KeysUnavailable) for key in result]
    return keys, failures[0] if failures else None


async def _keys_of(source: KeySource) -> Sequence[VerificationKey] | KeysUnavailable:
    try:
        return await source.keys()
    except KeysUnavailable as failure:
        return failure


def _shown(kid: str | None) -> str:
    """A key id that a stranger chose, for a log line: short, and without line breaks."""
    return "none" if kid is None else orjson.dumps(kid[:_KEY_ID_SHOWN_MAX]).decode()
