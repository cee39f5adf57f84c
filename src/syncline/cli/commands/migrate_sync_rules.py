"""`syncline migrate sync-rules`: bucket definitions to sync streams (docs/howto/migrate-sync-rules.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from syncline.cli.exit_codes import EXIT_FAILED, CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.generated_files import STANDARD_OUTPUT, read_text, write_text
from syncline.cli.output import say
from syncline.cli.project import DIRECTORY, open_project

if TYPE_CHECKING:
    from syncline.sync_config.migration import Migration

__all__ = ["migrate_sync_rules"]


def migrate_sync_rules(
    directory: str = DIRECTORY,
    input_file: str | None = typer.Option(
        None, "--input-file", help="The sync rules; the project's sync config without."
    ),
    output_file: str | None = typer.Option(
        None,
        "--output-file",
        help="Where to write the streams; without, the input is overwritten. - is standard output.",
    ),
    source_uri: str | None = typer.Option(
        None, "--source-uri", help="Ask this Postgres which columns * means: those with _ in front need it."
    ),
    check: bool = typer.Option(
        False,
        "--check",
        help="Write nothing; end with 1 where there are bucket definitions, and say if they can be migrated.",
    ),
) -> None:
    """Write sync rules as sync streams.

    Users get the same rows as before. What cannot be said with streams is refused, with its place.
    """
    with failures_told(unreachable=EXIT_FAILED), extra_needed("service"):
        path = input_file or str(open_project(directory).sync_config_path)
        text = read_text(path)
        if text is None:
            raise CommandFailed(f"Sync input file {path} not found.")
        migration = _migrated(text, source_uri)
        for note in migration.notes:
            say(f"Note: {note}")
        if check:
            if migration.text != text:
                raise CommandFailed(
                    f"{path} has sync rules, which can be migrated.", hint="syncline migrate sync-rules"
                )
            typer.echo(f"{path} has streams already.")
            return
        target = output_file or path
        write_text(target, migration.text)
        if target != STANDARD_OUTPUT:
            typer.echo(f"Wrote {Path(target)} with migrated sync streams.")


def _migrated(text: str, source_uri: str | None) -> Migration:
    from syncline.cli.schema_sources import ask_source
    from syncline.sync_config.migration import migrate_to_streams

    return migrate_to_streams(text, schema=ask_source(source_uri).schema() if source_uri else None)
