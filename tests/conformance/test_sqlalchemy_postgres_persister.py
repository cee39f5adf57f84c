"""Postgres through SQLAlchemy passes the contract suite."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from syncline.backend.persisters.sqlalchemy import SQLAlchemyPersister
from syncline.testing.postgres import PostgresServer
from tests.conformance.persister_suite import PersisterSuite
from tests.conformance.persister_suite.letters import SQLAlchemyDeadLetterSuite
from tests.conformance.persister_suite.on_postgres import PostgresSubject


@pytest.fixture(scope="module")
def subject(postgres_server: PostgresServer) -> Generator[PostgresSubject]:
    database = postgres_server.create()
    subject = PostgresSubject(database, SQLAlchemyPersister)
    yield subject
    subject.close()
    postgres_server.drop(database)


class TestSQLAlchemyPersisterOnPostgres(PersisterSuite):
    pass


class TestSQLAlchemyDeadLettersOnPostgres(SQLAlchemyDeadLetterSuite):
    pass
