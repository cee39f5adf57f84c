"""`syncline docker configure|start|stop|reset`: a development stack in containers."""

from __future__ import annotations

from enum import StrEnum

import typer

from syncline.cli.exit_codes import failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import YES, confirmed, say
from syncline.cli.project import DIRECTORY, Project, open_project

__all__ = ["docker_configure", "docker_reset", "docker_start", "docker_stop"]


class Part(StrEnum):
    """Where a database of the stack is."""

    POSTGRES = "postgres"
    EXTERNAL = "external"
    NONE = "none"


class Image(StrEnum):
    """Whose service runs."""

    OURS = "ours"
    OFFICIAL = "official"


def docker_configure(
    database: Part = typer.Option(
        Part.POSTGRES,
        "--database",
        help="The source: a container, external (PS_DATA_SOURCE_URI), or as service.yaml has it.",
    ),
    storage: Part = typer.Option(
        Part.NONE, "--storage", help="Buckets: a container, external (PS_STORAGE_SOURCE_URI), or SQLite in a volume."
    ),
    image: Image = typer.Option(Image.OURS, "--image", help="Syncline's service, or the official one."),
    directory: str = DIRECTORY,
) -> None:
    """Write a development stack into the project.

    Changes the sections replication, storage and port of service.yaml, and links the project to the stack. Passwords are drawn and
    stand in docker/.env alone.
    """
    with failures_told(), extra_needed("service"):
        from syncline.cli.docker.configuring import configure_stack
        from syncline.cli.docker.stack_files import StackChoice

        choice = StackChoice(database.value, storage.value, image.value)
        for path in configure_stack(open_project(directory), choice):
            typer.echo(f"  {path}")
        if database is Part.POSTGRES:
            say(
                "Put your tables into docker/modules/database-postgres/init-scripts: they are run when the volume is empty."
            )
        if Part.EXTERNAL in (database, storage):
            say("Fill in the addresses in docker/.env.")
        say('Next, run "syncline docker start".')


def docker_start(directory: str = DIRECTORY) -> None:
    """Start the stack, and wait until it is healthy."""
    with failures_told(), extra_needed("service"):
        _compose(open_project(directory), "up", "-d", "--wait")


def docker_stop(
    remove: bool = typer.Option(False, "--remove", help="Remove the containers too."),
    remove_volumes: bool = typer.Option(False, "--remove-volumes", help="Remove their data too."),
    project_name: str | None = typer.Option(None, "--project-name", help="Stop this stack instead of the project's."),
    yes: bool = YES,
    directory: str = DIRECTORY,
) -> None:
    """Stop the stack."""
    with failures_told(), extra_needed("service"):
        project = open_project(directory)
        if remove_volumes:
            confirmed("This removes the data of all databases of the stack. Go on?", yes=yes)
            _compose(project, "down", "--volumes", name=project_name)
        else:
            _compose(project, "down" if remove else "stop", name=project_name)


def docker_reset(directory: str = DIRECTORY) -> None:
    """Remove the stack's containers, and start it again. Volumes stay, with what is in them."""
    with failures_told(), extra_needed("service"):
        project = open_project(directory)
        _compose(project, "down")
        _compose(project, "up", "-d", "--wait")


def _compose(project: Project, *arguments: str, name: str | None = None) -> None:
    from syncline.cli.docker.engine import compose

    compose(project, arguments, name=name)
