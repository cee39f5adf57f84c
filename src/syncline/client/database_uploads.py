"""Methods of the database that hand out the upload queue."""

from __future__ import annotations

from collections.abc import AsyncIterator

from syncline.client.database_parts import DatabaseBase
from syncline.client.dead_letters import DeadLetters
from syncline.client.upload_queue import CrudTransaction, UploadQueue, UploadQueueStats

__all__ = ["UploadMethods"]


class UploadMethods(DatabaseBase):
    """What connectors read and complete."""

    @property
    def upload_queue(self) -> UploadQueue:
        """The local transactions that wait for their upload: statistics, and decisions about those that the backend leaves to the app."""
        return self._open_parts().queue

    @property
    def dead_letters(self) -> DeadLetters:
        """The local transactions that the backend has refused for good: to be looked at, sent again, or given up."""
        return self._open_parts().dead_letters

    async def get_next_crud_transaction(self) -> CrudTransaction | None:
        """The oldest local transaction that waits for its upload."""
        found = await self._open_parts().queue.transactions(limit=1)
        return found[0] if found else None

    def crud_transactions(self) -> AsyncIterator[CrudTransaction]:
        """All local transactions that wait, in order."""
        return self._open_parts().queue.iterate()

    async def get_crud_transactions(self, limit: int) -> list[CrudTransaction]:
        """The oldest `limit` local transactions that wait; completing one completes those before it."""
        return await self._open_parts().queue.transactions(limit=limit)

    async def get_upload_queue_stats(self) -> UploadQueueStats:
        """How much waits for its upload."""
        return await self._open_parts().queue.stats()
