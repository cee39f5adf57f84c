"""The SQLite persister passes the contract suite."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from syncline.backend import TablePolicy
from syncline.backend.conflicts.strategy import Apply, Decision
from syncline.backend.persisters.base import Write
from syncline.backend.persisters.sqlalchemy import SQLitePersister
from syncline.testing.waiting import eventually
from tests.conformance.persister_suite import PersisterSuite
from tests.conformance.persister_suite.conflicts import Watching
from tests.conformance.persister_suite.letters import SQLAlchemyDeadLetterSuite
from tests.conformance.persister_suite.on_sqlite import SQLiteSubject
from tests.conformance.persister_suite.uploads import Uploads, delete, patch, put


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> SQLiteSubject:
    return SQLiteSubject(tmp_path_factory.mktemp("persister") / "app.db")


class TestSQLitePersister(PersisterSuite):
    pass


class TestSQLiteDeadLetters(SQLAlchemyDeadLetterSuite):
    pass


async def test_tables_that_are_read_again_meanwhile_leave_an_upload_as_it_is(subject: SQLiteSubject) -> None:
    """Another upload may find the columns outdated between two statements of this one."""
    async with subject.observer() as observer:
        await subject.empty(observer)
        persister = SQLitePersister(str(subject.url.database))
        forgetting = Watching("title")

        def forget(write: Write) -> Decision:
            persister._catalog.forget()
            return Apply(write)

        forgetting.answer = forget
        policy = TablePolicy(owner="owner_id", conflicts=forgetting)
        uploads = Uploads.over(persister, subject, observer, {"documents": policy})
        await uploads.backend.open()
        try:
            for title in ("1", "2"):
                await uploads.succeed(put("d", table="documents", title=title))
            await uploads.succeed(patch("d", table="documents", title="3"), delete("d", table="documents"))
        finally:
            await uploads.backend.close()
        assert forgetting.shown == [None, {"title": "1"}, {"title": "2"}, {"title": "3"}]


async def test_an_unreadable_path_ends_the_start(tmp_path: Path) -> None:
    persister = SQLitePersister(tmp_path / "no folder" / "app.db")
    with pytest.raises(OperationalError):
        await persister.open()
    await persister.close()
    # The driver's thread has something to tell the loop before it ends, and nobody waits for it.
    await eventually(lambda: not any("connection_worker" in thread.name for thread in threading.enumerate()))
