"""The records of the queue: what is read and written where, each change in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from syncline.client.attachments.limits import ERROR_CHARS_MAX, RETRY_CAP_S, STATE_PAGE
from syncline.client.attachments.model import Attachment, AttachmentReference, AttachmentState, AttachmentStats
from syncline.client.transactions import ReadTransaction, WriteTransaction

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["AttachmentStore", "now_ms"]

_COLUMNS = (
    "id, filename, local_uri, timestamp, size, media_type, state, has_synced, meta_data, attempts, retry_at, error"
)
# In the order in which they get their turn: what only this device has, first.
_WAITING = (AttachmentState.QUEUED_UPLOAD, AttachmentState.QUEUED_DELETE, AttachmentState.QUEUED_DOWNLOAD)
_CLEARED = "state = 4 AND timestamp = 0 AND has_synced = 0"  # what `table.forget_all` has left of a record


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class AttachmentStore:
    """Reads and writes one table of attachments."""

    def __init__(self, db: SyncDatabase, table: str, *, clock_ms: Callable[[], int] = now_ms) -> None:
        self._db = db
        self._view = '"' + table.replace('"', '""') + '"'
        self._now_ms = clock_ms

    async def get(self, attachment_id: str, *, within: ReadTransaction | None = None) -> Attachment | None:
        """One record."""
        reader = self._db if within is None else within
        row = await reader.get_optional(f"SELECT {_COLUMNS} FROM {self._view} WHERE id = ?", [attachment_id])  # noqa: S608 - quoted names
        return None if row is None else Attachment.from_row(row.as_dict())

    async def due(self, *, limit: int, attempts_max: int, without: Collection[str]) -> list[Attachment]:
        """Up to `limit` records whose turn it is: uploads and deletions before downloads, each kind the oldest first."""
        now = self._now_ms()
        parameters: dict[str, object] = {
            "attempts_max": attempts_max,
            "now": now,
            "cap": int(2 * RETRY_CAP_S * 1000),
            "without": json.dumps(sorted(without)),
        }
        found: list[Attachment] = []
        for state in _WAITING:
            # One state at a time: the index then gives them in their order, however many there are.
            found += await self._select(
                f"state = {int(state)} AND ifnull(attempts, 0) < :attempts_max"  # noqa: S608 - a number of ours
                # A time too far ahead was written before the device's clock was set back.
                " AND (ifnull(retry_at, 0) <= :now OR retry_at > :now + :cap)"
                " AND id NOT IN (SELECT value FROM json_each(:without))"
                " ORDER BY timestamp LIMIT :limit",
                {**parameters, "limit": limit - len(found)},
            )
            if len(found) >= limit:
                break
        return found

    async def next_retry_s(self, *, attempts_max: int) -> float | None:
        """Seconds until the next record that has failed is tried again; None where none waits for that."""
        row = await self._db.get(
            f"SELECT min(retry_at) AS at FROM {self._view} WHERE state IN {_numbers(_WAITING)}"  # noqa: S608 - quoted names
            " AND attempts BETWEEN 1 AND ?",
            [attempts_max - 1],
        )
        return None if row["at"] is None else max(0.0, (int(row["at"]) - self._now_ms()) / 1000)

    async def states(self, ids: Iterable[str], *, within: ReadTransaction | None = None) -> dict[str, AttachmentState]:
        """Where these records stand; those that are gone are left out."""
        reader = self._db if within is None else within
        rows = await reader.get_all(
            f"SELECT id, state FROM {self._view} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608 - quoted names
            [json.dumps(sorted(ids))],
        )
        return {str(row["id"]): AttachmentState(row["state"] or 0) for row in rows}

    async def stats(self, *, attempts_max: int) -> AttachmentStats:
        """Counts by state."""
        rows = await self._db.get_all(
            f"SELECT state, count(*) AS n, sum(state IN {_numbers(_WAITING)} AND ifnull(attempts, 0) >= ?) AS failed"  # noqa: S608 - quoted names
            f" FROM {self._view} WHERE NOT ({_CLEARED}) GROUP BY state",
            [attempts_max],
        )
        counts = {AttachmentState(row["state"] or 0): int(row["n"]) for row in rows}
        return AttachmentStats(
            uploads=counts.get(AttachmentState.QUEUED_UPLOAD, 0),
            downloads=counts.get(AttachmentState.QUEUED_DOWNLOAD, 0),
            deletions=counts.get(AttachmentState.QUEUED_DELETE, 0),
            synced=counts.get(AttachmentState.SYNCED, 0),
            archived=counts.get(AttachmentState.ARCHIVED, 0),
            failed=sum(int(row["failed"]) for row in rows),
        )

    async def superfluous(self, *, archived_max: int) -> list[Attachment]:
        """Archived records beyond the newest `archived_max`, and all that a cleared account has left; a page of each."""
        page: dict[str, object] = {"archived_max": archived_max, "page": STATE_PAGE}
        cleared = await self._select(f"{_CLEARED} LIMIT :page", page)
        return cleared + await self._select(
            f"state = 4 AND NOT ({_CLEARED}) ORDER BY timestamp DESC LIMIT :page OFFSET :archived_max", page
        )

    async def with_files(self, *, after: str = "") -> list[Attachment]:
        """A page of the records that claim a local file, in the order of their ids."""
        return await self._select(
            "local_uri IS NOT NULL AND id > :after ORDER BY id LIMIT :page", {"after": after, "page": STATE_PAGE}
        )

    async def failed(self, *, attempts_max: int) -> list[Attachment]:
        """Records that have failed too often."""
        return await self._select(
            f"state IN {_numbers(_WAITING)} AND attempts >= :attempts_max ORDER BY timestamp, id",
            {"attempts_max": attempts_max},
        )

    async def insert(self, transaction: WriteTransaction, *attachments: Attachment) -> None:
        """New records, in the app's transaction."""
        await transaction.execute_many(
            f"INSERT INTO {self._view}({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - quoted names
            [
                [
                    attachment.id,
                    attachment.filename,
                    attachment.local_uri,
                    attachment.timestamp_ms,
                    attachment.size,
                    attachment.media_type,
                    int(attachment.state),
                    int(attachment.has_synced),
                    attachment.meta_data,
                    attachment.attempts,
                    attachment.retry_at_ms,
                    attachment.error,
                ]
                for attachment in attachments
            ],
        )

    async def update(self, transaction: WriteTransaction, *attachments: Attachment) -> None:
        """What records have become: state, file, and failures."""
        await transaction.execute_many(
            f"UPDATE {self._view} SET state = ?, local_uri = ?, size = ?, has_synced = ?, timestamp = ?, attempts = ?,"  # noqa: S608 - quoted names
            " retry_at = ?, error = ? WHERE id = ?",
            [
                [
                    int(attachment.state),
                    attachment.local_uri,
                    attachment.size,
                    int(attachment.has_synced),
                    attachment.timestamp_ms,
                    attachment.attempts,
                    attachment.retry_at_ms,
                    attachment.error,
                    attachment.id,
                ]
                for attachment in attachments
            ],
        )

    async def change(self, seen: Attachment, become: Attachment) -> None:
        """Store what a record has become, unless it is not in the state any more in which it was seen."""
        await self.change_all([(seen, become)])

    async def change_all(self, changes: list[tuple[Attachment, Attachment | None]]) -> None:
        """The same for several, in one transaction; None: the record is deleted."""
        if not changes:
            return
        async with self._db.write_transaction() as transaction:
            states = await self.states([seen.id for seen, _ in changes], within=transaction)
            valid = [(seen, become) for seen, become in changes if states.get(seen.id) is seen.state]
            now = self._now_ms()
            changed = [replace(become, timestamp_ms=now) for _, become in valid if become is not None]
            await self.update(transaction, *changed)
            gone = [[seen.id] for seen, become in valid if become is None]
            await transaction.execute_many(f"DELETE FROM {self._view} WHERE id = ?", gone)  # noqa: S608 - quoted names

    async def note_failure(self, seen: Attachment, *, attempts: int, delay_s: float, error: str) -> None:
        """One more failure, and when it is tried again. The time of the last change stays: it is the order of the queue."""
        async with self._db.write_transaction() as transaction:
            current = await self.get(seen.id, within=transaction)
            if current is not None and current.state is seen.state:
                retry_at_ms = self._now_ms() + int(delay_s * 1000)
                failed = replace(current, attempts=attempts, retry_at_ms=retry_at_ms, error=error[:ERROR_CHARS_MAX])
                await self.update(transaction, failed)

    async def retry(self, attachment_id: str | None = None, *, given_up: bool = False) -> None:
        """Forget the failures of one record, or of all that wait; also of those that the app has `given_up`."""
        states = (*_WAITING, AttachmentState.ARCHIVED) if given_up else _WAITING
        await self._db.execute(
            f"UPDATE {self._view} SET attempts = 0, retry_at = 0"  # noqa: S608 - quoted names
            f" WHERE state IN {_numbers(states)} AND attempts > 0 AND (:id IS NULL OR id = :id)",
            {"id": attachment_id},
        )

    async def reconcile(
        self, transaction: WriteTransaction, references: list[AttachmentReference], *, download: bool
    ) -> None:
        """Let the records follow what rows refer to, all of which is in `references` (client API reference, 10)."""
        wanted = {reference.id: reference for reference in references}
        rows = await transaction.get_all(f"SELECT {_COLUMNS} FROM {self._view} WHERE NOT ({_CLEARED})")  # noqa: S608 - quoted names
        known = {record.id: record for record in (Attachment.from_row(row.as_dict()) for row in rows)}
        new = [self._to_download(wanted[name]) for name in wanted if download and name not in known]
        archived = [record for record in known.values() if record.state is AttachmentState.ARCHIVED]
        # What the app has given up (attempts > 0) rests until nothing has referred to it for a while, or `retry()`.
        changed = [self._revived(record) for record in archived if record.id in wanted and not record.attempts]
        changed += [replace(record, attempts=0) for record in archived if record.id not in wanted and record.attempts]
        changed += [
            replace(record, state=AttachmentState.ARCHIVED, timestamp_ms=self._now_ms())
            for record in known.values()
            if record.id not in wanted and record.state in (AttachmentState.SYNCED, AttachmentState.QUEUED_DOWNLOAD)
        ]
        await self.insert(transaction, *new)
        await self.update(transaction, *changed)

    def _to_download(self, reference: AttachmentReference) -> Attachment:
        return Attachment(
            id=reference.id,
            filename=reference.name,
            state=AttachmentState.QUEUED_DOWNLOAD,
            timestamp_ms=self._now_ms(),
            media_type=reference.media_type,
            meta_data=reference.meta_data,
        )

    def _revived(self, record: Attachment) -> Attachment:
        """An archived record that a row refers to again."""
        if record.local_uri is None:
            state = AttachmentState.QUEUED_DOWNLOAD
        else:
            state = AttachmentState.SYNCED if record.has_synced else AttachmentState.QUEUED_UPLOAD
        return replace(record, state=state, timestamp_ms=self._now_ms(), attempts=0, retry_at_ms=0, error=None)

    async def _select(self, condition: str, parameters: dict[str, object]) -> list[Attachment]:
        rows = await self._db.get_all(f"SELECT {_COLUMNS} FROM {self._view} WHERE {condition}", parameters)  # noqa: S608 - quoted names
        return [Attachment.from_row(row.as_dict()) for row in rows]


def _numbers(states: Iterable[AttachmentState]) -> str:
    return f"({', '.join(str(int(state)) for state in states)})"
