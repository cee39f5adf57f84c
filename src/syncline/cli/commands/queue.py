"""`syncline queue`: the local writes in a device's file that have not reached the backend. The app need not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from syncline.cli.device_file.opening import FILE, KEY, reading, role_held
from syncline.cli.device_file.queue import discard, listed, retry, shown
from syncline.cli.exit_codes import EXIT_USAGE, CommandFailed, failures_told
from syncline.cli.output import OUTPUT, YES, Output, as_json, confirmed, write_result

__all__ = ["queue_discard", "queue_list", "queue_retry", "queue_show"]

ID: str = typer.Argument(help="As `queue ls` shows it: 12 waits, L3 was refused.")
FORCE: bool = typer.Option(False, "--force", help="Also while another process syncs the file.")


def queue_list(
    file: Path = FILE,
    limit: int = typer.Option(100, "--limit", min=1, help="So many that wait, and so many that were refused."),
    key: str = KEY,
    output: Output = OUTPUT,
) -> None:
    """List the local transactions that wait for their upload, oldest first, and those that the backend refused.

    Changes nothing.
    """
    with failures_told():
        found = listed(file, key, limit=limit)
        write_result(found, output, lambda: _list_text(found))


def queue_show(file: Path = FILE, name: str = ID, key: str = KEY, output: Output = OUTPUT) -> None:
    """Show a local transaction whole, with the values that were written. Changes nothing."""
    with failures_told():
        found = shown(file, key, name)
        write_result(found, output, lambda: as_json(found))


def queue_retry(
    file: Path = FILE,
    name: str | None = typer.Argument(None, help="A refused transaction, such as L3."),
    everything: bool = typer.Option(False, "--all", help="All that were refused."),
    force: bool = FORCE,
    key: str = KEY,
    output: Output = OUTPUT,
) -> None:
    """Queue a refused transaction again, behind what waits. It is sent when the app syncs next."""
    with failures_told():
        if (name is None) != everything:
            raise CommandFailed("Give an id, or --all.", exit_code=EXIT_USAGE)
        _check(file, key)
        with role_held(file, force=force):
            count = retry(file, key, name)
        write_result({"queued": count}, output, lambda: f"{count} queued again.")


def queue_discard(
    file: Path = FILE,
    name: str = ID,
    yes: bool = YES,
    force: bool = FORCE,
    key: str = KEY,
    output: Output = OUTPUT,
) -> None:
    """Give a local transaction up: the backend will never get it.

    What it wrote goes back to what the server has, at the next checkpoint.
    """
    with failures_told():
        _check(file, key)
        confirmed("The write will never reach the backend. Go on?", yes=yes)
        with role_held(file, force=force):
            count = discard(file, key, name)
        write_result(
            {"id": name, "discarded_entries": count}, output, lambda: f"{name} is gone; it had {count} entries."
        )


def _check(file: Path, key: str) -> None:
    """Before a file for the sync role is made beside something that is none of ours."""
    with reading(file, key):
        pass


def _list_text(found: list[dict[str, Any]]) -> str:
    """One line each, without values of rows."""
    lines = [
        "\t".join(
            (
                each["id"],
                each["state"],
                ", ".join(f"{count} {change}" for change, count in each["changes"].items()),
                *(str(each[name]) for name in ("created_at", "code", "message") if name in each),
            )
        )
        for each in found
    ]
    return "\n".join(lines) if lines else "Nothing waits for its upload, and nothing was refused."
