"""Requests to the backend with the user's token: none goes without, and a refused one is replaced once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from syncline.client.connectors.backend_client import Answer, BackendClient, Exchange
from syncline.client.connectors.outcomes import failed
from syncline.client.errors import AuthFailed

__all__ = ["AuthorizedBackend"]


class AuthorizedBackend:
    """What an uploader sends through. `token` raises NotSignedIn; `drop` forgets the one that was refused."""

    def __init__(
        self,
        client: BackendClient,
        exchange: Exchange,
        *,
        token: Callable[[], Awaitable[str]],
        drop: Callable[[], None],
    ) -> None:
        self._client = client
        self._exchange = exchange
        self._token = token
        self._drop = drop

    def url(self, path: str) -> str:
        """A path as an address of the backend."""
        return self._client.url(path)

    async def request(
        self,
        method: str,
        path: str,
        *,
        value: Any = None,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send `value` as JSON, or `body` as it is; any status but 401 is the caller's to read.

        Raises NotSignedIn, ConnectionFailed, and AuthFailed where a new token is refused too.
        """
        url = self.url(path)
        sent: dict[str, str] = {}
        if value is not None:
            body = msgspec.json.encode(value)
        if body is not None:
            sent["content-type"] = "application/json"
        sent |= {name.lower(): text for name, text in (headers or {}).items()}
        for attempt in (1, 2):
            bearer = {"authorization": f"Bearer {await self._token()}"}
            answer = await self._exchange.request(method, url, body=body, params=params, headers=sent | bearer)
            if answer.status == 403:
                self._drop()  # the next attempt gets a token with the roles of its day; this one has its answer
            if answer.status != 401:
                return answer
            self._drop()
            if attempt == 2:
                raise AuthFailed(failed(answer, url).message, status_code=401)
        raise AssertionError("unreachable")
