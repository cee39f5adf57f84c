"""The credentials of one connection: fetched when needed, kept until they are refused or have expired."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from syncline.client.connector import BackendConnector, Credentials
from syncline.client.errors import CredentialsInvalid, NotSignedIn

__all__ = ["FETCH_TIMEOUT_S", "CredentialCache"]

FETCH_TIMEOUT_S = 60.0  # seconds that one call of fetch_credentials may take


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CredentialCache:
    """Asks the connector once, however many callers wait.

    Credentials that carry `expires_at` are not handed out after it: the service would only refuse them.
    """

    def __init__(self, connector: BackendConnector, *, now: Callable[[], datetime] = _utc_now) -> None:
        self._connector = connector
        self._now = now
        self._credentials: Credentials | None = None
        self._fetches = 0  # successful ones: tells whether somebody else has fetched meanwhile
        self._lock = asyncio.Lock()

    async def get(self) -> Credentials:
        """The kept credentials, or new ones. Raises NotSignedIn, TimeoutError, and what the connector raises."""
        async with self._lock:
            if self._credentials is None or self._credentials.is_expired(self._now()):
                self._credentials = None
                self._credentials = await self._fetch()
            return self._credentials

    async def prefetch(self) -> None:
        """Replace the kept credentials while they still work. Two at a time are one; a failure leaves the kept ones."""
        fetches = self._fetches
        async with self._lock:
            if self._fetches == fetches:
                self._credentials = await self._fetch()

    def invalidate(self) -> None:
        """Forget the kept credentials: they were refused, or have expired."""
        self._credentials = None

    async def _fetch(self) -> Credentials:
        async with asyncio.timeout(FETCH_TIMEOUT_S):
            credentials = await self._connector.fetch_credentials()
        if credentials is None:
            raise NotSignedIn
        if not isinstance(credentials, Credentials):  # pyright: ignore[reportUnnecessaryIsInstance] - an app's code
            raise CredentialsInvalid(
                f"fetch_credentials returned {type(credentials).__name__}.",
                hint="Return Credentials(endpoint=..., token=...) or None.",
            )
        self._fetches += 1
        return credentials
