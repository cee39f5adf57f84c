"""One service, one Node and one Chromium for all scenarios of the official SDKs; each test has a user and a database of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from syncline.testing.postgres import PostgresServer
from tests.interop.node_sdk import NodeSdk
from tests.interop.official_sdk import OfficialSdk
from tests.interop.sdk_device import SdkDevice
from tests.interop.sync_stack import SyncStack, running_stack
from tests.interop.web_sdk import WebSdk


@pytest.fixture(scope="package")
def stack(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[SyncStack]:
    with running_stack(postgres_server, tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=[NodeSdk, WebSdk], ids=["node", "web"])
async def sdk(request: pytest.FixtureRequest) -> AsyncGenerator[OfficialSdk]:
    async with request.param() as running:
        yield running


@pytest.fixture(params=["http", "websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def user() -> str:
    return f"user-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(loop_scope="session")
async def device(sdk: OfficialSdk, stack: SyncStack, transport: str, tmp_path: Path) -> AsyncGenerator[SdkDevice]:
    opened = SdkDevice(sdk, stack, transport)
    await opened.open(tmp_path)
    yield opened
    await sdk.ask("close")


@pytest_asyncio.fixture(loop_scope="session")
async def large_device(sdk: OfficialSdk, stack: SyncStack, transport: str, tmp_path: Path) -> AsyncGenerator[SdkDevice]:
    """The same where thousands of rows will come."""
    opened = SdkDevice(sdk, stack, transport)
    await opened.open(tmp_path, large=True)
    yield opened
    await sdk.ask("close")
