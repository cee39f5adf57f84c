"""Carrying one file between the device and the remote storage."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterable, Callable
from dataclasses import replace

from syncline.client.attachments.errors import AttachmentNotHere, AttachmentRefused, TransferFailed
from syncline.client.attachments.folder import safe_name
from syncline.client.attachments.limits import ATTEMPTS_MAX, ERROR_CHARS_MAX
from syncline.client.attachments.model import Attachment, AttachmentState, Operation
from syncline.client.attachments.storage import LocalStorage, RemoteStorage, closing, limited
from syncline.client.attachments.store import AttachmentStore
from syncline.client.retry import RetryPolicy, wait_s

__all__ = ["ErrorHandler", "Transfers"]

ErrorHandler = Callable[[Attachment, Operation, Exception], bool]
"""Called after each failure; True: try again (within the limits), False: give up, the file is archived."""

_log = logging.getLogger(__name__)


class Transfers:
    """Uploads, downloads and deletions, one file a call; each may be repeated after a crash."""

    def __init__(
        self,
        store: AttachmentStore,
        *,
        local: LocalStorage,
        remote: RemoteStorage,
        file_bytes_max: int,
        timeout_s: float,
        retry: RetryPolicy,
        on_error: ErrorHandler | None,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._local = local
        self._remote = remote
        self._file_bytes_max = file_bytes_max
        self._timeout_s = timeout_s
        self._retry = retry
        self._on_error = on_error
        self._random_unit = random_unit

    async def perform(self, attachment: Attachment) -> None:
        """Do what is queued for a file, and store the outcome; a failure is stored too, not raised."""
        operation = attachment.operation
        assert operation is not None
        try:
            # Whatever a remote storage waits for: its place is wanted by others.
            async with asyncio.timeout(self._timeout_s):
                match operation:
                    case Operation.UPLOAD:
                        await self._upload(attachment)
                    case Operation.DOWNLOAD:
                        await self._download(attachment)
                    case Operation.DELETE:
                        await self._delete(attachment)
        except TimeoutError as exc:
            limit = TransferFailed(f"The {operation} took longer than {self._timeout_s:g} s.")
            await self._failed(attachment, operation, limit if not str(exc) else exc)
        except Exception as exc:
            await self._failed(attachment, operation, exc)

    async def write_local(self, attachment_id: str, filename: str, chunks: AsyncIterable[bytes]) -> tuple[str, int]:
        """Store a file on the device; returns its uri and its size in bytes. Raises AttachmentTooLarge."""
        name = safe_name(attachment_id, filename)
        async with closing(limited(chunks, self._file_bytes_max)) as content:
            stored = await self._local.write(name, content)
        return stored.uri, stored.size

    async def _upload(self, attachment: Attachment) -> None:
        uri = attachment.local_uri
        found = None if uri is None else await self._local.find(uri)
        if uri is None or found is None:
            # Nothing is left that could be carried; another device may have the file.
            _log.error("An attachment was lost before its upload.", extra={"event": "attachment_lost"})
            gone = AttachmentState.QUEUED_DOWNLOAD if attachment.has_synced else AttachmentState.ARCHIVED
            await self._store.change(attachment, replace(attachment, state=gone, local_uri=None, size=None))
            return
        async with closing(self._local.read(uri)) as chunks:
            await self._remote.upload(attachment, chunks, size=found.size)
        await self._store.change(attachment, _done(attachment, state=AttachmentState.SYNCED, size=found.size))

    async def _download(self, attachment: Attachment) -> None:
        uri, size = await self.write_local(attachment.id, attachment.filename, self._remote.download(attachment))
        done = _done(replace(attachment, local_uri=uri), state=AttachmentState.SYNCED, size=size)
        try:
            await self._store.change(attachment, done)
        finally:
            # It may be that nothing refers to the file any more, or that the account was cleared: this task is cancelled then.
            await asyncio.shield(self.delete_unless_recorded(attachment.id, uri))

    async def delete_unless_recorded(self, attachment_id: str, uri: str) -> None:
        """Delete a local file, unless the record of its attachment knows it. What cannot be done now is done by `verify`."""
        with contextlib.suppress(Exception):
            current = await self._store.get(attachment_id)
            if current is None or current.local_uri != uri:
                await self._local.delete(uri)

    async def _delete(self, attachment: Attachment) -> None:
        await self._remote.delete(attachment)
        await self.remove([attachment])

    async def remove(self, attachments: list[Attachment]) -> None:
        """Delete the local files, then the records: after a crash in between the records are still there, and are removed again."""
        for attachment in attachments:
            if attachment.local_uri is not None:
                await self._local.delete(attachment.local_uri)
        await self._store.change_all([(attachment, None) for attachment in attachments])

    async def _failed(self, attachment: Attachment, operation: Operation, error: Exception) -> None:
        attempts = attachment.attempts + 1
        if isinstance(error, AttachmentRefused | AttachmentNotHere):
            attempts = ATTEMPTS_MAX
        _log.warning(
            "The %s of an attachment has failed (%d of %d): %s",
            operation,
            attempts,
            ATTEMPTS_MAX,
            type(error).__name__,
            extra={"event": "attachment_failed", "operation": str(operation), "attempts": attempts},
        )
        if not self._is_worth_another_try(attachment, operation, error):
            text = str(error)[:ERROR_CHARS_MAX]
            archived = replace(attachment, state=AttachmentState.ARCHIVED, attempts=attempts, error=text)
            await self._store.change(attachment, archived)
            return
        asked_s = getattr(error, "retry_after_s", None)
        delay_s = wait_s(self._retry, attempts, asked_s=asked_s, unit=self._random_unit())
        await self._store.note_failure(attachment, attempts=attempts, delay_s=delay_s, error=str(error))

    def _is_worth_another_try(self, attachment: Attachment, operation: Operation, error: Exception) -> bool:
        if self._on_error is None:
            return True
        try:
            return self._on_error(attachment, operation, error)
        except Exception:
            _log.exception("on_error of the attachment queue failed.", extra={"event": "attachment_handler_failed"})
            return True


def _done(attachment: Attachment, *, state: AttachmentState, size: int) -> Attachment:
    return replace(attachment, state=state, size=size, has_synced=True, attempts=0, retry_at_ms=0, error=None)
