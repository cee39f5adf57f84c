"""The backend's database in the simulation: it remembers which of an app's transactions each upload was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncline.backend.persisters.base import UploadIdentity, Write, WriteRefused
from syncline.protocol.crud import TransactionResult
from syncline.testing.memory_backend import MemoryPersister
from syncline.testing.memory_source import MemorySource

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["REFUSED_TEXT", "RecordingPersister"]

REFUSED_TEXT = "refuse me"  # rows with this text are refused by the backend


class RecordingPersister(MemoryPersister):
    """Remembers which of an app's transactions each upload is. `executed`: (tag, refused), in the order of the commits."""

    def __init__(self, world: World, source: MemorySource) -> None:
        super().__init__(source, check=_refuse)
        self._world = world
        self._tags: dict[UploadIdentity | None, str] = {}
        self.executed: list[tuple[str, bool]] = []
        self.placed: dict[str, tuple[int, bool]] = {}
        """Position and refusal of each transaction's first execution."""

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        """Apply, and note what was committed."""
        self._tags[identity] = next(str(write.data["tag"]) for write in writes if write.table == "journal")
        result = await super().apply(writes, identity)
        self._note(deduplicated=result.deduplicated)
        return result

    async def record_refusal(self, identity: UploadIdentity, result: TransactionResult) -> TransactionResult:
        """Record, and note it."""
        kept = await super().record_refusal(identity, result)
        self._note(deduplicated=kept.deduplicated)
        return kept

    def _note(self, *, deduplicated: bool) -> None:
        self._world.counts["upload repeated, answered from the verdicts"] += deduplicated
        for commit in self.commits[len(self.executed) :]:
            tag = self._tags[commit.identity]
            self.executed.append((tag, commit.refused))
            self.placed.setdefault(tag, (commit.position, commit.refused))
            self._world.counts["upload refused" if commit.refused else "upload committed"] += 1
            self._world.note("backend", f"{tag} at {commit.position}{' refused' if commit.refused else ''}")


def _refuse(write: Write) -> None:
    if write.data.get("text") == REFUSED_TEXT:
        raise WriteRefused("REFUSED", "The text is not allowed.", operation_index=write.index)
