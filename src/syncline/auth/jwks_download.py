"""One GET of a key set: within a time, a size, the origin that was configured, and the addresses that are allowed."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from syncline.auth.addresses import ANY_ADDRESS, AddressRules
from syncline.auth.jwks_document import JwksFailed

__all__ = ["DOCUMENT_BYTES_MAX", "FETCH_TIMEOUT_S", "REDIRECTS_MAX", "JwksDownload"]

FETCH_TIMEOUT_S = 30.0  # seconds of one fetch, redirects included
DOCUMENT_BYTES_MAX = 1024 * 1024  # bytes of a key set, decompressed
REDIRECTS_MAX = 3  # redirects of one fetch
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class JwksDownload:
    """Downloads one URI. `resolver` is for tests; None asks the system."""

    def __init__(
        self,
        uri: URL,
        *,
        addresses: AddressRules = ANY_ADDRESS,
        timeout_s: float = FETCH_TIMEOUT_S,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._uri = uri
        self._addresses = addresses
        self._timeout_s = timeout_s
        self._resolver = resolver

    async def __call__(self) -> bytes:
        """The document. Raises JwksFailed: PSYNC_S2202, PSYNC_S2203 for a refused address where no other answers; else PSYNC_S2204."""
        refused: list[str] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._download(refused)
        except TimeoutError:
            raise JwksFailed(f"no complete answer within {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            code = refused[0] if refused and isinstance(exc, OSError) else "PSYNC_S2204"
            raise JwksFailed(_reason(exc), code=code) from None

    async def _download(self, refused: list[str]) -> bytes:
        """Every connection of this fetch is checked where its socket is made, with the very address that it goes to.

        So neither a redirect nor a name that resolves to another address the second time gets round the rules. Proxies of the
        environment are not used, because the address would be theirs.
        """

        def open_socket(address: tuple[Any, ...]) -> socket.socket:
            family, kind, protocol, _, target = address
            code = self._addresses.refusal(target[0])
            if code is not None:
                refused.append(code)
                raise PermissionError(errno.EACCES, f"the address {target[0]} is not allowed by client_auth")
            return socket.socket(family, kind, protocol)

        connector = aiohttp.TCPConnector(
            resolver=self._resolver, socket_factory=open_socket, use_dns_cache=False, force_close=True
        )
        headers = {"Accept": "application/json"}
        uri = self._uri
        async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session:
            for _ in range(REDIRECTS_MAX + 1):
                async with session.get(uri, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await _read_body(response)
                    uri = _redirected(uri, response.headers.get("Location", ""))
        raise JwksFailed(f"more than {REDIRECTS_MAX} redirects")


def _redirected(uri: URL, location: str) -> URL:
    """Where a redirect leads. Only the host that was configured is trusted with keys: the same origin, or its https.

    Raises JwksFailed for anything else.
    """
    target = uri.join(URL(location))
    origin, reached = ((one.scheme, one.host, one.port) for one in (uri, target))
    if reached != origin and (origin, reached) != (("http", uri.host, 80), ("https", uri.host, 443)):
        raise JwksFailed("the URI redirects to another origin; configure client_auth.jwks_uri with the final address")
    return target


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    if response.status != 200:
        raise JwksFailed(f"HTTP status {response.status}")
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > DOCUMENT_BYTES_MAX:
            raise JwksFailed(f"the document is larger than {DOCUMENT_BYTES_MAX} bytes")
    return bytes(body)


def _reason(exc: Exception) -> str:
    """For the log: what happened, without the URI's user, password and query."""
    return str(exc) if isinstance(exc, OSError) else type(exc).__name__
