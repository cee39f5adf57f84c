"""Changes for devices that poll: `GET /api/powersync/sync?since=`, where there is no sync service yet.

The app says what has changed for a user, page by page, from whatever it keeps: a column `updated_at`, a log table. It is not the sync
protocol: no buckets, no checksums, and what the app forgets to report stays wrong on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from syncline.backend.tokens import AuthenticatedUser
from syncline.errors import RequestInvalid

__all__ = ["SINCE_CHARACTERS_MAX", "ChangeFeed", "ChangesPage", "answer_changes"]

SINCE_CHARACTERS_MAX = 256  # characters of `since`, which devices keep and send back


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """One page: rows by table, each with a text `id`; a row that is gone is `{"id": …, "_deleted": True}`.

    `timestamp` is what the device sends as `since` next. With `has_more` it is that of the last row of this page and the device asks for
    the next page at once; without, a change that commits later must have a later timestamp, or no device will hear of it.
    """

    changes: Mapping[str, Sequence[Mapping[str, Any]]]
    timestamp: str | int | float
    has_more: bool = False


class ChangeFeed(Protocol):
    """What the app provides."""

    async def changes(self, user: AuthenticatedUser, since: str | None) -> ChangesPage:
        """What has changed for this user after `since`; None asks for everything. Raises RetryLater.

        Raises RequestInvalid for a `since` that it never gave.
        """
        ...


async def answer_changes(feed: ChangeFeed, user: AuthenticatedUser, since: str | None) -> bytes:
    """The body of an answer. Raises RequestInvalid for a `since` too long, and what the feed raises."""
    if since is not None and len(since) > SINCE_CHARACTERS_MAX:
        raise RequestInvalid([f"since is longer than {SINCE_CHARACTERS_MAX} characters"])
    page = await feed.changes(user, since or None)
    return msgspec.json.encode({"changes": page.changes, "timestamp": page.timestamp, "hasMore": page.has_more})
