"""`syncline link self-hosted`: say in cli.yaml which service the project belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import as_yaml, say
from syncline.cli.project import CLI_FILE, DIRECTORY, SELF_HOSTED, read_link

__all__ = ["TOKEN_REFERENCE", "link_self_hosted", "write_link"]

TOKEN_REFERENCE = "!env PS_ADMIN_TOKEN"  # noqa: S105 - as the official CLI writes it: the token itself is in no file
_HEAD = "# Which service this project belongs to. Written by `syncline link`.\n"


def link_self_hosted(
    api_url: str = typer.Option(..., "--api-url", help="Address of the service."), directory: str = DIRECTORY
) -> None:
    """Link the project to a service of your own.

    Makes the folder where there is none. The token for the service's admin API is taken from the variable PS_ADMIN_TOKEN.
    """
    with failures_told(), extra_needed("service"):
        if not api_url.startswith(("http://", "https://")):
            say(f"Warning: {api_url!r} does not begin with http:// or https://.")
        path = Path(directory) / CLI_FILE
        kept = {key: value for key, value in read_link(path).items() if key == "plugins"}
        write_link(path, {"type": SELF_HOSTED, "api_url": api_url, "api_key": TOKEN_REFERENCE} | kept)
        typer.echo(f"Updated {path} with self-hosted link.")
        say("Next: export PS_ADMIN_TOKEN=…  (one of the service's api.tokens), then: syncline status")


def write_link(path: Path, link: dict[str, Any]) -> None:
    """Write a cli.yaml. Raises CommandFailed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_HEAD + as_yaml(link), "utf-8")
    except OSError as exc:
        raise CommandFailed(f"{path} cannot be written: {exc.strerror}") from exc
