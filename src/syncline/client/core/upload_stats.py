"""PURE: how much waits for its upload, and since when nothing of it has moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["HeadClock", "UploadQueueStats"]


@dataclass(frozen=True, slots=True)
class UploadQueueStats:
    """The upload queue at one moment: entries (changed rows) and their bytes.

    `head_since`: since when its oldest entry has been the oldest, as an aware time; None for an empty queue. A queue that moves has a
    young head, however long it is; a stuck one has an old head, however short.
    """

    count: int = 0
    size_bytes: int = 0
    head_since: datetime | None = None

    def head_age_s(self, at: datetime) -> float:
        """Seconds, up to an aware time, for which the queue has not moved; 0.0 for an empty one."""
        return 0.0 if self.head_since is None else max(0.0, (at - self.head_since).total_seconds())


class HeadClock:
    """Remembers since when the oldest entry has been the oldest."""

    __slots__ = ("_crud_id", "_since", "_written")

    def __init__(self, crud_id: int | None = None, since: datetime | None = None) -> None:
        """The arguments are what an earlier process saw."""
        self._crud_id: int | None = crud_id
        self._since: datetime | None = since
        self._written: datetime | None = None

    @property
    def since(self) -> datetime | None:
        """What the last `observe` has returned."""
        return self._since

    def written(self, now: datetime) -> None:
        """Something was queued: it is the head, where nothing was queued before."""
        if self._crud_id is None and self._written is None:
            self._written = now

    def observe(self, crud_id: int | None, now: datetime) -> datetime | None:
        """The head is this crud id now, None for an empty queue; returns since when."""
        if crud_id != self._crud_id:
            first = self._crud_id is None and self._written is not None
            self._since = None if crud_id is None else self._written if first else now
            self._crud_id = crud_id
        self._written = None
        return self._since
