"""The table of the queue: local-only, and named and shaped as the official SDKs have it (client API reference, 10)."""

from __future__ import annotations

import apsw

from syncline.client.attachments.model import AttachmentState
from syncline.client.schema import Column, Schema, Table

__all__ = ["AttachmentTable", "count_pending_uploads", "forget_all"]

_COLUMNS = (
    Column.text("filename"),
    Column.text("local_uri"),
    Column.integer("timestamp"),
    Column.integer("size"),
    Column.text("media_type"),
    Column.integer("state"),
    Column.integer("has_synced"),
    Column.text("meta_data"),
    # Ours; an official SDK that writes a record leaves them out, which means: not tried yet.
    Column.integer("attempts"),
    Column.integer("retry_at"),
    Column.text("error"),
)
# What the queue looks for after each change: whose turn it is, and who has failed.
_INDEXES = {"by_state": ["state", "timestamp"], "by_attempts": ["state", "attempts"]}


class AttachmentTable(Table):
    """Put one into the schema: `Schema([..., AttachmentTable()])`.

    Its records belong to the account, as synced rows do: clearing the database forgets them even where local-only tables stay, and
    files that were never uploaded count as pending writes.
    """

    __slots__ = ()

    def __init__(self, name: str = "attachments") -> None:
        super().__init__(name, _COLUMNS, local_only=True, indexes=_INDEXES)


def count_pending_uploads(connection: apsw.Connection, schema: Schema) -> int:
    """How many files of all queues are on this device only."""
    total = 0
    for table in _tables(schema):
        [(count,)] = connection.execute(
            f'SELECT count(*) FROM "{table.view_name}" WHERE state = ? AND local_uri IS NOT NULL',  # noqa: S608 - checked names
            (AttachmentState.QUEUED_UPLOAD,),
        ).fetchall()
        total += int(str(count))
    return total


def forget_all(connection: apsw.Connection, schema: Schema) -> None:
    """Forget every record, in the caller's write transaction; the files are deleted by the queue, as soon as one runs.

    What stays of a record is where its file is, under an id that nobody refers to: archived, and older than all others.
    """
    for table in _tables(schema):
        view = f'"{table.view_name}"'
        uris = [
            uri
            for (uri,) in connection.execute(
                f"SELECT local_uri FROM {view} WHERE local_uri IS NOT NULL"  # noqa: S608 - checked names
            ).fetchall()
        ]
        connection.execute(f"DELETE FROM {view}").fetchall()  # noqa: S608 - checked names
        connection.executemany(
            f"INSERT INTO {view}(id, filename, local_uri, timestamp, state, has_synced)"  # noqa: S608 - checked names
            " VALUES (uuid(), '', ?, 0, ?, 0)",
            [(uri, int(AttachmentState.ARCHIVED)) for uri in uris],
        ).fetchall()


def _tables(schema: Schema) -> list[AttachmentTable]:
    return [table for table in schema.tables if isinstance(table, AttachmentTable)]
