"""Where a signed-in user's token is kept between two starts of the app.

A token is a password for some time. `MemoryTokenStore` forgets it, `KeyringTokenStore` (extra `keyring`) gives it to the operating
system, and `FileTokenStore` writes it to a file that only the user can read: fine for development, and it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import stat
from pathlib import Path
from typing import Protocol, cast

from syncline.errors import ClientError, Retry

__all__ = [
    "TOKEN_BYTES_MAX",
    "FileTokenStore",
    "KeyringBackend",
    "KeyringTokenStore",
    "MemoryTokenStore",
    "TokenStore",
    "TokenStoreUnavailable",
]

TOKEN_BYTES_MAX = 64 * 1024  # bytes of a stored token; longer ones no HTTP server takes in a header

_SERVICE = "syncline"
_OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR  # 0600

_log = logging.getLogger(__name__)


class TokenStoreUnavailable(ClientError):
    """The place where tokens are kept cannot be used: its package is missing, or the operating system refuses."""

    retry = Retry.OPERATOR


class TokenStore(Protocol):
    """Keeps one token. All three may be called at any time; they never block the event loop. Raise TokenStoreUnavailable."""

    async def get(self) -> str | None:
        """The token, None when nobody is signed in."""
        ...

    async def set(self, token: str) -> None:
        """Keep a token in place of the one before. Raises ValueError for an empty one, or one over TOKEN_BYTES_MAX."""
        ...

    async def clear(self) -> None:
        """Forget the token; nothing happens where there is none."""
        ...


class MemoryTokenStore:
    """Keeps the token as long as the process runs."""

    def __init__(self, token: str | None = None) -> None:
        self._token = token

    async def get(self) -> str | None:
        """The token, None when nobody is signed in."""
        return self._token

    async def set(self, token: str) -> None:
        """Keep a token in place of the one before."""
        self._token = _checked(token)

    async def clear(self) -> None:
        """Forget the token."""
        self._token = None


class FileTokenStore:
    """Keeps the token in a file with the permissions 0600, replaced as a whole.

    It is readable for every program of the same user, and on Windows for whom the folder allows it: a warning is logged once. A file
    whose permissions were opened is closed again when it is read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._warned = False

    async def get(self) -> str | None:
        """The token, None when nobody is signed in."""
        return await asyncio.to_thread(self._read)

    async def set(self, token: str) -> None:
        """Keep a token in place of the one before."""
        await asyncio.to_thread(self._write, _checked(token))

    async def clear(self) -> None:
        """Delete the file."""
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(self._path.unlink)

    def _read(self) -> str | None:
        try:
            with self._path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = file.read(TOKEN_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise TokenStoreUnavailable(f"The token file cannot be read: {exc.strerror}.") from exc
        if os.name == "posix" and mode & ~_OWNER_ONLY:
            _log.warning(
                "The token file could be read by others (mode %o); its permissions are 0600 again.",
                mode,
                extra={"event": "token_file_open"},
            )
            self._path.chmod(_OWNER_ONLY)
        if len(text) > TOKEN_BYTES_MAX:
            raise TokenStoreUnavailable("The token file is too long to be one.", hint="Delete it and sign in again.")
        return text.decode("utf-8", "replace").strip() or None

    def _write(self, token: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "The token is kept in a plain file; use KeyringTokenStore in production.",
                extra={"event": "token_in_file"},
            )
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Made with its permissions: a chmod afterwards would leave a moment in which others can open it.
            part.unlink(missing_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
                file.write(token.encode())
            part.replace(self._path)
        except OSError as exc:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise TokenStoreUnavailable(f"The token file cannot be written: {exc.strerror}.") from exc


class KeyringBackend(Protocol):
    """The part of the `keyring` package that is used."""

    def get_password(self, service: str, username: str, /) -> str | None:
        """The stored secret."""
        ...

    def set_password(self, service: str, username: str, password: str, /) -> None:
        """Store a secret."""
        ...

    def delete_password(self, service: str, username: str, /) -> None:
        """Delete a secret; raises where there is none."""
        ...


class KeyringTokenStore:
    """Keeps the token where the operating system keeps passwords (`pip install syncline[keyring]`).

    `service` and `username` name the entry; an app gives its own name, so that two apps do not share a token. `backend` stands in for the
    `keyring` package. Raises TokenStoreUnavailable where the package or the system's keyring is missing.
    """

    def __init__(
        self, service: str = _SERVICE, username: str = "token", *, backend: KeyringBackend | None = None
    ) -> None:
        self._service = service
        self._username = username
        self._backend = backend

    async def get(self) -> str | None:
        """The token, None when nobody is signed in."""
        return await asyncio.to_thread(self._get)

    async def set(self, token: str) -> None:
        """Keep a token in place of the one before."""
        await asyncio.to_thread(self._set, _checked(token))

    async def clear(self) -> None:
        """Forget the token."""
        await asyncio.to_thread(self._delete)

    def _get(self) -> str | None:
        keyring = self._keyring()
        try:
            return keyring.get_password(self._service, self._username) or None
        except Exception as exc:
            raise _keyring_failed(exc) from exc

    def _set(self, token: str) -> None:
        keyring = self._keyring()
        try:
            keyring.set_password(self._service, self._username, token)
        except Exception as exc:
            raise _keyring_failed(exc) from exc

    def _delete(self) -> None:
        if self._get() is None:  # back ends differ in what they raise for an entry that is not there
            return
        try:
            self._keyring().delete_password(self._service, self._username)
        except Exception as exc:
            raise _keyring_failed(exc) from exc

    def _keyring(self) -> KeyringBackend:
        if self._backend is None:
            try:  # imported when first needed: it is an extra, and slow to load
                self._backend = cast("KeyringBackend", importlib.import_module("keyring"))
            except ImportError as exc:
                raise TokenStoreUnavailable(
                    "The package `keyring` is not installed.", hint="pip install 'syncline[keyring]'"
                ) from exc
        return self._backend


def _keyring_failed(error: Exception) -> TokenStoreUnavailable:
    return TokenStoreUnavailable(
        f"The system's keyring did not answer ({type(error).__name__}).",
        hint="On a server without one, use FileTokenStore, or a MemoryTokenStore that is filled from a secret.",
    )


def _checked(token: str) -> str:
    if not token.strip():
        raise ValueError("The token is empty; use clear() to forget it.")
    if len(token.encode()) > TOKEN_BYTES_MAX:
        raise ValueError(f"The token is longer than {TOKEN_BYTES_MAX} bytes.")
    return token.strip()
