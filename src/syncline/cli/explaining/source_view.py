"""The source and the sync config of a command: found by its options, in the project, or at the running service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from syncline.cli.exit_codes import CommandFailed
from syncline.cli.explaining.lookups import Lookups, lookup_patterns
from syncline.cli.output import say
from syncline.cli.project import SERVICE_FILE, SYNC_CONFIG_FILE, admin_address
from syncline.cli.schema_sources import STORAGE_SCHEMA, service_sync_config, sync_config_of
from syncline.cli.service_file import load_service_file
from syncline.errors import SourceError
from syncline.replication.postgres.row_reader import PostgresRowReader
from syncline.replication.postgres.source import PUBLICATION
from syncline.replication.row_reading import RowRefused
from syncline.service.conninfo import conninfo
from syncline.service.sync_configs import compile_plan
from syncline.sync_config.explain import ConnectionExplanation, RowExplanation, SourceTableName, explain_row

if TYPE_CHECKING:
    from syncline.protocol.requests import StreamsRequest
    from syncline.replication.row_reading import TableRows
    from syncline.sync_config.plan import ConnectionData, TablePattern

__all__ = ["LOOKUP_ROWS_MAX", "SourceView", "source_view"]

DEFAULT_SCHEMA = "public"
LOOKUP_ROWS_MAX = (
    200_000  # rows of all tables that are looked up in: a person waits for them, and they are held in memory
)


class SourceView:
    """A sync config over the rows that the source has now. Reads what the publication publishes, and changes nothing."""

    def __init__(self, sync_config: str, conninfo: str, *, lookup_rows_max: int = LOOKUP_ROWS_MAX) -> None:
        """Raises SyncConfigError."""
        self.plan = compile_plan(sync_config)
        self._conninfo = conninfo
        self._lookup_rows_max = lookup_rows_max
        self._lookups: Lookups | None = None

    def row(self, table: str, row_id: str, column: str) -> RowExplanation:
        """What becomes of the row whose `column` (by default `id`, else the key) has this value. Raises CommandFailed, SynclineError."""
        schema, dot, name = table.partition(".")
        place = SourceTableName(schema, name) if dot else SourceTableName(DEFAULT_SCHEMA, schema)
        found = asyncio.run(self._reader().row(*place, row_id, self.plan.value_format, column=column))
        if found is None:
            raise CommandFailed(f"The source has no row {row_id!r} in {place.schema}.{place.name}.")
        return explain_row(self.plan, place, dict(zip(found.columns, found.rows[0], strict=True)))

    def user(self, user: ConnectionData, streams: StreamsRequest | None) -> ConnectionExplanation:
        """Which buckets a user has and why. The tables that are looked up are read once. Raises SynclineError."""
        if self._lookups is None:
            patterns = lookup_patterns(self.plan)
            self._lookups = Lookups(self.plan, asyncio.run(self._rows(patterns)) if patterns else [])
            for name in self._lookups.cut_tables:
                say(f"Warning: of {name} only a part was read; what rests on its other rows is missing here.")
        return self._lookups.explain(user, streams)

    async def _rows(self, patterns: list[TablePattern]) -> list[TableRows]:
        return (await self._reader().tables(patterns, [self.plan.value_format], rows_max=self._lookup_rows_max))[0]

    def _reader(self) -> PostgresRowReader:
        # A reader belongs to the event loop in which it is used first.
        return PostgresRowReader(self._conninfo, publication=PUBLICATION, ignored_schema=STORAGE_SCHEMA)


@contextmanager
def source_view(
    source: str | None, sync_config: Path | None, directory: str, api_url: str | None
) -> Generator[SourceView]:
    """By the options of a command. Raises CommandFailed where nothing names the source or the config, SyncConfigError, ConfigError.

    Inside, what the source refuses is told as CommandFailed too; no message holds its password.
    """
    text = sync_config_of(sync_config or Path(directory) / SYNC_CONFIG_FILE, is_required=sync_config is not None)
    if text is None:
        text = service_sync_config(admin_address(directory, api_url))
    with ExitStack() as closing:
        view = SourceView(text, _checked(source) if source else _conninfo_of(Path(directory) / SERVICE_FILE, closing))
        try:
            yield view
        except RowRefused as exc:
            raise CommandFailed(exc.message) from exc
        except SourceError as exc:
            raise CommandFailed(f"The source cannot be asked: {exc}") from exc


def _checked(source: str) -> str:
    if not source.startswith(("postgresql://", "postgres://")):
        raise CommandFailed("--source is no address of a Postgres.", hint="--source postgresql://user@host/database")
    return source


def _conninfo_of(path: Path, closing: ExitStack) -> str:
    """The source of the project's service.yaml."""
    if not path.is_file():
        raise CommandFailed("Nothing names the source.", hint="--source postgresql://user@host/database")
    loaded = load_service_file(path, os.environ)
    if loaded.unset_of_databases:
        names = ", ".join(loaded.unset_of_databases)
        raise CommandFailed(f"{path} asks for variables that are not set: {names}.", hint="Set them, or give --source.")
    return conninfo(loaded.config.source, closing)
