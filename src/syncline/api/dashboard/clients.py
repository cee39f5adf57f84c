"""Who is connected: open streams of this process with what they hold, and what the processes together have reported."""

from __future__ import annotations

import os
from typing import Any

from syncline.api.admin.revoking import UserControl
from syncline.api.dashboard.limits import CLIENTS_SHOWN_MAX
from syncline.sync.checkpoint_watcher import CheckpointWatcher
from syncline.sync.stream import user_key_of

__all__ = ["Clients"]


class Clients:
    """Answers `clients`."""

    def __init__(self, users: UserControl, watcher: CheckpointWatcher) -> None:
        self._users = users
        self._watcher = watcher

    async def __call__(self) -> dict[str, Any]:
        """`here`: open streams of this process, each with its buckets. `reported`: clients of all processes whose streams are open.

        Reports count what streams of the day sent that have ended. They are written within seconds; of a process that was killed they
        may tell of streams that are gone.
        """
        known = await self._users.connections({})
        buckets = {inbox.user_key: len(inbox.buckets) for inbox in self._watcher.inboxes()}
        here = [
            stream | {"buckets": buckets.get(user_key_of(stream["user_id"], stream["client_id"] or None))}
            for stream in known["open"][:CLIENTS_SHOWN_MAX]
        ]
        reported = [day for day in known["days"] if day["disconnected_at"] is None][:CLIENTS_SHOWN_MAX]
        return {"pid": os.getpid(), "here": here, "reported": reported}
