"""Encrypted database files, through SQLite3 Multiple Ciphers (client API reference, 12; Python client reference, 8).

The package `apsw-sqlite3mc` is installed in place of `apsw`: both bring the module `apsw`, so only one of them can be there. Plain SQLite
ignores `PRAGMA key` in silence and would write everything in the clear; therefore a key without the ciphers is refused here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from syncline.client.sync_sharing import STATUS_FILE_SUFFIX
from syncline.errors import ClientError

__all__ = [
    "DEFAULT_CIPHER",
    "EncryptionKey",
    "EncryptionUnavailable",
    "FileUnreadable",
    "WrongKey",
    "change_key",
    "unlock",
]

DEFAULT_CIPHER = "chacha20"
_PLAIN_HEADER = b"SQLite format 3\x00"  # how a file that is not encrypted begins


class EncryptionUnavailable(ClientError):
    """A key was given, and this installation of SQLite cannot encrypt. Nothing was opened or written."""

    def __init__(self) -> None:
        super().__init__(
            "An encryption key was given, but this SQLite has no ciphers: the file would be written in the clear.",
            hint="pip uninstall apsw && pip install apsw-sqlite3mc  (it brings the same module; only one of them can be installed)",
        )


class FileUnreadable(ClientError):
    """The file cannot be opened as a database: it is none, or encrypted, or its folder is missing. Nothing was changed."""


class WrongKey(FileUnreadable):
    """The file was encrypted with another key or cipher, or not at all. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """The key of a database file: a passphrase (text) or key material (bytes); never shown or logged.

    `cipher` is the scheme of SQLite3 Multiple Ciphers; its default is ChaCha20-Poly1305, and `sqlcipher` is that of the files which
    other SDKs make with SQLCipher. Raises ValueError for an empty key, which would mean "not encrypted".
    """

    secret: str | bytes = field(repr=False)
    cipher: str = DEFAULT_CIPHER

    def __post_init__(self) -> None:
        if not self.secret:
            raise ValueError("The encryption key is empty: pass None for a file that is not encrypted.")

    @classmethod
    def of(cls, key: EncryptionKey | str | bytes | None) -> EncryptionKey | None:
        """A key as options take it."""
        return key if key is None or isinstance(key, EncryptionKey) else cls(key)

    def apply(self, connection: apsw.Connection, *, setting: str = "key") -> None:
        """Run `PRAGMA key` (or `rekey`). Raises EncryptionUnavailable, and ValueError for an unknown cipher."""
        if not hasattr(apsw, "mc_version"):
            raise EncryptionUnavailable
        try:
            # Always: a connection that changes the key would keep the cipher of the old one.
            connection.pragma("cipher", self.cipher)
        except apsw.SQLError:
            raise ValueError(f"The cipher {self.cipher!r} is not known to SQLite3 Multiple Ciphers.") from None
        if isinstance(self.secret, bytes):
            connection.pragma("hex" + setting, self.secret.hex())
        else:
            connection.pragma(setting, self.secret)


def unlock(connection: apsw.Connection, key: EncryptionKey | None) -> None:
    """Make a new connection able to read its file: the key comes first, before anything else touches the file.

    Raises EncryptionUnavailable, WrongKey, or FileUnreadable; the connection is closed then.
    """
    try:
        if key is not None:
            key.apply(connection)
            # What SQLite would sort or keep on disk for a query is not encrypted.
            connection.execute("PRAGMA temp_store=MEMORY").fetchall()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except apsw.NotADBError as exc:
        path = connection.filename
        connection.close()
        raise _unreadable(path, has_key=key is not None) from exc
    except BaseException:
        connection.close()
        raise


def change_key(
    path: str | os.PathLike[str],
    *,
    old: EncryptionKey | str | bytes | None,
    new: EncryptionKey | str | bytes | None,
) -> None:
    """Encrypt a file (`old=None`), decrypt it (`new=None`), or change its key. Blocks until the whole file is rewritten.

    Nobody else may have the file open, in this process or another: close the database first. An interrupted change is rolled back
    when the file is opened next. Raises EncryptionUnavailable, WrongKey, FileUnreadable, and apsw.BusyError while it is open elsewhere.
    """
    if not hasattr(apsw, "mc_version"):
        raise EncryptionUnavailable
    if not Path(path).is_file():
        raise FileUnreadable(
            f"There is no file {os.fspath(path)!r}.", hint="Open the database once, or check the path."
        )
    connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE)
    unlock(connection, EncryptionKey.of(old))
    try:
        # Pages in a write-ahead log cannot be rewritten with another key; opening the database brings the log back.
        if connection.pragma("journal_mode", "delete") != "delete":
            raise apsw.BusyError("The database is open elsewhere: its write-ahead log cannot be ended.")
        wanted = EncryptionKey.of(new)
        if wanted is None:
            connection.pragma("rekey", "")
        else:
            wanted.apply(connection, setting="rekey")
    finally:
        connection.close()
    _forget_shared_status(os.fspath(path))


def _forget_shared_status(path: str) -> None:
    """What processes told each other while the file was not encrypted may quote what it holds; they tell it anew."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(path + STATUS_FILE_SUFFIX + suffix).unlink(missing_ok=True)


def _unreadable(path: str, *, has_key: bool) -> FileUnreadable:
    with Path(path).open("rb") as file:
        is_plain = file.read(len(_PLAIN_HEADER)) == _PLAIN_HEADER
    if not has_key:
        return FileUnreadable(
            "The file is not a database, or it is encrypted.",
            hint="Pass its encryption_key, or another path.",
        )
    if is_plain:
        return WrongKey(
            "The file is not encrypted, and an encryption key was given.",
            hint="Encrypt it once with syncline.client.encryption.change_key(path, old=None, new=key).",
        )
    return WrongKey(
        "The encryption key does not fit the file.",
        hint="Pass the key and the cipher that it was made with. Without them nobody can read the file.",
    )
