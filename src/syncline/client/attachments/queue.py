"""The attachment queue: files that belong to rows, saved offline, carried when there is a way (client API reference, 10)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from syncline.client.attachments.dispatcher import Dispatcher
from syncline.client.attachments.errors import AttachmentExists, AttachmentNotHere
from syncline.client.attachments.limits import (
    ARCHIVED_MAX,
    ATTEMPTS_MAX,
    CHUNK_BYTES,
    FILE_BYTES_MAX,
    INTERVAL_S,
    RETRY_CAP_S,
    THROTTLE_S,
    TRANSFER_TIMEOUT_S,
    TRANSFERS_MAX,
)
from syncline.client.attachments.model import Attachment, AttachmentReference, AttachmentState, AttachmentStats
from syncline.client.attachments.references import References, ReferenceSource
from syncline.client.attachments.storage import LocalStorage, RemoteStorage, closing
from syncline.client.attachments.store import AttachmentStore, now_ms
from syncline.client.attachments.table import AttachmentTable
from syncline.client.attachments.transfers import ErrorHandler, Transfers
from syncline.client.attachments.verification import Verification, verify
from syncline.client.errors import DatabaseClosed
from syncline.client.retry import Exponential, RetryPolicy
from syncline.client.schema import SchemaInvalid
from syncline.client.transactions import WriteTransaction
from syncline.errors import ClientError

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["AttachmentQueue", "UpdateHook"]

UpdateHook = Callable[[WriteTransaction, Attachment], Awaitable[object]]
"""Writes the app's row in the transaction that saves or deletes the file: both are stored, or neither is."""

_log = logging.getLogger(__name__)


