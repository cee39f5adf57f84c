"""Methods of the database that concern its file and its tables as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from syncline.client.database_parts import DatabaseBase
from syncline.client.dead_letters import DEAD_LETTERS_TABLE
from syncline.client.local import layout
from syncline.client.local.clearing import trigger_resync
from syncline.client.local.connection import write_transaction
from syncline.client.local.seed import write_seed
from syncline.client.schema import Schema
from syncline.client.schema_drift import SchemaDrift, count_drift
from syncline.errors import ClientError

__all__ = ["SchemaMethods"]


class SchemaMethods(DatabaseBase):
    """`schema`, `update_schema`, `schema_drift`, `resync_tables`, `write_seed`, `path`."""

    @property
    def path(self) -> Path:
        """The file."""
        return self._place.path

    @property
    def schema(self) -> Schema:
        """The schema that the database was opened with, or last updated to."""
        return self._schema

    async def update_schema(self, schema: Schema) -> None:
        """Bring the open file to another schema: rows stay, as when it is opened with it. Watches run again.

        Also the way to have the triggers of captured raw tables made after the app has migrated them. Raises ClientError while
        connected.
        """

        def prepare(connection: apsw.Connection) -> None:
            layout.prepare(connection, schema)

        async with self._connecting:
            self._refuse_connected("The schema cannot change")
            await self._open_parts().writer.call(prepare)
            self._schema = schema
            self._open_parts().feed.tell_everything()  # the same rows, seen through other views

    async def schema_drift(self) -> list[SchemaDrift]:
        """Columns and tables that the service has sent and the schema has no place for, with how many rows have them.

        Reads every synced row. While connected, what is noticed of it is also a warning in the log (`schema_drift`).
        """
        schema = self._schema
        return await self._open_parts().readers.call(lambda connection: count_drift(connection, schema))

    async def resync_tables(self, *, clear_progress: bool = False) -> None:
        """Have every synced row written again at the next checkpoint, without a download: after a raw table has got other columns.

        `clear_progress` also forgets that anything was synced, so that `wait_for_first_sync` waits again. Raises ClientError while
        connected.
        """

        def resync(connection: apsw.Connection) -> None:
            with write_transaction(connection, local_writes=False):
                trigger_resync(connection, clear_progress=clear_progress)

        async with self._connecting:
            self._refuse_connected("Rows cannot be written again")
            await self._open_parts().writer.call(resync)
            await self._load_status()

    async def write_seed(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of what is synced, to ship with an app: whoever opens a copy becomes a device of its own.

        Sync first, with a user who sees only what every user may see. Raises PendingWrites while local writes wait for their
        upload, FileExistsError.
        """
        await self._open_parts().writer.call(
            lambda connection: write_seed(connection, path, private_tables=(DEAD_LETTERS_TABLE,))
        )

    def _refuse_connected(self, what: str) -> None:
        if self._connection is not None:
            raise ClientError(f"{what} while the database is connected.", hint="`await db.disconnect()` first.")

    async def _load_status(self) -> None:
        raise NotImplementedError
