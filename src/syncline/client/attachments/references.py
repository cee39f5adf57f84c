"""Which files the app's rows refer to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from syncline.client.attachments.model import AttachmentReference
from syncline.client.rows import Row
from syncline.client.transactions import ReadTransaction
from syncline.errors import ClientError

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["ReferenceSource", "References", "references_of"]

References = str | Callable[[], AsyncIterator[list[AttachmentReference]]]
"""A query with a column `id` (and `file_extension`, `filename`, `media_type`, `meta_data` where the app knows them), or a function whose
iterator gives the whole list now and after each change of it."""


class ReferenceSource:
    """Follows the references. With a query, the list is read again in the transaction that acts on it."""

    def __init__(self, db: SyncDatabase, references: References, *, throttle_s: float) -> None:
        self._db = db
        self._references = references
        self._throttle_s = throttle_s

    async def changes(self) -> AsyncIterator[list[AttachmentReference]]:
        """The list now, and each time that it is another one; ends when the database closes."""
        last: list[AttachmentReference] | None = None
        async for references in self._lists():
            if references != last:
                last = references
                yield references

    async def current(self, seen: list[AttachmentReference], *, within: ReadTransaction) -> list[AttachmentReference]:
        """The list as a transaction sees it; `seen` where only the app can tell."""
        if callable(self._references):
            return seen
        return references_of(await within.get_all(self._references))

    async def _lists(self) -> AsyncIterator[list[AttachmentReference]]:
        if callable(self._references):
            async for references in self._references():
                yield references
            return
        async for rows in self._db.watch(self._references, throttle_s=self._throttle_s):
            yield references_of(rows)


def references_of(rows: list[Row]) -> list[AttachmentReference]:
    """The references of a query's rows; rows whose id is NULL refer to nothing. Raises ClientError for a query without `id`."""
    if rows and "id" not in rows[0].keys():  # noqa: SIM118 - a row iterates over its values
        raise ClientError(
            "The query for the references has no column id.",
            hint="SELECT photo_id AS id, 'jpg' AS file_extension FROM todos WHERE photo_id IS NOT NULL",
        )
    return [
        AttachmentReference(
            id=str(row["id"]),
            file_extension=row.get("file_extension"),
            filename=row.get("filename"),
            media_type=row.get("media_type"),
            meta_data=row.get("meta_data"),
        )
        for row in rows
        if row["id"] is not None
    ]
