"""Where keys come from, and which of them fits a token (configuration reference, 4, rule 3)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from syncline.auth.jwk import CODE, VerificationKey, read_key
from syncline.errors import ConfigError

__all__ = [
    "KEYS_PER_ID_MAX",
    "SECRET_BYTES_MIN",
    "KeySource",
    "StaticKeys",
    "crowded_ids",
    "select_keys",
    "warn_of_short_secret",
]

log = logging.getLogger(__name__)

SECRET_BYTES_MIN = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes of a shared secret below which its owner is warned (RFC 7518, 3.2)."""

KEYS_PER_ID_MAX = 16  # keys of one source that share a key id, or have none: one token may cost that many verifications


class KeySource(Protocol):
    """Where keys come from: the configuration, or a JWKS URI."""

    def cached(self) -> Sequence[VerificationKey]:
        """Usable keys at hand, without waiting."""
        ...

    async def keys(self) -> Sequence[VerificationKey]:
        """Usable keys, fetched when there are none. Raises KeysUnavailable."""
        ...

    def key_missing(self) -> None:
        """A token named a key that is not among `keys`: fetch again in the background, if that is due."""
        ...


class StaticKeys:
    """Keys that are written into the configuration, or belong to a signer of our own."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_jwks(cls, jwks: Iterable[Mapping[str, Any]]) -> StaticKeys:
        """`client_auth.jwks.keys`. Raises ConfigError, which names the entry by its index; warns of a short secret."""
        keys: list[VerificationKey] = []
        for index, jwk in enumerate(jwks):
            where = f"client_auth.jwks.keys[{index}]"
            key = read_key(jwk, where=where)
            if key.family == "RSA" and key.kid is None:  # configuration reference, 2.3
                raise ConfigError(
                    f"{where}.kid is missing.", code=CODE, hint="An RSA key needs the `kid` that its tokens name."
                )
            warn_of_short_secret(key, f"{where}.k")
            keys.append(key)
        if crowded_ids(keys):
            raise ConfigError(
                f"client_auth.jwks.keys has more than {KEYS_PER_ID_MAX} keys with one `kid`, or without one.",
                code=CODE,
                hint="All of them would be tried for one token. Give each key a `kid` of its own.",
            )
        return cls(keys)

    def cached(self) -> Sequence[VerificationKey]:
        """All keys."""
        return self._keys

    async def keys(self) -> Sequence[VerificationKey]:
        """All keys."""
        return self._keys

    def key_missing(self) -> None:
        """Nothing to fetch."""


def select_keys(keys: Iterable[VerificationKey], *, kid: str | None, algorithm: str) -> list[VerificationKey]:
    """The keys to try for a token: those of its `kid`, even where the algorithm does not fit, else all fitting ones without.

    Two sources may each have a key of one `kid`; then both are tried.
    """
    found = list(keys)
    named = [key for key in found if kid is not None and key.kid == kid]
    if named:
        return named
    return [key for key in found if key.kid is None and key.allows(algorithm)]


def crowded_ids(keys: Iterable[VerificationKey]) -> set[str | None]:
    """Key ids (None: no id) that more than KEYS_PER_ID_MAX of these keys have."""
    return {kid for kid, count in Counter(key.kid for key in keys).items() if count > KEYS_PER_ID_MAX}


def warn_of_short_secret(key: VerificationKey, where: str) -> None:
    """A short secret works, as it does in the reference; it can be guessed from one token, so its owner should know."""
    least = SECRET_BYTES_MIN.get(key.algorithm or "", 0)
    if key.family == "oct" and len(key.material) < least:
        log.warning(
            "%s has %d bytes; %s needs %d or more random bytes (RFC 7518, 3.2). "
            "Make a longer one: python -c 'import secrets; print(secrets.token_urlsafe(%d))'",
            where,
            len(key.material),
            key.algorithm,
            least,
            least,
            extra={"event": "auth.short_secret"},
        )