class AttachmentQueue:
    """Saves files with the rows that refer to them, and brings the files of rows that came from elsewhere.

    >>> queue = AttachmentQueue(
    ...     db,
    ...     local=FolderStorage("photos"),
    ...     remote=HttpStorage(sign),
    ...     references="SELECT photo_id AS id, 'jpg' AS file_extension FROM todos WHERE photo_id IS NOT NULL",
    ... )
    >>> async with queue:
    ...     await queue.save_file(photo, file_extension="jpg", update=lambda tx, file: tx.execute(
    ...         "UPDATE todos SET photo_id = ? WHERE id = ?", [file.id, todo_id]))

    The schema needs an `AttachmentTable`. Saving and reading work at any time; files are carried between `start()` and `stop()`, also
    while the database does not sync. Whatever is queued survives the end of the process. One queue for one table and one local storage.
    """

    def __init__(
        self,
        db: SyncDatabase,
        *,
        local: LocalStorage,
        remote: RemoteStorage,
        references: References,
        table: str = "attachments",
        download: bool = True,
        on_error: ErrorHandler | None = None,
        retry: RetryPolicy | None = None,
        archived_max: int = ARCHIVED_MAX,
        transfers_max: int = TRANSFERS_MAX,
        file_bytes_max: int = FILE_BYTES_MAX,
        transfer_timeout_s: float = TRANSFER_TIMEOUT_S,
        interval_s: float = INTERVAL_S,
        throttle_s: float = THROTTLE_S,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        """`download=False`: files of other devices stay away. `on_error` decides after each failure whether to go on; by default
        the queue does, ATTEMPTS_MAX times. `archived_max` files stay on the device after nothing refers to them any more.

        Raises SchemaInvalid where the schema has no AttachmentTable of this name.
        """
        if not any(isinstance(known, AttachmentTable) and known.name == table for known in db.schema.tables):
            raise SchemaInvalid(
                f'The schema has no AttachmentTable "{table}".',
                hint="Schema([..., AttachmentTable()]), from syncline.client.attachments; its name is the queue's `table`.",
            )
        assert archived_max >= 0
        assert transfers_max >= 1
        self._db = db
        self._local = local
        self._remote = remote
        self._download = download
        self._clock_ms = clock_ms
        self._store = AttachmentStore(db, table, clock_ms=clock_ms)
        self._references = ReferenceSource(db, references, throttle_s=throttle_s)
        self._transfers = Transfers(
            self._store,
            local=local,
            remote=remote,
            file_bytes_max=file_bytes_max,
            timeout_s=transfer_timeout_s,
            retry=retry or Exponential(cap_s=RETRY_CAP_S),
            on_error=on_error,
        )
        self._dispatcher = Dispatcher(
            self._store,
            self._transfers,
            changes=lambda: db.on_change([table]),
            archived_max=archived_max,
            transfers_max=transfers_max,
            interval_s=interval_s,
        )
        self._view = '"' + table.replace('"', '""') + '"'
        self._interval_s = interval_s
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: list[AttachmentReference] | None = None  # the references as they were last told
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> AttachmentQueue:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @staticmethod
    def generate_id() -> str:
        """An id for a new attachment."""
        return str(uuid4())

    async def start(self) -> None:
        """Compare records and files, then begin to carry files. Can be called again."""
        async with self._starting:
            if self._tasks:
                return
            await self.verify()
            await self._store.retry()
            self._tasks = [
                asyncio.create_task(self._follow_references(), name="attachment references"),
                asyncio.create_task(self._dispatcher.run(), name="attachment transfers"),
            ]

    async def stop(self) -> None:
        """End all transfers; what is not finished begins anew at the next start. Can be called again."""
        async with self._starting:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._remote.close()

    async def save_file(
        self,
        data: bytes | os.PathLike[str] | AsyncIterable[bytes],
        *,
        file_extension: str | None = None,
        media_type: str | None = None,
        meta_data: str | None = None,
        id: str | None = None,  # noqa: A002 - the name of the column
        update: UpdateHook | None = None,
    ) -> Attachment:
        """Store a file on the device and queue its upload, in one transaction with what `update` writes.

        `data` is the content, the path of a file (which is copied), or chunks. Raises AttachmentExists, AttachmentTooLarge, and what
        `update` raises: nothing is stored then.
        """
        attachment_id = id or self.generate_id()
        filename = AttachmentReference(attachment_id, file_extension).name
        if await self._store.get(attachment_id) is not None:
            raise AttachmentExists(attachment_id)
        uri, size = await self._transfers.write_local(attachment_id, filename, _chunks(data))
        attachment = Attachment(
            id=attachment_id,
            filename=filename,
            state=AttachmentState.QUEUED_UPLOAD,
            timestamp_ms=self._clock_ms(),
            local_uri=uri,
            size=size,
            media_type=media_type,
            meta_data=meta_data,
        )
        try:
            async with self._db.write_transaction() as transaction:
                if await self._store.get(attachment_id, within=transaction) is not None:
                    raise AttachmentExists(attachment_id)
                await self._store.insert(transaction, attachment)
                if update is not None:
                    await update(transaction, attachment)
        except BaseException:
            # A cancellation may come after the commit: only the record tells whether the file is needed.
            await asyncio.shield(self._transfers.delete_unless_recorded(attachment_id, uri))
            raise
        return attachment

    async def delete_file(self, attachment_id: str, *, update: UpdateHook | None = None) -> None:
        """Queue the deletion of a file, here and there, in one transaction with what `update` writes.

        `update` should take the reference out of the app's row. Raises LookupError for an id that is not known here.
        """
        async with self._db.write_transaction() as transaction:
            attachment = await self._store.get(attachment_id, within=transaction)
            if attachment is None:
                raise LookupError(f"There is no attachment with the id {attachment_id!r}.")
            queued = replace(
                attachment,
                state=AttachmentState.QUEUED_DELETE,
                timestamp_ms=self._clock_ms(),
                attempts=0,
                retry_at_ms=0,
                error=None,
            )
            await self._store.update(transaction, queued)
            if update is not None:
                await update(transaction, queued)

    async def get(self, attachment_id: str) -> Attachment | None:
        """The record of a file."""
        return await self._store.get(attachment_id)

    async def watch(self, attachment_id: str) -> AsyncIterator[Attachment | None]:
        """The record now and after each change: what a picture on the screen follows. None while there is none."""
        last: Attachment | None = None
        first = True
        async for rows in self._db.watch(f"SELECT * FROM {self._view} WHERE id = ?", [attachment_id]):  # noqa: S608 - quoted names
            attachment = Attachment.from_row(rows[0].as_dict()) if rows else None
            if first or attachment != last:
                first, last = False, attachment
                yield attachment

    async def read(self, attachment_id: str) -> bytes:
        """The whole content. Raises AttachmentNotHere while the file is not on the device."""
        return b"".join([chunk async for chunk in self.open(attachment_id)])

    async def open(self, attachment_id: str) -> AsyncIterator[bytes]:
        """The content in chunks. Raises AttachmentNotHere while the file is not on the device."""
        attachment = await self._store.get(attachment_id)
        if attachment is None or attachment.local_uri is None:
            raise AttachmentNotHere(
                f"The attachment {attachment_id!r} is not on this device yet.",
                hint="Follow it with watch(): local_uri is set as soon as it is.",
            )
        async with closing(self._local.read(attachment.local_uri)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def stats(self) -> AttachmentStats:
        """How many files stand where."""
        return await self._store.stats(attempts_max=ATTEMPTS_MAX)

    async def failed(self) -> list[Attachment]:
        """Files that have failed too often, or were refused; they rest until `retry()` or the next start."""
        return await self._store.failed(attempts_max=ATTEMPTS_MAX)

    async def retry(self, attachment_id: str | None = None) -> None:
        """Try a file again now, or all that have failed; also what `on_error` has given up, where a row still refers to it."""
        await self._store.retry(attachment_id, given_up=True)
        if self._tasks and self._seen is not None:
            await self._reconcile(self._seen)
        self._dispatcher.wake()

    async def sync_storage(self, *, timeout_s: float | None = None) -> None:
        """Try everything now, and wait until nothing is under way: what has failed again is tried later.

        Raises TimeoutError, and ClientError while the queue is not started.
        """
        if not self._tasks:
            raise ClientError(
                "The attachment queue is not started.", hint="`async with queue:`, or `await queue.start()`."
            )
        async with asyncio.timeout(timeout_s):
            if self._seen is not None:
                await self._reconcile(self._seen)
            await self._store.retry()
            self._dispatcher.wake()
            await self._dispatcher.wait_idle()

    async def verify(self) -> Verification:
        """Compare the records with the files on the device, and repair what differs. `start()` does it."""
        return await verify(self._store, self._local)

    async def _follow_references(self) -> None:
        while True:
            try:
                async for seen in self._references.changes():
                    self._seen = seen
                    await self._reconcile(seen)
                return
            except DatabaseClosed:
                return
            except Exception:
                _log.exception(
                    "References to attachments cannot be read.", extra={"event": "attachment_references_failed"}
                )
            await asyncio.sleep(self._interval_s)

    async def _reconcile(self, seen: list[AttachmentReference]) -> None:
        async with self._db.write_transaction() as transaction:
            references = await self._references.current(seen, within=transaction)
            await self._store.reconcile(transaction, references, download=self._download)


async def _chunks(data: bytes | os.PathLike[str] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(data, bytes | bytearray | memoryview):
        yield bytes(data)
    elif isinstance(data, os.PathLike):
        path: Path = Path(data)
        file = await asyncio.to_thread(path.open, "rb")
        with file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk
    else:
        async for chunk in data:
            yield chunk
