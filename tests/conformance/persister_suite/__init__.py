"""What every persister must do, over its real database. Written once, run on each.

Subclass `PersisterSuite` in a module that has a fixture `subject` (scope "module"): the database with the tables of the suite, and what is
different there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.conformance.persister_suite.conflicts import ConflictSuite
from tests.conformance.persister_suite.failures import FailureSuite
from tests.conformance.persister_suite.guards import GuardSuite
from tests.conformance.persister_suite.refusals import RefusalSuite
from tests.conformance.persister_suite.repeats import CheckpointSuite, RepeatSuite
from tests.conformance.persister_suite.subject import Subject
from tests.conformance.persister_suite.types import TypeSuite
from tests.conformance.persister_suite.uploads import Uploads
from tests.conformance.persister_suite.writes import RowSuite, TransactionSuite

__all__ = ["PersisterSuite"]


class PersisterSuite(
    TransactionSuite,
    RowSuite,
    GuardSuite,
    RepeatSuite,
    CheckpointSuite,
    ConflictSuite,
    RefusalSuite,
    FailureSuite,
    TypeSuite,
):
    """All parts of the suite."""

    @pytest.fixture
    async def uploads(self, subject: Subject) -> AsyncGenerator[Uploads]:
        """A backend over empty tables."""
        async with subject.observer() as observer:
            uploads = Uploads.over(subject.persister(), subject, observer)
            await uploads.backend.open()
            try:
                await subject.empty(observer)
                yield uploads
            finally:
                await uploads.backend.close()
