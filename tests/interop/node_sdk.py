"""`@powersync/node` as a process of its own (sdk_node.mjs)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import TracebackType

from tests.interop.official_sdk import OfficialSdk
from tests.support.official_packages import install_official_packages, node_program

__all__ = ["NodeSdk"]

LINE_BYTES_MAX = 64 * 1024 * 1024  # one answer: 20,000 rows are 4 MB
END_TIMEOUT_S = 10.0


class NodeSdk(OfficialSdk):
    """Use as an async context manager. Skips the test where the packages cannot be had."""

    def __init__(self) -> None:
        super().__init__()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> NodeSdk:
        modules = await asyncio.to_thread(install_official_packages)
        self._process = await asyncio.create_subprocess_exec(
            str(node_program("node")),
            str(Path(__file__).with_name("sdk_node.mjs")),
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
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    def database_options(self, folder: Path, name: str, *, large: bool) -> dict[str, str]:
        """A file in the test's folder."""
        return {"folder": str(folder), "file": f"{name}.db"}

    async def _send(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._receive(line)
        self._ended("the Node process has ended")
