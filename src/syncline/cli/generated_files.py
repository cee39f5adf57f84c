"""Files that a command writes, and `-` for standard output."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.exit_codes import CommandFailed

__all__ = ["STANDARD_OUTPUT", "read_text", "write_text"]

STANDARD_OUTPUT = "-"


def write_text(path: str, text: str) -> None:
    """Write exactly this file; folders are not made. Raises CommandFailed."""
    if path == STANDARD_OUTPUT:
        typer.echo(text, nl=False)
        return
    try:
        Path(path).write_bytes(text.encode("utf-8"))
    except OSError as exc:
        raise CommandFailed(f"{path} cannot be written: {exc.strerror or exc}") from exc


def read_text(path: str) -> str | None:
    """The text of a file; None where there is none. Raises CommandFailed."""
    try:
        return Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandFailed(f"{path} cannot be read: {getattr(exc, 'strerror', None) or 'it is no text'}") from exc
