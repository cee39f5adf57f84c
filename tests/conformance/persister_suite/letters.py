"""Stores of dead letters beside the persisters that SQLAlchemy serves, for their own suite."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from syncline.backend import DeadLetterLimits
from syncline.backend.persisters.sqlalchemy import SQLAlchemyPersister
from syncline.backend.persisters.sqlalchemy.dead_letters import SQLAlchemyDeadLetters
from tests.conformance.dead_letter_suite import DeadLetterSuite, Stores, check_one_letter_is_kept
from tests.conformance.persister_suite.subject import Subject

__all__ = ["SQLAlchemyDeadLetterSuite"]

TABLES = ("syncline_dead_letters", "syncline_upload_failures", "syncline_uploads", "powersync_write_results")


class SQLAlchemyDeadLetterSuite(DeadLetterSuite):
    """The suite over the database of the module's `subject`."""

    @pytest.fixture
    async def stores(self, subject: Subject) -> AsyncGenerator[Stores]:
        """Stores over empty tables."""
        persister = subject.persister()
        assert isinstance(persister, SQLAlchemyPersister)
        await persister.open()
        try:
            await persister.dead_letters.prepare(write_results=True)
            async with subject.observer() as observer:
                for table in TABLES:
                    await observer.rows(f"DELETE FROM {table}")

            def make(limits: DeadLetterLimits | None = None) -> SQLAlchemyDeadLetters:
                return SQLAlchemyDeadLetters(persister._runner, lambda: persister._own, limits=limits)

            yield make
        finally:
            await persister.close()

    @pytest.mark.usefixtures("stores")  # empties the tables
    async def test_a_persister_is_told_how_many_letters_it_keeps(self, subject: Subject) -> None:
        persister = subject.persister(dead_letter_limits=DeadLetterLimits(letters_max=1))
        assert isinstance(persister, SQLAlchemyPersister)
        await persister.open()
        try:
            await check_one_letter_is_kept(persister.dead_letters)
        finally:
            await persister.close()
