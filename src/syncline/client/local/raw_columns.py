"""What a raw table looks like in the file (client SQLite reference, 7)."""

from __future__ import annotations

import apsw

from syncline.client.schema_raw import RawTable
from syncline.errors import ClientError

__all__ = ["RawTableInvalid", "data_columns"]


class RawTableInvalid(ClientError):
    """A raw table of the schema does not fit the file: it is missing, or a statement does not fit it. Nothing was written."""


def data_columns(connection: apsw.Connection, table: RawTable) -> list[str]:
    """The synced columns of a raw table without `id`: those listed, else all that the table has. Raises RawTableInvalid."""
    found = [
        str(name)
        for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table.table_name,)).fetchall()
    ]
    if not found:
        raise RawTableInvalid(
            f'Raw table "{table.name}": the file has no table "{table.table_name}".',
            hint="Make it before the client syncs: raw tables are created and migrated by the app (CREATE TABLE …).",
        )
    lowered = {name.lower() for name in found}
    if "id" not in lowered:
        raise RawTableInvalid(
            f'Raw table "{table.name}": the table "{table.table_name}" has no column "id".',
            hint="Add it: id TEXT PRIMARY KEY.",
        )
    if table.synced_columns is None:
        return [name for name in found if name.lower() != "id"]
    missing = [name for name in table.synced_columns if name.lower() not in lowered]
    if missing:
        raise RawTableInvalid(
            f'Raw table "{table.name}": the table "{table.table_name}" has no column "{missing[0]}".',
            hint="Add the column with ALTER TABLE, or take it out of synced_columns.",
        )
    return list(table.synced_columns)
