from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.client import SyncDatabase
from tests.integration.client.attachments.photo_device import SCHEMA, PhotoDevice
from tests.support.attachment_remote import RememberingRemote


@pytest.fixture
async def device(tmp_path: Path) -> AsyncGenerator[PhotoDevice]:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        yield PhotoDevice(db, tmp_path / "photos")


@pytest.fixture
def remote() -> RememberingRemote:
    return RememberingRemote()
