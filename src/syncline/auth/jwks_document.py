"""A key set as it was downloaded: which of its keys are used (configuration reference, 4, "JWKS fetch"; RFC 7517, 5)."""

from __future__ import annotations

import logging
from typing import Any, cast

import orjson

from syncline.auth.claims import ClaimRules
from syncline.auth.jwk import VerificationKey, read_key
from syncline.auth.keys import KEYS_PER_ID_MAX, crowded_ids
from syncline.errors import ConfigError

__all__ = ["KEYS_MAX", "JwksFailed", "read_key_set"]

log = logging.getLogger(__name__)

KEYS_MAX = 1000  # keys of a key set: reading one holds up the event loop for about 0.02 ms


class JwksFailed(Exception):
    """A key set cannot be fetched or read. The text is for our log; `code` may be told to clients."""

    def __init__(self, reason: str, *, code: str = "PSYNC_S2204") -> None:
        super().__init__(reason)
        self.code = code


def read_key_set(body: bytes, rules: ClaimRules | None = None) -> tuple[VerificationKey, ...]:
    """The usable keys: public ones, to verify signatures with. Others are skipped. Raises JwksFailed for what is no key set.

    A key set without a usable key is one: that is how an issuer withdraws its keys.
    """
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise JwksFailed("the document is not JSON") from None
    listed: object = cast("dict[str, Any]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise JwksFailed("the document is not a key set: it has no list `keys`")
    listed = cast("list[object]", listed)
    if len(listed) > KEYS_MAX:
        raise JwksFailed(f"the key set has {len(listed)} keys, more than {KEYS_MAX}")
    keys = [key for index, jwk in enumerate(listed) if (key := _usable(jwk, f"keys[{index}]", rules)) is not None]
    crowded = crowded_ids(keys)
    if crowded:
        raise JwksFailed(f"the key set has more than {KEYS_PER_ID_MAX} keys with one key id, or without one")
    return tuple(keys)


def _usable(jwk: object, where: str, rules: ClaimRules | None) -> VerificationKey | None:
    if not isinstance(jwk, dict):
        return None
    jwk = cast("dict[str, Any]", jwk)
    if not _for_signatures(jwk):
        return None
    if "d" in jwk:
        log.warning(
            "The key set publishes a private key: anybody can sign tokens with it", extra={"event": "auth.leak"}
        )
    try:
        return read_key(jwk, where=where, rules=rules)
    except ConfigError as exc:
        log.info("A key of the key set is skipped: %s", exc.message, extra={"event": "auth.key_skipped"})
        return None


def _for_signatures(jwk: dict[str, Any]) -> bool:
    """Whether the key is public and meant to verify signatures. A shared secret that anyone can download is no secret."""
    operations: object = jwk.get("key_ops")
    return (
        jwk.get("kty") != "oct"
        and jwk.get("use") in (None, "sig")
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
    )
