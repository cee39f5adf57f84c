"""`syncline generate schema`: the schema of the device's database, from the sync config and the columns of the source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from syncline.cli.exit_codes import EXIT_FAILED, EXIT_USAGE, CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.generated_files import STANDARD_OUTPUT, read_text, write_text
from syncline.cli.output import say
from syncline.cli.project import API_URL, DIRECTORY, AdminAddress, admin_address, open_project
from syncline.cli.schema_generation.outputs import SchemaOutput

if TYPE_CHECKING:
    from syncline.cli.schema_generation.source_columns import SourceColumns

__all__ = ["generate_schema"]


def generate_schema(
    output: SchemaOutput = typer.Option(..., "--output", help="Language and form."),
    output_path: str = typer.Option(..., "--output-path", help="The file to write; - is standard output."),
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
    sync_config_file_path: Path | None = typer.Option(
        None, "--sync-config-file-path", help="Use this sync config instead of the project's."
    ),
    source_uri: str | None = typer.Option(None, "--source-uri", help="Ask this Postgres for its columns, no service."),
    offline: bool = typer.Option(False, "--offline", help="Ask nobody: columns of the source are taken for text."),
    check: bool = typer.Option(False, "--check", help="Write nothing; end with 1 where the file is out of date."),
) -> None:
    """Generate the schema of the device's database.

    Tables come from the sync config (without a local one, the running service's), types of columns from the service, or from the source
    itself.
    """
    with failures_told(unreachable=EXIT_FAILED), extra_needed("service"):
        if offline and source_uri:
            raise CommandFailed("--offline and --source-uri exclude each other.", exit_code=EXIT_USAGE)
        if check and output_path == STANDARD_OUTPUT:
            raise CommandFailed("--check needs the path of a file.", exit_code=EXIT_USAGE)
        text, source = _inputs(directory, api_url, sync_config_file_path, source_uri, offline=offline)
        if check:
            _check(text, source, output, output_path)
        else:
            _generate(text, source, output, output_path)


def _inputs(
    directory: str, api_url: str | None, config_path: Path | None, source_uri: str | None, *, offline: bool
) -> tuple[str, SourceColumns | None]:
    """The sync config and the columns of the source; None: of those nothing is known."""
    from syncline.cli.schema_sources import ask_service, ask_source, service_sync_config, sync_config_of

    asks_service = not (offline or source_uri)
    path = config_path or open_project(directory).sync_config_path
    text = sync_config_of(path, is_required=config_path is not None or not asks_service)
    if not asks_service:
        assert text is not None, "it is required then"
        return text, ask_source(source_uri) if source_uri else None
    address: AdminAddress = admin_address(directory, api_url)
    return text if text is not None else service_sync_config(address), ask_service(address)


def _generate(text: str, source: SourceColumns | None, output: SchemaOutput, path: str) -> None:
    from syncline.cli.schema_generation.tables import client_tables
    from syncline.cli.schema_generation.writers import written

    made = written(client_tables(text, source), output)
    if source is None:
        say("Warning: the source was not asked: its columns are taken for text.")
    for note in made.notes:
        say(f"Warning: {note}")
    write_text(path, made.text)
    if path != STANDARD_OUTPUT:
        typer.echo(f"Generated schema written to {path}")


def _check(text: str, source: SourceColumns | None, output: SchemaOutput, path: str) -> None:
    """Compare a file with what would be written now. Without the source, the hash of the sync config in the file's head has to do."""
    from syncline.cli.schema_generation.header import hash_in, out_of_date
    from syncline.cli.schema_generation.tables import client_tables
    from syncline.cli.schema_generation.writers import written

    hint = f"syncline generate schema --output {output} --output-path {path}"
    existing = read_text(path)
    if existing is None:
        raise CommandFailed(f"{path} does not exist.", hint=hint)
    found = client_tables(text, source)
    reason = out_of_date(existing, written(found, output).text)
    if reason and source is None and hash_in(existing) == found.config_hash:
        typer.echo(f"{path} was generated from this sync config; the columns of the source were not compared.")
        return
    if reason:
        raise CommandFailed(f"{path} is out of date: {reason}.", hint=hint)
    typer.echo(f"{path} is up to date.")
