"""A service under attack, one for each module that asks for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest

from syncline.testing.postgres import PostgresServer
from tests.integration.service.hostile import Attacked, attacked_service


@pytest.fixture(scope="module")
def attacked(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Attacked]:
    with attacked_service(postgres_server, tmp_path_factory.mktemp("attacked")) as made:
        yield made


@pytest.fixture
async def unharmed(attacked: Attacked) -> AsyncGenerator[None]:
    """Around each test: a healthy stream, the process's memory, no traceback."""
    async with attacked.unharmed():
        yield
