"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from syncline.testing.postgres import PostgresServer
from tests.integration.cli.inspected_stack import Stack, running_stack


@pytest.fixture(scope="package")
def stack(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """A running service and the file of a device, for tests that only look; starting it takes some seconds."""
    yield from running_stack(postgres_server, tmp_path_factory.mktemp("stack"))
