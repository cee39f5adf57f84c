"""Attachments as files of a folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
import string
import time
from collections.abc import AsyncIterable, AsyncIterator
from io import BufferedWriter
from pathlib import Path
from uuid import uuid4

from syncline.client.attachments.errors import AttachmentNotHere
from syncline.client.attachments.limits import CHUNK_BYTES, FILE_NAME_CHARS_MAX
from syncline.client.attachments.storage import StoredFile

__all__ = ["FolderStorage", "safe_name"]

_SAFE = frozenset(string.ascii_lowercase + string.digits + "-_")
_EXTENSION_CHARS_MAX = 16
_PARTIAL = ".part"
# Names that Windows gives to devices, whatever their extension.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))})


def safe_name(attachment_id: str, filename: str) -> str:
    """A name for the local file that no file system minds: from the id, with the extension of `filename`.

    Both come from synced rows, which other people write: nothing in them can lead out of the folder, and ids that differ in case only
    are two files everywhere.
    """
    stem = "".join(
        character if character in _SAFE else "".join(f"%{byte:02x}" for byte in character.encode())
        for character in attachment_id
    )
    if stem in _DEVICES or not stem:
        stem = f"%{stem}"
    suffix = Path(filename).suffix.lower().removeprefix(".")
    extension = f".{suffix}" if suffix and set(suffix) <= _SAFE and len(suffix) <= _EXTENSION_CHARS_MAX else ""
    if len(stem) + len(extension) > FILE_NAME_CHARS_MAX:
        stem = "%%" + hashlib.sha256(attachment_id.encode()).hexdigest()
    return stem + extension


class FolderStorage:
    """A local storage in a folder of its own; it is made when the first file comes. A file's uri is its name in there.

    Uris are relative, so the folder can move (with the app, on some systems, at every update). A file is complete and on the disk
    before its record is written; what a crash leaves is a partial file, which the queue deletes at its next start.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    def path(self, uri: str) -> Path:
        """Where the file is, for programs that need a path. Raises ValueError for what is not the name of a file in the folder."""
        if not _is_name(uri):
            raise ValueError(f"{uri!r} is not the name of a file.")
        return self._folder / uri

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> StoredFile:
        """Write to a temporary file and put it in place."""
        target = self.path(name)
        partial = target.with_name(f"{name}.{uuid4().hex[:8]}{_PARTIAL}")
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        file = await asyncio.to_thread(partial.open, "wb")
        try:
            try:
                size = 0
                async for chunk in chunks:
                    size += await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(_flush, file)
            finally:
                await asyncio.to_thread(file.close)
            await asyncio.to_thread(_replace, partial, target)
        except BaseException:
            # Not in a thread: a cancelled task cannot wait, and this takes no time.
            partial.unlink(missing_ok=True)
            raise
        return StoredFile(name, size, 0.0)

    async def read(self, uri: str) -> AsyncIterator[bytes]:
        """The content, CHUNK_BYTES at a time."""
        try:
            file = await asyncio.to_thread(self.path(uri).open, "rb")
        except FileNotFoundError:
            raise AttachmentNotHere(f"There is no local file {uri!r}.") from None
        with file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk

    async def find(self, uri: str) -> StoredFile | None:
        """The file, None where there is none."""
        return await asyncio.to_thread(_stored, self.path(uri))

    async def delete(self, uri: str) -> None:
        """Delete the file."""
        await asyncio.to_thread(self.path(uri).unlink, missing_ok=True)

    async def files(self) -> list[StoredFile]:
        """All files of the folder, partial ones included; folders in it, and names that are never given here, are left out."""

        def scan() -> list[StoredFile]:
            found = (
                [_stored(path) for path in self._folder.iterdir() if _is_name(path.name)]
                if self._folder.is_dir()
                else []
            )
            return [file for file in found if file is not None]

        return await asyncio.to_thread(scan)


def _is_name(uri: str) -> bool:
    """Whether this is one file of a folder, on every system."""
    return uri not in ("", ".", "..") and not set(uri) & set("/\\:\0")


def _stored(path: Path) -> StoredFile | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return StoredFile(path.name, stat.st_size, max(0.0, time.time() - stat.st_mtime)) if path.is_file() else None


def _flush(file: BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


def _replace(partial: Path, target: Path) -> None:
    partial.replace(target)
    if os.name == "posix":  # elsewhere a folder cannot be opened, and a rename is durable with the file
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
