"""`syncline source setup`: the statements that set up a source, for you to read and run."""

from __future__ import annotations

import asyncio
import contextlib
import os
from enum import StrEnum

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import say
from syncline.cli.project import DIRECTORY, open_project

__all__ = ["source_setup"]


class SourceType(StrEnum):
    """Kinds of databases."""

    POSTGRESQL = "postgresql"
    SUPABASE = "supabase"
    MYSQL = "mysql"
    MONGODB = "mongodb"
    MSSQL = "mssql"


def source_setup(
    kind: SourceType = typer.Option(SourceType.POSTGRESQL, "--type", help="Kind of the database."),
    missing: bool = typer.Option(
        False, "--missing", help="Connect to the project's source, and print only what it lacks."
    ),
    print_sql: bool = typer.Option(
        True, "--print-sql", help="Print the statements; this is all that the command does."
    ),
    directory: str = DIRECTORY,
) -> None:
    """Print the statements that set up a source.

    Nothing is run: they need more rights than the service should have. Only Postgres is replicated yet.
    """
    from syncline.cli.source_setup import SOURCE_KINDS

    with failures_told():
        found = SOURCE_KINDS[kind.value]
        if missing:
            if not found.is_supported:
                raise CommandFailed(f"{found.title} is not supported as a source yet.")
            typer.echo(_missing(directory))
            return
        if not found.is_supported:
            say(f"{found.title} is not supported as a source yet. This is what a source of this kind would need:")
        typer.echo(found.statements.rstrip())


def _missing(directory: str) -> str:
    """What the project's source lacks. Raises CommandFailed, ConfigError, SourceError."""
    with extra_needed("service"):
        from syncline.cli.service_file import load_service_file
        from syncline.replication.postgres.checks import setup_sql
        from syncline.replication.postgres.connection import connect, source_errors
        from syncline.replication.postgres.source import PUBLICATION
        from syncline.service.conninfo import conninfo

    loaded = load_service_file(open_project(directory).service_path, os.environ)
    if loaded.unset_of_databases:
        raise CommandFailed(f"Not set here: {', '.join(loaded.unset_of_databases)}.")
    config = loaded.config

    async def ask(connection_string: str) -> str:
        connection = await connect(connection_string, application_name="syncline setup")
        try:
            with source_errors():
                return await setup_sql(connection, PUBLICATION, slot_name_prefix=config.slot_name_prefix)
        finally:
            await connection.close()

    with contextlib.ExitStack() as closing:
        return asyncio.run(ask(conninfo(config.source, closing))) or "-- Nothing is missing."
