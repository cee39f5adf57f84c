"""What tests ask of an official SDK, whatever platform it runs on (commands: sdk_commands.mjs)."""

from __future__ import annotations

import asyncio
import itertools
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

__all__ = ["COMMAND_TIMEOUT_S", "UNTIL_TIMEOUT_S", "OfficialSdk"]

COMMAND_TIMEOUT_S = 90.0  # seconds for one command, a first sync of 20,000 rows included, on a busy machine
UNTIL_TIMEOUT_S = 45.0  # seconds for rows to arrive


class OfficialSdk(ABC):
    """One running SDK with one database at a time: `await sdk.ask("all", sql=…)` runs a command; several may be under way."""

    def __init__(self) -> None:
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)

    async def ask(self, command: str, **options: Any) -> Any:
        """Run a command. Raises RuntimeError with the SDK's own stack when it failed, TimeoutError without an answer."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._send(json.dumps({"id": number, "command": command, **options}))
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            return await answer

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query on the device."""
        return await self.ask("all", sql=sql)

    async def until(self, sql: str, rows: list[dict[str, Any]], timeout_s: float = UNTIL_TIMEOUT_S) -> None:
        """Wait until a watched query gives exactly these rows."""
        await self.ask("until", sql=sql, rows=rows, timeoutMs=int(timeout_s * 1000))

    @abstractmethod
    def database_options(self, folder: Path, name: str, *, large: bool) -> dict[str, str]:
        """What `open` needs for a new database called `name`; `folder` is the test's own. `large` where thousands of rows will come."""

    @abstractmethod
    async def _send(self, line: str) -> None:
        """Hand one command to the SDK."""

    def _receive(self, line: str | bytes) -> None:
        """Take one answer from the SDK."""
        message = json.loads(line)
        answer = self._answers.pop(message["id"])
        if answer.done():  # nobody waits any more
            return
        if "error" in message:
            answer.set_exception(RuntimeError(message["error"]))
        else:
            answer.set_result(message["result"])

    def _ended(self, reason: str) -> None:
        """The SDK is gone: nobody shall wait for it."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(RuntimeError(reason))
        self._answers.clear()
