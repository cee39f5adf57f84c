"""Tokens of `syncline login`, by the address of their service: one JSON file in the user's configuration folder, for the user alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from syncline.cli.exit_codes import CommandFailed

__all__ = ["forget_token", "logins_path", "store_token", "stored_token"]

FILE_MODE, FOLDER_MODE = 0o600, 0o700
LOGINS_MAX = 1000  # services; more is no list of a person's


def logins_path(environment: Mapping[str, str]) -> Path:
    """Where the tokens are kept, by the platform's custom."""
    home = Path(environment.get("HOME") or Path.home())
    if sys.platform == "win32":
        folder = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        folder = home / "Library" / "Application Support"
    else:
        folder = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return folder / "syncline" / "logins.json"


def stored_token(url: str, environment: Mapping[str, str]) -> str:
    """The token for a service; empty where none was stored. Raises CommandFailed where the file is damaged."""
    return _read(logins_path(environment)).get(url.rstrip("/"), "")


def store_token(url: str, token: str, environment: Mapping[str, str]) -> Path:
    """Keep a token; the file that holds it. Raises CommandFailed where it cannot be written."""
    path = logins_path(environment)
    tokens = _read(path) | {url.rstrip("/"): token}
    if len(tokens) > LOGINS_MAX:
        raise CommandFailed(f"{path} holds tokens of {LOGINS_MAX} services already.", hint="syncline logout URL")
    _write(path, tokens)
    return path


def forget_token(url: str, environment: Mapping[str, str]) -> bool:
    """Remove a token; whether there was one. Raises CommandFailed where the file cannot be read or written."""
    path = logins_path(environment)
    tokens = _read(path)
    if tokens.pop(url.rstrip("/"), None) is None:
        return False
    _write(path, tokens)
    return True


def _read(path: Path) -> dict[str, str]:
    try:
        found: object = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise CommandFailed(f"{path} cannot be read.", hint="Remove it, and log in again: syncline login URL") from exc
    if not isinstance(found, dict):
        return {}
    tokens = cast("dict[object, object]", found)
    return {url: token for url, token in tokens.items() if isinstance(url, str) and isinstance(token, str)}


def _write(path: Path, tokens: Mapping[str, str]) -> None:
    """In one step, so that no half file is ever read; for the user alone from the first byte on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8") as file:
            json.dump(tokens, file, indent=2)
        new.replace(path)
    except OSError as exc:
        raise CommandFailed(f"{path} cannot be written: {exc.strerror}") from exc
