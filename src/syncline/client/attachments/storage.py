"""Where files are: the interfaces of the local and the remote side, and the local ones that come with the client.

An app brings its own by giving a class these methods; nothing has to be inherited for a local storage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from syncline.client.attachments.errors import AttachmentNotHere, AttachmentTooLarge
from syncline.client.attachments.model import Attachment

__all__ = ["LocalStorage", "MemoryStorage", "RemoteStorage", "StoredFile", "closing", "limited"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a local storage: what it is known by, its size in bytes, and the seconds since it was written."""

    uri: str
    size: int
    age_s: float


class LocalStorage(Protocol):
    """The device's side. Its files belong to one queue: those that no record knows are deleted."""

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> StoredFile:
        """Store a whole file, durably, or nothing; `name` is safe as a file's name. An existing one is replaced at once.

        Whatever `chunks` raises is raised, and leaves nothing behind.
        """
        ...

    def read(self, uri: str) -> AsyncIterator[bytes]:
        """The content, in chunks. Raises AttachmentNotHere."""
        ...

    async def find(self, uri: str) -> StoredFile | None:
        """The file, None where there is none."""
        ...

    async def delete(self, uri: str) -> None:
        """Delete the file; there may be none."""
        ...

    async def files(self) -> list[StoredFile]:
        """All files, and what a crash has left of them."""
        ...


class RemoteStorage(ABC):
    """The server's side. Every method may be called again for the same file, and several run at a time.

    Raise TransferFailed (or any other exception) for what may work later, AttachmentNotFound for a file that is not there (yet), and
    AttachmentRefused for what will never work.
    """

    @abstractmethod
    async def upload(self, attachment: Attachment, chunks: AsyncIterable[bytes], *, size: int) -> None:
        """Store a file of `size` bytes; returns when it is there for good."""

    @abstractmethod
    def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The content, in chunks; write it as an asynchronous generator."""

    @abstractmethod
    async def delete(self, attachment: Attachment) -> None:
        """Delete a file; there may be none."""

    async def close(self) -> None:
        """The queue has stopped: close connections. A later call of another method may open them again."""
        return


class MemoryStorage:
    """A local storage that ends with the process, for tests and for previews."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> StoredFile:
        """Keep a file."""
        self.contents[name] = b"".join([chunk async for chunk in chunks])
        return StoredFile(name, len(self.contents[name]), 0.0)

    async def read(self, uri: str) -> AsyncIterator[bytes]:
        """The content, as one chunk."""
        if uri not in self.contents:
            raise AttachmentNotHere(f"There is no local file {uri!r}.")
        yield self.contents[uri]

    async def find(self, uri: str) -> StoredFile | None:
        """The file; its age is not known."""
        return StoredFile(uri, len(self.contents[uri]), 0.0) if uri in self.contents else None

    async def delete(self, uri: str) -> None:
        """Forget a file."""
        self.contents.pop(uri, None)

    async def files(self) -> list[StoredFile]:
        """All files."""
        return [StoredFile(uri, len(content), 0.0) for uri, content in self.contents.items()]


@asynccontextmanager
async def closing(chunks: AsyncIterable[bytes]) -> AsyncGenerator[AsyncIterable[bytes]]:
    """The same chunks; a generator that was not read to its end is closed after the block, with its file or connection."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def limited(chunks: AsyncIterable[bytes], bytes_max: int) -> AsyncGenerator[bytes]:
    """The same chunks, up to a size. Raises AttachmentTooLarge at the first byte beyond."""
    total = 0
    async with closing(chunks) as content:
        async for chunk in content:
            total += len(chunk)
            if total > bytes_max:
                raise AttachmentTooLarge(
                    f"The file is larger than {bytes_max} bytes.",
                    hint="Raise file_bytes_max of the AttachmentQueue on every device that shall have such files.",
                )
            yield chunk
