"""Rows of the tables `version` and `source_table`, as writer and reader read them."""

from __future__ import annotations

from typing import Any

from syncline.storage.model import SnapshotProgress, SnapshotState, StoredTable, Version, VersionState

__all__ = ["TABLE_COLUMNS", "VERSION_COLUMNS", "table_from_row", "version_from_row"]

VERSION_COLUMNS = "number, state, sync_config, slot_name, source_identity, snapshot_done, consistent_from, last_error"
TABLE_COLUMNS = "id, schema_name, table_name, relation_id, key_columns, snapshot, progress, definition"


def version_from_row(row: tuple[Any, ...]) -> Version:
    """A version from its `VERSION_COLUMNS`."""
    return Version(
        number=row[0],
        state=VersionState(row[1]),
        sync_config=row[2],
        slot_name=row[3],
        source_identity=row[4],
        snapshot_done=row[5],
        consistent_from=row[6],
        last_error=row[7],
    )


def table_from_row(row: tuple[Any, ...]) -> StoredTable:
    """A source table from its `TABLE_COLUMNS`."""
    return StoredTable(
        id=row[0],
        schema=row[1],
        name=row[2],
        relation_id=row[3],
        key_columns=tuple(row[4]),
        snapshot=SnapshotState(row[5]),
        progress=SnapshotProgress(*row[6]) if row[6] is not None else None,
        definition=row[7],
    )
