from __future__ import annotations

import pytest

from syncline.backend import AuthenticatedUser, ChangesPage
from syncline.backend.changes import SINCE_CHARACTERS_MAX
from syncline.backend.persisters.base import RetryLater
from syncline.errors import RequestInvalid
from tests.unit.backend.asgi import ask, bearer, make_app

PATH = "/api/powersync/sync"


class Feed:
    """One row a page; `since` is the number of the last one."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[tuple[str, str | None]] = []
        self.failure: Exception | None = None

    async def changes(self, user: AuthenticatedUser, since: str | None) -> ChangesPage:
        self.asked.append((user.user_id, since))
        if self.failure is not None:
            raise self.failure
        at = int(since or 0)
        rows = [{"id": f"l{at}", "name": self.names[at]}] if at < len(self.names) else []
        return ChangesPage({"lists": rows} if rows else {}, at + len(rows), has_more=at + 1 < len(self.names))


@pytest.mark.requirement(82)
async def test_pages_are_answered_in_the_form_that_devices_poll() -> None:
    feed = Feed("one", "two")
    app = make_app(change_feed=feed)
    answer = await ask(app, "GET", PATH, headers=bearer("ann"))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"changes": {"lists": [{"id": "l0", "name": "one"}]}, "timestamp": 1, "hasMore": True}
    last = await ask(app, "GET", PATH, query="since=2", headers=bearer("ann"))
    assert last.json() == {"changes": {}, "timestamp": 2, "hasMore": False}
    await ask(app, "GET", PATH, query="since=", headers=bearer("bob"))
    assert feed.asked == [("ann", None), ("ann", "2"), ("bob", None)]


async def test_nobody_gets_changes_without_a_token() -> None:
    feed = Feed("one")
    assert (await ask(make_app(change_feed=feed), "GET", PATH)).status == 401
    assert not feed.asked


async def test_a_backend_without_a_change_feed_says_so() -> None:
    answer = await ask(make_app(), "GET", PATH, headers=bearer("ann"))
    assert answer.status == 404
    assert "change_feed" in answer.json()["message"]


@pytest.mark.parametrize(
    ("failure", "status"), [(RetryLater("the database is away"), 503), (RequestInvalid(["since is odd"]), 400)]
)
async def test_a_feed_can_refuse(failure: Exception, status: int) -> None:
    feed = Feed()
    feed.failure = failure
    assert (await ask(make_app(change_feed=feed), "GET", PATH, headers=bearer("ann"))).status == status


async def test_since_has_a_limit() -> None:
    feed = Feed()
    query = f"since={'x' * (SINCE_CHARACTERS_MAX + 1)}"
    assert (await ask(make_app(change_feed=feed), "GET", PATH, query=query, headers=bearer("ann"))).status == 400
    assert not feed.asked
