"""The official Node client as a process, driven by JSON lines (official_client.mjs)."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.interop.official import install_official_packages, node_program

__all__ = ["NodeClient"]

COMMAND_TIMEOUT_S = 30.0
LINE_BYTES_MAX = 64 * 1024 * 1024


class NodeClient:
    """`await client.ask("all", sql=…)` runs one command; several may be under way."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> NodeClient:
        modules = await asyncio.to_thread(install_official_packages)
        self._process = await asyncio.create_subprocess_exec(
            str(node_program("node")),
            str(Path(__file__).with_name("official_client.mjs")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"SYNCLINE_OFFICIAL_PACKAGES": str(modules.parent)},
            limit=LINE_BYTES_MAX,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reading is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def ask(self, command: str, **options: Any) -> Any:
        """Run a command; raises RuntimeError with the client's own stack when it failed."""
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        line = json.dumps({"id": number, "command": command, **options}) + "\n"
        self._process.stdin.write(line.encode())
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            return await answer

    async def until(self, sql: str, rows: list[dict[str, Any]], timeout_s: float = 15.0) -> None:
        """Wait until a watched query gives exactly these rows."""
        await self.ask("until", sql=sql, rows=rows, timeoutMs=int(timeout_s * 1000))

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if not line.startswith(b"{"):
                continue  # the client's own log
            message = json.loads(line)
            answer = self._answers.pop(message["id"])
            if answer.done():
                continue
            if "error" in message:
                answer.set_exception(RuntimeError(message["error"]))
            else:
                answer.set_result(message["result"])
