"""The store of dead letters in Postgres passes its suite."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from syncline.backend.persisters.postgres.dead_letters import PostgresDeadLetters
from syncline.backend.persisters.postgres.uploads import make_uploads_table
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from tests.conformance.dead_letter_suite import DeadLetterSuite, Stores

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

        def make(**limits: int) -> PostgresDeadLetters:
            return PostgresDeadLetters(pool, seconds_max=SECONDS_MAX, **limits)

        yield make
        await pool.close()
