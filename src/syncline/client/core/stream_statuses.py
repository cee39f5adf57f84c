"""PURE: what the status says of each sync stream: from the device's subscriptions, the checkpoint, and the download's progress."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from syncline.client.core.progress import ProgressTracker
from syncline.client.core.status import StreamStatus, time_of
from syncline.client.core.subscriptions import (
    LocalSubscription,
    bucket_owners,
    decode_params,
    stream_priorities,
    synced_ids,
    unknown_streams,
)
from syncline.protocol.lines import BucketChecksum, StreamDescription

__all__ = ["StreamStatuses"]


class StreamStatuses:
    """The streams of one iteration. `requested` are the subscriptions that its request listed: the service counts them by index."""

    def __init__(self, requested: tuple[LocalSubscription, ...]) -> None:
        self._requested = requested
        self._rows = requested
        self._streams: list[StreamDescription] = []
        self._buckets: list[BucketChecksum] = []
        self._owners: dict[str, tuple[int, ...]] = {}
        self._priorities: dict[int, int] = {}
        self._statuses: dict[int, StreamStatus] = {}
        self.unknown: list[str] = []
        """Names that were subscribed to and that the service does not have."""
        self._rebuild()

    @property
    def owners(self) -> dict[str, tuple[int, ...]]:
        """Bucket -> row ids of the subscriptions that it belongs to."""
        return self._owners

    def set_rows(self, rows: tuple[LocalSubscription, ...]) -> None:
        """The device's subscriptions are these now."""
        self._rows = rows
        self._rebuild()

    def set_streams(self, streams: list[StreamDescription]) -> None:
        """A full checkpoint line named these streams."""
        self._streams = streams
        self.unknown = unknown_streams(self._requested, streams)

    def set_buckets(self, buckets: Iterable[BucketChecksum]) -> None:
        """The checkpoint has these buckets."""
        self._buckets = list(buckets)
        self._rebuild()

    def synced(self, priority: int | None) -> tuple[int, ...]:
        """Row ids of the streams that are complete when everything up to `priority` (None: everything) is."""
        return synced_ids(self._rows, self._priorities, priority=priority)

    def show_progress(self, progress: ProgressTracker | None, moved: Iterable[int] | None = None) -> None:
        """Take the numbers of a download (None: nothing is downloaded), for all streams or for those that have `moved`."""
        for row_id in list(self._statuses) if moved is None else moved:
            status = self._statuses.get(row_id)
            if status is not None:
                shown = progress.of_stream(row_id) if progress is not None and row_id in self._priorities else None
                self._statuses[row_id] = replace(status, progress=shown)

    def statuses(self) -> tuple[StreamStatus, ...]:
        """One status for each subscription."""
        return tuple(self._statuses.values())

    def _rebuild(self) -> None:
        self._owners = bucket_owners(self._requested, self._rows, self._streams, self._buckets)
        self._priorities = stream_priorities(self._owners, self._buckets)
        errors = {stream.name: tuple(error.message for error in stream.errors) for stream in self._streams}
        before = self._statuses
        self._statuses = {
            row.row_id: StreamStatus(
                name=row.stream,
                parameters=decode_params(row.params_text),
                active=row.active,
                is_default=row.is_default,
                explicit=row.explicit,
                unknown=row.stream in self.unknown,
                errors=errors.get(row.stream, ()),
                expires_at=None if row.expires_at_us is None else time_of(row.expires_at_us),
                last_synced_at=None if row.last_synced_at_us is None else time_of(row.last_synced_at_us),
                priority=self._priorities.get(row.row_id),
                progress=before[row.row_id].progress if row.row_id in before else None,
            )
            for row in self._rows
        }
