"""Signing keys as files in a folder that only its owner may read: one file a key, written once and never changed.

Since files only come and go, their names say all about what has changed, and processes that share the folder need no lock: two that
make a key at the same moment make two, of which the rules of `rotation` let one sign.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from syncline.auth.signer import TokenSigner
from syncline.backend.auth.rotation import KEYS_MAX, KeyTimes
from syncline.errors import ConfigError

__all__ = ["KeyFolder", "StoredKey"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}\.json")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key of the folder: what signs, and from when."""

    signer: TokenSigner
    times: KeyTimes


class KeyFolder:
    """The folder. It is made with the first key; a file is `<kid>.json`: `{"signs_from_s": …, "key": <private JWK>}`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> frozenset[str]:
        """Names of the key files: another set means that keys came or went. Raises OSError where the folder cannot be listed."""
        try:
            return frozenset(name for name in os.listdir(self._path) if _NAME.fullmatch(name))  # noqa: PTH208 - names, not paths
        except FileNotFoundError:
            return frozenset()

    def read(self) -> list[StoredKey]:
        """All keys. Raises ConfigError for a file that others can read or that holds no key, and for too many."""
        names = sorted(self.names())
        if len(names) > 2 * KEYS_MAX:  # those that have ended and nobody deletes are among them
            raise ConfigError(
                f"The key folder {self._path} has {len(names)} keys, more than {2 * KEYS_MAX}.",
                hint="Move away the files of keys whose tokens have ended.",
            )
        if names:
            self._check_folder()
        found = (self._read_file(self._path / name) for name in names)
        return [key for key in found if key is not None]

    def add(self, signer: TokenSigner, *, signs_from_s: int) -> None:
        """Keep a new key. When this returns it is on disk, or ConfigError was raised and it is not there."""
        content = json.dumps({"signs_from_s": signs_from_s, "key": signer.private_jwk()}).encode()
        target = self._path / f"{signer.kid}.json"
        unfinished = self._path / f".{secrets.token_hex(8)}"
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_folder()
            try:
                _write_durably(unfinished, content)
                unfinished.replace(target)
            finally:
                unfinished.unlink(missing_ok=True)
            _sync_folder(self._path)
        except OSError as exc:
            raise ConfigError(f"A key cannot be written to {self._path}: {exc.strerror}.") from None

    def delete(self, kid: str) -> None:
        """Forget a key; nothing where it is gone already. Raises ConfigError."""
        try:
            (self._path / f"{kid}.json").unlink(missing_ok=True)
        except OSError as exc:
            raise ConfigError(f"A key of {self._path} cannot be deleted: {exc.strerror}.") from None

    def _check_folder(self) -> None:
        """Whoever can put a file here can issue tokens."""
        if os.name == "posix" and self._path.stat().st_mode & 0o022:
            raise ConfigError(f"Others can write to the key folder {self._path}.", hint=f"chmod 700 {self._path}")

    def _read_file(self, file: Path) -> StoredKey | None:
        """None where another process has deleted it meanwhile."""
        try:
            if os.name == "posix" and file.stat().st_mode & 0o077:
                raise ConfigError(f"Others can read the signing key {file}.", hint=f"chmod 600 {file}")
            document: object = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise ConfigError(f"The signing key {file} cannot be read: {type(exc).__name__}.") from None
        fields = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        signs_from_s, jwk = fields.get("signs_from_s"), fields.get("key")
        if type(signs_from_s) is not int or not isinstance(jwk, dict):
            raise ConfigError(f"{file} is not a file of this key folder: it needs signs_from_s and key.")
        signer = TokenSigner.from_private_jwk(cast("dict[str, Any]", jwk), where=f"The signing key {file}")
        if signer.kid != file.stem:
            raise ConfigError(f"{file} holds a key of another id.", hint=f"Its name must be {signer.kid}.json.")
        return StoredKey(signer, KeyTimes(signer.kid, signs_from_s))


def _write_durably(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the file's name durable too: a key that signs and is lost with the power would end all its tokens."""
    with contextlib.suppress(PermissionError):  # Windows opens no folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
