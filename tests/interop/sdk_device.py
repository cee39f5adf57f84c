"""A device of a scenario: an official SDK with a database of its own, and how it connects."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from syncline.testing.service_process import token
from tests.interop.official_sdk import OfficialSdk
from tests.interop.sync_stack import TABLES, SyncStack

__all__ = ["WAIT_S", "SdkDevice"]

WAIT_S = 45.0  # seconds for a condition, on a busy machine


class SdkDevice:
    """`sdk` is shared by the tests of a run; the database in it is this device's."""

    def __init__(self, sdk: OfficialSdk, stack: SyncStack, transport: str) -> None:
        self.sdk = sdk
        self._stack = stack
        self._transport = transport

    async def open(self, folder: Path, *, large: bool = False) -> None:
        """Make the database; `large` where thousands of rows will come."""
        options = self.sdk.database_options(folder, f"device-{uuid.uuid4().hex[:8]}", large=large)
        await self.sdk.ask("open", **options, tables=TABLES, counted=["lists", "items"])

    async def connect(self, user: str, *, tokens: list[str] | None = None, endpoint: str = "", **options: Any) -> None:
        """Start to sync. `tokens` are handed out one by one and the last one from then on; `endpoint` stands before the service."""
        await self.sdk.ask(
            "connect",
            endpoint=endpoint or self._stack.service.base_url,
            tokens=tokens or [token(user)],
            backend=self._stack.backend_url,
            uploadToken=token(user),
            transport=self._transport,
            **options,
        )

    async def synced(self, user: str, **options: Any) -> None:
        """Connect and wait for the first complete checkpoint."""
        await self.connect(user, **options)
        await self.sdk.ask("firstSync")

    async def is_connected(self) -> bool:
        """What the SDK tells its app."""
        return (await self.sdk.ask("status"))["connected"]

    async def is_cut(self) -> bool:
        """The opposite."""
        return not await self.is_connected()

    async def has_uploaded(self) -> bool:
        """Whether no local write waits."""
        return await self.sdk.ask("queue") == 0
