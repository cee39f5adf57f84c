"""Keys behind a JWKS URI, kept fresh without holding up requests (configuration reference, 4, "JWKS fetch")."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from syncline.auth.keys import VerificationKey, read_key
from syncline.errors import ConfigError, KeysUnavailable

__all__ = [
    "DOCUMENT_BYTES_MAX",
    "FETCH_BURST",
    "FETCH_INTERVAL_S",
    "FETCH_TIMEOUT_S",
    "FRESH_S",
    "KEYS_MAX",
    "MISSING_KEY_COOLDOWN_S",
    "REDIRECTS_MAX",
    "USABLE_S",
    "WAIT_S",
    "JwksCache",
]

log = logging.getLogger(__name__)

FRESH_S = 300  # seconds after which a request causes a fetch in the background
USABLE_S = 3600  # seconds for which fetched keys are used when no fetch succeeds
WAIT_S = 3.0  # seconds that a request waits when there is no usable key
FETCH_TIMEOUT_S = 30.0  # seconds of one fetch
FETCH_BURST = 10  # fetches in a row before they are spaced
FETCH_INTERVAL_S = 60.0  # seconds in which one more fetch is allowed after a burst
MISSING_KEY_COOLDOWN_S = 5.0  # seconds between fetches that unknown key ids cause
DOCUMENT_BYTES_MAX = 1024 * 1024  # bytes of a JWKS document
KEYS_MAX = 1000  # keys of a JWKS document
REDIRECTS_MAX = 3  # redirects of one fetch, within the origin
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class JwksCache:
    """The keys of one URI. Use one per URI; `close` ends a fetch that runs. `clock` is monotonic seconds."""

    def __init__(self, uri: str, *, clock: Callable[[], float] = time.monotonic, wait_s: float = WAIT_S) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in {"http", "https"}:
            raise ConfigError(
                "client_auth.jwks_uri must begin with http:// or https://.", code="PSYNC_S3103", hint="https://…/jwks"
            )
        if not parts.hostname:
            raise ConfigError("client_auth.jwks_uri is not a valid URI.", code="PSYNC_S3102", hint="https://…/jwks")
        self._uri = uri
        self._clock = clock
        self._wait_s = wait_s
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched_s: float | None = None
        self._missing_key_s: float | None = None
        self._allowance = float(FETCH_BURST)
        self._allowance_s = clock()
        self._fetch: asyncio.Task[None] | None = None

    def cached(self) -> Sequence[VerificationKey]:
        """Keys that were fetched within USABLE_S; older ones than FRESH_S cause a fetch in the background."""
        if not self._usable():
            return ()
        if (self._age_s() or 0) > FRESH_S:
            self._begin_fetch()
        return self._keys

    async def keys(self) -> Sequence[VerificationKey]:
        """Usable keys, fetched when there are none. Raises KeysUnavailable after WAIT_S at most."""
        if not self._usable():
            fetch = self._begin_fetch()
            if fetch is not None:
                await asyncio.wait({fetch}, timeout=self._wait_s)
        if not self._usable():
            raise KeysUnavailable("The keys to verify tokens with could not be fetched.")
        return self.cached()

    def key_missing(self) -> None:
        """Fetch in the background, once in MISSING_KEY_COOLDOWN_S, so that a retry after a key rotation succeeds soon."""
        now_s = self._clock()
        if self._missing_key_s is None or now_s - self._missing_key_s >= MISSING_KEY_COOLDOWN_S:
            self._missing_key_s = now_s
            self._begin_fetch()

    async def close(self) -> None:
        """End a fetch that runs."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait({self._fetch})

    def _usable(self) -> bool:
        age_s = self._age_s()
        return age_s is not None and age_s <= USABLE_S

    def _age_s(self) -> float | None:
        return None if self._fetched_s is None else self._clock() - self._fetched_s

    def _begin_fetch(self) -> asyncio.Task[None] | None:
        """The fetch that runs, or a new one; None when too many were made."""
        if self._fetch is not None and not self._fetch.done():
            return self._fetch
        now_s = self._clock()
        earned = (now_s - self._allowance_s) / FETCH_INTERVAL_S
        self._allowance, self._allowance_s = min(float(FETCH_BURST), self._allowance + earned), now_s
        if self._allowance < 1:
            return None
        self._allowance -= 1
        self._fetch = asyncio.create_task(self._fetch_once(), name="jwks-fetch")
        return self._fetch

    async def _fetch_once(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                keys = _read_document(await self._download())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            log.warning("JWKS not fetched: %s", exc, extra={"event": "auth.jwks_failed", "uri": _shown(self._uri)})
            return
        if not keys:
            shown = _shown(self._uri)
            log.warning(
                "The JWKS has no usable key: tokens are refused until it has",
                extra={"event": "auth.jwks_empty", "uri": shown},
            )
        self._keys, self._fetched_s = keys, self._clock()

    async def _download(self) -> bytes:
        uri = URL(self._uri)
        async with aiohttp.ClientSession(headers={"Accept": "application/json"}) as session:
            for _ in range(REDIRECTS_MAX + 1):
                async with session.get(uri, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await _read_body(response)
                    uri = _redirected(uri, response.headers.get("Location", ""))
        raise ValueError(f"more than {REDIRECTS_MAX} redirects")


def _redirected(uri: URL, location: str) -> URL:
    """Where a redirect leads. Raises ValueError for another origin: only the host that was configured is trusted with keys."""
    target = uri.join(URL(location))
    if target.origin() != uri.origin():
        raise ValueError("the URI redirects to another origin; configure client_auth.jwks_uri with the final address")
    return target


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises ValueError for a status other than 200, or above DOCUMENT_BYTES_MAX."""
    if response.status != 200:
        raise ValueError(f"HTTP status {response.status}")
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > DOCUMENT_BYTES_MAX:
            raise ValueError(f"the document is larger than {DOCUMENT_BYTES_MAX} bytes")
    return bytes(body)


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


def _read_document(body: bytes) -> tuple[VerificationKey, ...]:
    """The usable keys: signature keys with a public part. Others are skipped. Raises ValueError for what is no key set.

    A key set without a usable key is one: that is how an issuer withdraws its keys.
    """
    try:
        document = msgspec.json.decode(body, type=_Document)
    except RecursionError as exc:
        raise ValueError("the document is nested too deeply") from exc
    keys: list[VerificationKey] = []
    for jwk in document.keys[:KEYS_MAX]:
        if not _for_signatures(jwk):
            continue
        try:
            keys.append(read_key(jwk))
        except ConfigError as exc:
            log.info("A key of the JWKS is skipped: %s", exc.message, extra={"event": "auth.key_skipped"})
    return tuple(keys)


def _for_signatures(jwk: dict[str, Any]) -> bool:
    """Whether the key is public and meant to verify signatures. A shared secret that anyone can download is no secret."""
    operations: object = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("kty") != "oct"
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _shown(uri: str) -> str:
    """The URI without user, password and query, for logs."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"
