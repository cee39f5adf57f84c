"""What is wrong at present: in the log, in the job's status, and with the version in storage."""

from __future__ import annotations

import contextlib
import logging
import time

from syncline.errors import Retry, SlotLost, SourceError, SynclineError
from syncline.replication.limits import ERROR_TOLD_INTERVAL_S
from syncline.replication.status import JobStatus
from syncline.storage.base import StorageWriter
from syncline.storage.model import Version

__all__ = ["Troubles"]

log = logging.getLogger(__name__)


class Troubles:
    """Tells failures and their end. `version` is the one that is replicated; before it is chosen, the newest."""

    def __init__(self, writer: StorageWriter, status: JobStatus) -> None:
        self._writer = writer
        self._status = status
        self._told: dict[str, float] = {}  # text -> when it was logged
        self._recorded: tuple[int, str] | None = None
        self.version: int | None = None

    def begin(self, version: Version) -> None:
        """The version that is replicated from here on."""
        self.version = version.number
        self._recorded = (version.number, version.last_error)

    def report(self, exc: SynclineError) -> None:
        """Replication has failed, and will be tried again. A failure that stays the same is logged once a minute."""
        self._status.last_error = exc
        self._status.phase = "waiting to try again"
        self._record(str(exc))
        now_s = time.monotonic()
        self._told = {text: at_s for text, at_s in self._told.items() if now_s - at_s < ERROR_TOLD_INTERVAL_S}
        if str(exc) in self._told:
            return
        self._told[str(exc)] = now_s
        level = logging.ERROR if exc.retry is Retry.OPERATOR or isinstance(exc, SlotLost) else logging.WARNING
        where = "The source" if isinstance(exc, SourceError) else "Replication"
        log.log(level, "%s: %s", where, exc, extra={"event": "replication.error", "code": exc.error_code})

    def clear(self) -> None:
        """Replication goes on."""
        if self._status.last_error is not None:
            log.info("Replication goes on", extra={"event": "replication.healed"})
            self._status.last_error = None
            self._told.clear()
        if self._recorded is not None and self._recorded[1]:
            self._record("")

    def _record(self, text: str) -> None:
        """With the version, for diagnostics. Where storage is what fails, the next attempt says so itself."""
        with contextlib.suppress(SynclineError):
            if self.version is None:
                versions = self._writer.versions()
                if not versions:
                    return
                self.version = versions[-1].number
            if self._recorded != (self.version, text):
                self._writer.record_error(self.version, text)
                self._recorded = (self.version, text)
