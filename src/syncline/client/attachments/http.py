"""A remote storage over HTTP: the app's backend signs a URL for each transfer, and the file goes straight to where files are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from syncline.client.attachments.errors import (
    AttachmentNotFound,
    AttachmentRefused,
    AttachmentTooLarge,
    TransferFailed,
)
from syncline.client.attachments.limits import CHUNK_BYTES, TRANSFER_IDLE_S, TRANSFER_TIMEOUT_S
from syncline.client.attachments.model import Attachment, Operation
from syncline.client.attachments.storage import RemoteStorage
from syncline.client.retry import retry_after_s

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpStorage", "Sign", "SignedRequest"]

_METHODS = {Operation.UPLOAD: "PUT", Operation.DOWNLOAD: "GET", Operation.DELETE: "DELETE"}
_NOT_THERE = frozenset({404, 410})
_TOO_LARGE = 413
# What will be no other the next time; 400, 401 and 403 are how storages answer URLs that have expired, and are signed anew.
_NEVER = frozenset({405, 411, 414, 415, 422, 451})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """One request that the storage will take: its URL, which is a secret, and headers that the signature covers.

    `method` is PUT for an upload, GET for a download and DELETE for a deletion where it is None.
    """

    url: str = field(repr=False)
    method: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)


Sign = Callable[[Attachment, Operation], Awaitable[SignedRequest | str]]
"""Asks the app's backend for a URL (S3, R2, Azure, Supabase, …). Called before each transfer, so URLs may be short-lived."""


class HttpStorage(RemoteStorage):
    """Uploads by PUT with a length, downloads by GET, deletes by DELETE; a file that is not there counts as deleted.

    >>> async def sign(attachment, operation):
    ...     answer = await connector.authenticated_fetch("POST", "/api/files/sign", json={"id": attachment.id, "for": operation})
    ...     return answer["url"]

    A transfer ends after `idle_timeout_s` without a byte, and after `timeout_s` in any case.
    """

    def __init__(
        self, sign: Sign, *, timeout_s: float = TRANSFER_TIMEOUT_S, idle_timeout_s: float = TRANSFER_IDLE_S
    ) -> None:
        self._sign = sign
        self._timeout_s = timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def upload(self, attachment: Attachment, chunks: AsyncIterable[bytes], *, size: int) -> None:
        """Send a file. Raises TransferFailed, AttachmentRefused."""
        headers = {"content-length": str(size), "content-type": attachment.media_type or "application/octet-stream"}
        try:
            # The session's own time-out is about reading: a peer that takes no more bytes would go unnoticed.
            async with asyncio.timeout(self._idle_timeout_s) as limit:
                content = _moving(chunks, limit, self._idle_timeout_s)
                async with self._request(attachment, Operation.UPLOAD, headers, data=content):
                    return
        except TimeoutError:
            raise TransferFailed(f"The upload stood still for {self._idle_timeout_s:g} s.") from None

    async def download(self, attachment: Attachment) -> AsyncGenerator[bytes]:
        """Receive a file; one that ends early raises. Raises TransferFailed, AttachmentNotFound, AttachmentRefused."""
        async with self._request(attachment, Operation.DOWNLOAD, {}) as response:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                yield chunk

    async def delete(self, attachment: Attachment) -> None:
        """Delete a file. Raises TransferFailed, AttachmentRefused."""
        try:
            async with self._request(attachment, Operation.DELETE, {}):
                return
        except AttachmentNotFound:
            return

    async def close(self) -> None:
        """Close kept connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _request(
        self, attachment: Attachment, operation: Operation, headers: dict[str, str], **options: Any
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        import aiohttp  # here, because importing the client must not load it

        signed = await self._sign(attachment, operation)
        request = SignedRequest(signed) if isinstance(signed, str) else signed
        given = {name.lower() for name in request.headers}
        merged = {**{name: value for name, value in headers.items() if name not in given}, **request.headers}
        try:
            async with self._open_session().request(
                request.method or _METHODS[operation], request.url, headers=merged, **options
            ) as response:
                _check(response.status, response.headers.get("Retry-After"), response.headers.get("Date"), operation)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            # The text of the exception may hold the URL, which is a secret.
            raise TransferFailed(f"The {operation} did not get through: {type(exc).__name__}.") from None

    def _open_session(self) -> aiohttp.ClientSession:
        import aiohttp  # here, because importing the client must not load it

        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            timeout = aiohttp.ClientTimeout(
                total=self._timeout_s, sock_connect=self._idle_timeout_s, sock_read=self._idle_timeout_s
            )
            self._session = aiohttp.ClientSession(timeout=timeout)
            self._loop = loop
        return self._session


def _check(status: int, retry_after: str | None, date: str | None, operation: Operation) -> None:
    """Raise what an HTTP status means for a file."""
    if 200 <= status < 300:
        return
    message = f"The remote storage answered the {operation} with HTTP {status}."
    if status in _NOT_THERE:
        raise AttachmentNotFound(message)
    if status == _TOO_LARGE:
        raise AttachmentTooLarge(message, hint="The remote storage has a lower limit than file_bytes_max.")
    if status in _NEVER:
        raise AttachmentRefused(message, hint="Compare the method and the headers with what was signed.")
    raise TransferFailed(
        message,
        hint="Is the URL signed for this method, and still valid?" if status in (400, 401, 403) else "",
        retry_after_s=retry_after_s(retry_after, date_header=date),
    )


async def _moving(chunks: AsyncIterable[bytes], limit: asyncio.Timeout, idle_timeout_s: float) -> AsyncGenerator[bytes]:
    """The same chunks; each that is taken moves the limit."""
    loop = asyncio.get_running_loop()
    async for chunk in chunks:
        limit.reschedule(loop.time() + idle_timeout_s)
        yield chunk
