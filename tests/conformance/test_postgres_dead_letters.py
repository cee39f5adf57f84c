"""The store of dead letters in Postgres passes its suite."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from syncline.backend import DeadLetterLimits
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.persisters.postgres.dead_letters import PostgresDeadLetters
from syncline.backend.persisters.postgres.uploads import make_uploads_table
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from tests.conformance.dead_letter_suite import DeadLetterSuite, Stores, check_one_letter_is_kept

SECONDS_MAX = 60.0  # the machine may be busy


@pytest.fixture(scope="module")
def letters_database(postgres_server: PostgresServer) -> Any:
    database = postgres_server.create()
    yield database
    postgres_server.drop(database)


class TestPostgresDeadLetters(DeadLetterSuite):
    @pytest.fixture
    async def stores(self, letters_database: ScratchDatabase) -> AsyncGenerator[Stores]:
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(letters_database.dsn, max_size=4, open=False)
        await pool.open()
        async with pool.connection() as connection:
            await make_uploads_table(connection)
        await PostgresDeadLetters(pool, seconds_max=SECONDS_MAX).prepare(write_results=True)
        letters_database.execute("TRUNCATE syncline_dead_letters, syncline_upload_failures, syncline_uploads")

        def make(limits: DeadLetterLimits | None = None) -> PostgresDeadLetters:
            return PostgresDeadLetters(pool, seconds_max=SECONDS_MAX, limits=limits)

        yield make
        await pool.close()

    @pytest.mark.usefixtures("stores")  # empties the tables
    async def test_a_persister_is_told_how_many_letters_it_keeps(self, letters_database: ScratchDatabase) -> None:
        persister = PostgresPersister(letters_database.dsn, dead_letter_limits=DeadLetterLimits(letters_max=1))
        await persister.open()
        try:
            await check_one_letter_is_kept(persister.dead_letters)
        finally:
            await persister.close()
