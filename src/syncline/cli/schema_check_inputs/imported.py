"""An object of the app's own code, named as `module:NAME`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from syncline.cli.exit_codes import CommandFailed

__all__ = ["imported"]

Wanted = TypeVar("Wanted")


def imported(place: str, kind: type[Wanted], *, option: str) -> Wanted:
    """Import `module:NAME` from the current folder or what is installed. Raises CommandFailed, also where it is of another kind."""
    module, _, name = place.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as exc:  # the app's own code may raise anything while it is imported
        raise CommandFailed(
            f"{option} {place} cannot be imported: {type(exc).__name__}: {exc}",
            hint=f"{option} app.schema:SCHEMA; run it in the folder of the app, with what the app needs installed.",
        ) from exc
    if not isinstance(found, kind):
        raise CommandFailed(f"{option} {place} is a {type(found).__name__}, not a {kind.__name__}.")
    return found
