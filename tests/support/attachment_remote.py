"""A remote storage in memory that fails, stands still and counts as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from syncline.client.attachments import Attachment, AttachmentNotFound, RemoteStorage

__all__ = ["RememberingRemote"]


class RememberingRemote(RemoteStorage):
    """`files` by name. `failures` are raised by the next calls; `open_gate` is waited for in the middle of each transfer."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.failures: list[Exception] = []
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self.running_max = 0
        self.cancelled: list[str] = []
        self.closed = 0

    async def upload(self, attachment: Attachment, chunks: AsyncIterable[bytes], *, size: int) -> None:
        """Keep a file, all of it or nothing."""
        await self._begin("upload", attachment)
        content = b"".join([chunk async for chunk in chunks])
        await self._pass_gate(attachment)
        assert len(content) == size
        self.files[attachment.filename] = content

    async def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """Give a file, in two chunks."""
        await self._begin("download", attachment)
        if attachment.filename not in self.files:
            raise AttachmentNotFound("no such file")
        content = self.files[attachment.filename]
        yield content[: len(content) // 2]
        await self._pass_gate(attachment)
        yield content[len(content) // 2 :]

    async def delete(self, attachment: Attachment) -> None:
        """Forget a file."""
        await self._begin("delete", attachment)
        await self._pass_gate(attachment)
        self.files.pop(attachment.filename, None)

    async def close(self) -> None:
        """Count."""
        self.closed += 1

    async def _begin(self, operation: str, attachment: Attachment) -> None:
        self.calls.append(f"{operation} {attachment.filename}")
        if self.failures:
            raise self.failures.pop(0)

    async def _pass_gate(self, attachment: Attachment) -> None:
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(attachment.filename)
            raise
        finally:
            self.running -= 1
