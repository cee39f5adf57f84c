"""Where the database of an app belongs when it names only a file: the platform's folder for an app's data."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syncline.errors import ClientError

__all__ = ["DataDirectoryUnknown", "DatabasePlace", "data_directory", "place_of"]

_EXPLICIT = (".", "..")  # first parts of a path by which a caller says where; `~` too


class DataDirectoryUnknown(ClientError):
    """The platform names no folder for an app's data, or the name of the app cannot name one."""


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """The file of a database, and whether its folder is ours to make."""

    path: Path
    in_data_directory: bool = False

    def make_folder(self) -> None:
        """Make the folder of an app's data. Other folders are the caller's. Raises OSError."""
        if self.in_data_directory:
            self.path.parent.mkdir(parents=True, exist_ok=True)


def place_of(
    path: str | os.PathLike[str],
    *,
    app_name: str | None = None,
    environment: Mapping[str, str] | None = None,
    platform: str = sys.platform,
) -> DatabasePlace:
    """The file to open. A bare name (`"app.db"`) is one in the folder of the app's data.

    An absolute path is taken as it is. One that begins with `./`, `../` or `~` says where by itself. Everything else would end up in
    whatever folder the program happens to be started from: it goes below the data folder instead. `app_name` is the name of that
    folder, by default the name of the program; an interactive session has none, and keeps its files where it was started. Raises
    DataDirectoryUnknown.
    """
    text = os.fspath(path)
    found = Path(text)
    # pathlib drops a leading "./", which is the caller's word for "here".
    first = text.replace("\\", "/").split("/", 1)[0]
    if found.is_absolute() or text == ":memory:":
        return DatabasePlace(found)
    if first.startswith("~"):
        return DatabasePlace(found.expanduser())
    name = app_name or _program()
    if first in _EXPLICIT or name is None:
        return DatabasePlace(found.absolute())
    return DatabasePlace(data_directory(name, environment=environment, platform=platform) / found, True)


def data_directory(
    app_name: str, *, environment: Mapping[str, str] | None = None, platform: str = sys.platform
) -> Path:
    """The folder for the data of one app and user: XDG_DATA_HOME, Application Support or LOCALAPPDATA. Not made here."""
    values = os.environ if environment is None else environment
    if not app_name or any(character in app_name for character in '/\\:*?"<>|') or app_name.strip(". ") != app_name:
        raise DataDirectoryUnknown(
            f"{app_name!r} cannot name a folder.", hint='Pass app_name="…" with letters, digits, - and _.'
        )
    if platform == "win32":
        base = values.get("LOCALAPPDATA") or values.get("APPDATA")
    elif platform == "darwin":
        base = values.get("HOME") and f"{values['HOME']}/Library/Application Support"
    else:
        home = values.get("HOME")
        wanted = values.get("XDG_DATA_HOME", "")
        # A relative XDG_DATA_HOME is invalid and to be ignored (XDG base directory specification).
        base = wanted if wanted.startswith("/") else home and f"{home}/.local/share"
    if not base:
        raise DataDirectoryUnknown(
            "The folder for an app's data is unknown: the environment names no home.",
            hint="Pass an absolute path for the database file.",
        )
    return Path(base) / app_name


def _program() -> str | None:
    """The name of the program that runs: its package for `python -m`, else its file without suffix; None in a session."""
    main = sys.modules.get("__main__")
    package = getattr(main, "__package__", None)
    if package:
        return str(package).split(".")[0]
    file = getattr(main, "__file__", None)
    return Path(str(file)).stem if file else None
