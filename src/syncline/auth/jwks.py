"""Keys behind a JWKS URI, kept fresh without holding up requests (configuration reference, 4, "JWKS fetch")."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from syncline.auth.claims import ClaimRules
from syncline.auth.jwk import VerificationKey
from syncline.auth.jwks_document import JwksFailed, read_key_set
from syncline.auth.jwks_uri import masked_uri, parse_jwks_uri
from syncline.errors import KeysUnavailable

__all__ = [
    "FETCH_BURST",
    "FETCH_INTERVAL_S",
    "FRESH_S",
    "MISSING_KEY_COOLDOWN_S",
    "USABLE_S",
    "WAIT_S",
    "JwksCache",
]

log = logging.getLogger(__name__)

FRESH_S = 300  # seconds after which a request causes a fetch in the background
USABLE_S = 3600  # seconds for which fetched keys are used when no fetch succeeds
WAIT_S = 3.0  # seconds that a request waits when there is no usable key
FETCH_BURST = 10  # fetches in a row before they are spaced
FETCH_INTERVAL_S = 60.0  # seconds in which one more fetch is allowed after a burst
MISSING_KEY_COOLDOWN_S = 5.0  # seconds between fetches that unknown key ids cause


class JwksCache:
    """The keys of one URI. Use one per URI; `close` ends a fetch that runs.

    `download` brings the document, or raises JwksFailed; None is an HTTP GET of any address. `clock` is monotonic seconds. `rules`
    are for tokens of these keys. Raises ConfigError (PSYNC_S3102, PSYNC_S3103) for a URI that cannot be fetched.
    """

    def __init__(
        self,
        uri: str,
        *,
        download: Callable[[], Awaitable[bytes]] | None = None,
        rules: ClaimRules | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
    ) -> None:
        parsed = parse_jwks_uri(uri)
        self._masked_uri = masked_uri(parsed)
        if download is None:
            from syncline.auth.jwks_download import JwksDownload  # an HTTP client: slow to import, and not everybody's

            download = JwksDownload(parsed)
        self._download = download
        self._rules = rules
        self._clock = clock
        self._wait_s = wait_s
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched_s: float | None = None
        self._failure_code = KeysUnavailable.code
        self._missing_key_s: float | None = None
        self._allowance = float(FETCH_BURST)
        self._allowance_s = clock()
        self._fetch: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Fetch in the background. Call at start: the log then shows whether the URI works, before the first client comes."""
        self._begin_fetch()

    def cached(self) -> Sequence[VerificationKey]:
        """Keys that were fetched within USABLE_S; older ones than FRESH_S cause a fetch in the background."""
        age_s = self._age_s()
        if age_s is None or age_s > USABLE_S:
            return ()
        if age_s > FRESH_S:
            self._begin_fetch()
        return self._keys

    async def keys(self) -> Sequence[VerificationKey]:
        """Usable keys, fetched when there are none. Raises KeysUnavailable after WAIT_S at most.

        Its code is that of the last fetch: PSYNC_S2202 and PSYNC_S2203 where the address is not allowed.
        """
        if not self._usable():
            fetch = self._begin_fetch()
            if fetch is not None:
                await asyncio.wait({fetch}, timeout=self._wait_s)
        if not self._usable():
            raise KeysUnavailable("The keys to verify tokens with could not be fetched.", code=self._failure_code)
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
        uri = self._masked_uri
        try:
            keys = read_key_set(await self._download(), self._rules)
        except JwksFailed as exc:
            self._failure_code = exc.code
            log.warning("JWKS not fetched from %s: %s", uri, exc, extra={"event": "auth.jwks_failed", "uri": uri})
            return
        self._keys, self._fetched_s = keys, self._clock()
        self._failure_code = KeysUnavailable.code
        log.info(
            "JWKS fetched from %s: %d usable keys",
            uri,
            len(keys),
            extra={"event": "auth.jwks_fetched", "uri": uri, "keys": len(keys)},
        )
        if not keys:
            log.warning(
                "The JWKS has no usable key: tokens are refused until it has",
                extra={"event": "auth.jwks_empty", "uri": uri},
            )
