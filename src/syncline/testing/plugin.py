"""Pytest plugin: a real Postgres for tests, and a whole sync service in memory.

`sync_service` makes services whose devices keep their files in the test's own folder (docs/howto/test-your-app.md).

`postgres_server` starts one server per test run, when the first test asks for it; `postgres_database` gives each test a database of its
own. Override `postgres_template_sql` in your conftest to have tables in it: the template is made once and cloned per test.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from syncline.testing.postgres import PostgresServer, ScratchDatabase
    from syncline.testing.service import MemoryService

__all__ = ["postgres_database", "postgres_server", "postgres_template", "postgres_template_sql", "sync_service"]


@pytest.fixture
def sync_service(tmp_path: Path) -> Callable[..., MemoryService]:
    """Makes services in memory whose devices have their files in the test's folder; takes what `MemoryService` takes."""
    from syncline.testing.service import MemoryService

    return partial(MemoryService, folder=tmp_path)


@pytest.fixture(scope="session")
def postgres_server() -> Generator[PostgresServer]:
    """One server for the whole run."""
    from syncline.testing.postgres import PostgresServer

    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template_sql() -> str:
    """Statements that make the template; none unless overridden."""
    return ""


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer, postgres_template_sql: str) -> Generator[ScratchDatabase]:
    """The database that tests get a clone of."""
    database = postgres_server.create()
    if postgres_template_sql:
        database.execute(postgres_template_sql)
    yield database
    postgres_server.drop(database)


@pytest.fixture
def postgres_database(
    postgres_server: PostgresServer, postgres_template: ScratchDatabase
) -> Generator[ScratchDatabase]:
    """A database of the test's own."""
    database = postgres_server.create(template=postgres_template)
    yield database
    postgres_server.drop(database)
