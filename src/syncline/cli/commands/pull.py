"""`syncline pull`: the running service's sync config into the project; nothing that is there is overwritten unless that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import OUTPUT, Output, say, write_result
from syncline.cli.project import API_URL, DIRECTORY, admin_address, open_project

__all__ = ["pull"]

NOTHING_ACTIVE = "PSYNC_S4104"


def pull(
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
    overwrite: bool = typer.Option(False, "--overwrite", help="Overwrite the project's sync config."),
    output: Output = OUTPUT,
) -> None:
    """Fetch the sync config that is active in the linked service.

    Where the project has another one, the fetched one is written beside it, as sync-config-fetched.yaml.
    """
    from syncline.cli.admin_client import AdminClient, AdminRefused

    with failures_told(), extra_needed("service"):
        project = open_project(directory)
        try:
            current: dict[str, Any] = AdminClient(admin_address(directory, api_url)).current().get("current", {})
        except AdminRefused as exc:
            if exc.code != NOTHING_ACTIVE:
                raise
            raise CommandFailed("No sync config is active: there is nothing to fetch.") from exc
        text = str(current.get("content", ""))
        path = project.sync_config_path
        there = path.read_text("utf-8") if path.exists() else None
        if there is not None and there != text and not overwrite:
            path = path.with_name(f"{path.stem}-fetched{path.suffix}")
            say(f"{project.sync_config_path} differs and was left as it is; --overwrite replaces it.")
        changed = there != text
        if changed:
            write_whole(path, text)
        value = {"path": str(path), "changed": changed}
        write_result(value, output, lambda: f"Written: {path}" if changed else f"{path} is what the service has.")


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step. Raises CommandFailed."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text, "utf-8")
        new.replace(path)
    except OSError as exc:
        new.unlink(missing_ok=True)
        raise CommandFailed(f"{path} cannot be written: {exc.strerror}") from exc
