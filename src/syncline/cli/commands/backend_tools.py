"""`syncline backend types` and `syncline openapi`: what the backend toolkit makes of values, and the routes that it serves."""

from __future__ import annotations

import dataclasses
import json

import typer

from syncline.cli.exit_codes import EXIT_USAGE, CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import OUTPUT, Output, as_yaml, write_result

__all__ = ["backend_types", "openapi"]


def backend_types(output: Output = OUTPUT) -> None:
    """Show which values of devices become which values of a Postgres column, and what is refused.

    For people it is a table in markdown.
    """
    with failures_told(), extra_needed("backend"):
        from syncline.backend.type_table import POSTGRES_TYPES, format_type_table

        rows = [dataclasses.asdict(row) for row in POSTGRES_TYPES]
        write_result(rows, output, lambda: format_type_table().rstrip("\n"))


def openapi(
    backend: str | None = typer.Option(
        None, "--backend", help="The SyncBackend of an app, app.main:backend: with the routes that it adds."
    ),
    service: bool = typer.Option(False, "--service", help="The sync service's document instead."),
    output: Output = typer.Option(Output.JSON, "--output", "--format", help="Form of the document; human is JSON."),
) -> None:
    """Print the OpenAPI document of the write API, for clients in other languages and for gateways."""
    with failures_told(), extra_needed("backend", "service"):
        if backend and service:
            raise CommandFailed("--backend and --service exclude each other.", exit_code=EXIT_USAGE)
        text = _service_document() if service else _backend_document(backend)
        typer.echo(as_yaml(json.loads(text)) if output is Output.YAML else text.rstrip("\n"))


def _service_document() -> str:
    from syncline.api.openapi import OPENAPI_BODY

    return OPENAPI_BODY.decode()


def _backend_document(place: str | None) -> str:
    from syncline.backend.http.openapi import openapi_text
    from syncline.backend.http.routes import ALL_ROUTES

    routes = ALL_ROUTES
    if place:
        from syncline.backend.core import SyncBackend
        from syncline.cli.schema_check_inputs.imported import imported

        routes = imported(place, SyncBackend, option="--backend").dispatcher.table.routes
    return openapi_text(routes)
