"""`syncline init`, also `init self-hosted`: a project from nothing."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from syncline.cli.exit_codes import failures_told
from syncline.cli.project import DIRECTORY

__all__ = ["init"]


class Template(StrEnum):
    """What a project begins with."""

    MINIMAL = "minimal"
    FULL = "full"
    FASTAPI = "fastapi"
    TUI = "tui"


_NEXT = """
Next:
  1. Set up the source:            syncline source setup --type postgresql
  2. Set the variables:            PS_SOURCE_URI, PS_SSLMODE, PS_JWT_KEY, PS_ADMIN_TOKEN
  3. Say what is synced to whom:   {directory}/sync-config.yaml
  4. Check it:                     syncline validate
  5. Start it:                     syncline start -c {directory}/service.yaml
  6. Link the project to it:       syncline link self-hosted --api-url http://127.0.0.1:8080
"""


def init(
    template: Template = typer.Option(
        Template.MINIMAL,
        "--template",
        help="minimal; full: with every setting; fastapi: with tables and a backend; tui: also with a terminal app.",
    ),
    directory: str = DIRECTORY,
) -> None:
    """Make a project for a service of your own.

    Secrets are in none of its files: they come from the environment. Nothing that is there is overwritten.
    """
    from syncline.cli.project_templates import write_template

    with failures_told():
        written = write_template(template.value, Path(directory))
        typer.echo("Created a self-hosted project:")
        for path in written:
            typer.echo(f"  {path}")
        typer.echo(_NEXT.format(directory=directory).rstrip())
