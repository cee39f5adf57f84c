"""The credentials of one connection: fetched when needed, kept until they are refused."""

from __future__ import annotations

import asyncio

from syncline.client.connector import BackendConnector, Credentials
from syncline.client.errors import CredentialsInvalid, NotSignedIn

__all__ = ["FETCH_TIMEOUT_S", "CredentialCache"]

FETCH_TIMEOUT_S = 60.0  # seconds that one call of fetch_credentials may take


class CredentialCache:
    """Asks the connector once, however many callers wait."""

    def __init__(self, connector: BackendConnector) -> None:
        self._connector = connector
        self._credentials: Credentials | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Credentials:
        """The kept credentials, or new ones. Raises NotSignedIn, TimeoutError, and what the connector raises."""
        async with self._lock:
            if self._credentials is None:
                self._credentials = await self._fetch()
            return self._credentials

    async def prefetch(self) -> None:
        """Replace the kept credentials while they still work."""
        async with self._lock:
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
        return credentials
