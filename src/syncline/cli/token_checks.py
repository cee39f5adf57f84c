"""Whether the keys that a service knows verify a token: those of its configuration, or of a key set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from syncline.auth.claims import MAX_LIFETIME_S
from syncline.auth.jwk import VerificationKey
from syncline.auth.jwks import JwksCache
from syncline.auth.keys import KeySource, StaticKeys
from syncline.auth.token_parts import split_token
from syncline.auth.verifier import TokenVerifier
from syncline.backend.auth.service_config import ServiceConfigVerifier, read_client_auth
from syncline.cli.exit_codes import CommandFailed
from syncline.errors import AuthError

__all__ = ["TokenCheck", "check_with_key_set", "check_with_service_config"]


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """`refusal` is why no key verifies the signature, empty where one does. Audiences and lifetime are those that the key accepts."""

    refusal: str
    audiences: tuple[str, ...] | None
    lifetime_max_s: int = MAX_LIFETIME_S


class _ConfiguredKeys(ServiceConfigVerifier):
    """Tells which key of a service's configuration verifies a token."""

    async def key_of(self, token: str, now_s: float) -> VerificationKey:
        """The key. Raises AuthError."""
        return await self._verifying_key(split_token(token), now_s)


class _KeySet(TokenVerifier):
    """Tells which key of a key set verifies a token."""

    async def key_of(self, token: str, now_s: float) -> VerificationKey:
        """The key. Raises AuthError."""
        return await self._verifying_key(split_token(token), now_s)


async def check_with_service_config(token: str, path: Path, now_s: float) -> TokenCheck:
    """The signature against all keys of a `service.yaml`; a key set of `jwks_uri` is fetched. Raises ConfigError."""
    settings = read_client_auth(path)
    verifier = _ConfiguredKeys(settings)
    try:
        return await _checked(verifier, token, now_s, tuple(settings.audience))
    finally:
        await verifier.close()


async def check_with_key_set(token: str, place: str, now_s: float, audiences: Sequence[str]) -> TokenCheck:
    """The signature against the keys of a file or address. Raises CommandFailed, ConfigError."""
    accepted = tuple(audiences) or None
    if place.startswith(("http://", "https://")):
        cache = JwksCache(place)
        try:
            return await _checked(_KeySet(cache, audiences), token, now_s, accepted)
        finally:
            await cache.close()
    return await _checked(_KeySet(_file_keys(Path(place)), audiences), token, now_s, accepted)


async def _checked(
    verifier: _ConfiguredKeys | _KeySet, token: str, now_s: float, audiences: tuple[str, ...] | None
) -> TokenCheck:
    try:
        key = await verifier.key_of(token, now_s)
    except AuthError as exc:
        return TokenCheck(str(exc), audiences)
    if key.rules is not None:  # such as those of Supabase's keys
        return TokenCheck("", tuple(sorted(key.rules.audiences)), key.rules.max_lifetime_s)
    return TokenCheck("", audiences)


def _file_keys(path: Path) -> KeySource:
    try:
        document: object = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise CommandFailed(f"{path} cannot be read as a key set: {type(exc).__name__}.") from None
    keys: object = cast("dict[str, Any]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise CommandFailed(f"{path} is no key set.", hint='It is JSON: {"keys": […]}')
    return StaticKeys.from_jwks(cast("list[dict[str, Any]]", keys))
