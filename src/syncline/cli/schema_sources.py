"""Where `generate schema` and `migrate sync-rules` take the sync config and the columns of the source from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from syncline.cli.admin_client import AdminClient
from syncline.cli.exit_codes import CommandFailed
from syncline.cli.project import AdminAddress
from syncline.cli.validation.sync_config_check import read_sync_config
from syncline.errors import SourceError

if TYPE_CHECKING:
    from syncline.cli.schema_generation.source_columns import SourceColumns

__all__ = ["ask_service", "ask_source", "service_sync_config", "sync_config_of"]

NO_SYNC_CONFIG = "No active sync config found"
STORAGE_SCHEMA = (
    "syncline"  # where bucket storage may stand beside the source's tables (service configuration, `storage.schema`)
)


def sync_config_of(path: Path, *, is_required: bool) -> str | None:
    """The text of a sync config; None where there is none and none is required. Raises CommandFailed."""
    text = read_sync_config(path)
    if text is None and is_required:
        raise CommandFailed(NO_SYNC_CONFIG, hint=f"There is no {path}, or nothing in it.")
    return text


def service_sync_config(address: AdminAddress) -> str:
    """The sync config that the running service uses. Raises CommandFailed where it has none."""
    active = AdminClient(address).diagnostics(content=True).get("active_sync_rules")
    content: object = active.get("content") if isinstance(active, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # of any JSON
    if not isinstance(content, str) or not content.strip():
        raise CommandFailed(NO_SYNC_CONFIG, hint="Write powersync/sync-config.yaml, or deploy one: syncline deploy")
    return content


def ask_service(address: AdminAddress) -> SourceColumns:
    """The columns of the source, as the running service's admin API tells them. Raises CommandFailed."""
    from syncline.cli.schema_generation.source_columns import SourceColumns

    answer = AdminClient(address).schema()
    try:
        return SourceColumns.of_admin_schema(answer)
    except ValueError as exc:
        raise CommandFailed(f"{address.url} did not answer as a sync service does: {exc}.") from exc


def ask_source(uri: str) -> SourceColumns:
    """The columns of a Postgres, asked directly. Raises CommandFailed; no message holds the address, which may have a password."""
    import asyncio

    from syncline.cli.schema_generation.source_columns import SourceColumns
    from syncline.replication.postgres.inspector import PostgresInspector
    from syncline.replication.postgres.source import PUBLICATION

    if not uri.startswith(("postgresql://", "postgres://")):
        raise CommandFailed(
            "--source-uri is no address of a Postgres.", hint="--source-uri postgresql://user@host/database"
        )
    inspector = PostgresInspector(uri, publication=PUBLICATION, ignored_schema=STORAGE_SCHEMA)
    try:
        return SourceColumns.of_source(asyncio.run(inspector.tables()))
    except SourceError as exc:
        raise CommandFailed(f"The source cannot be asked: {exc}") from exc
