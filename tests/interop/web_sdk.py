"""`@powersync/web` in a headless Chromium (sdk_web.mjs). The page asks for its commands itself: nothing else drives the browser.

The page comes from a server of its own on 127.0.0.1, so that the sync service and the backend are other origins and CORS is needed.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from aiohttp import WSMsgType, web

from syncline.cli.demo.web_sdk import IMPORTS, WEB_PACKAGES
from tests.interop.official_sdk import OfficialSdk
from tests.support.chromium import chromium_log, chromium_program, running_chromium
from tests.support.official_packages import install_official_packages
from tests.support.web_server import serving

__all__ = ["WebSdk"]

PAGE_TIMEOUT_S = 60.0  # seconds from the browser's start to the page's first word
MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # one answer: 20,000 rows are 4 MB
LOG_LINES_MAX = 100  # of the page and of the browser, for the message of a failure
PAGE = f"""<!doctype html><meta charset="utf-8"><title>Official web SDK</title><link rel="icon" href="data:,">
<script type="importmap">{json.dumps({"imports": IMPORTS})}</script>
<script type="module" src="/sdk_web.mjs"></script>
"""


class WebSdk(OfficialSdk):
    """Use as an async context manager. Skips the test without Chromium on PATH, or where the packages cannot be had."""

    def __init__(self) -> None:
        super().__init__()
        self._page: web.WebSocketResponse | None = None
        self._opened = asyncio.Event()
        self._running = AsyncExitStack()
        self._log: list[str] = []

    async def __aenter__(self) -> WebSdk:
        chromium_program()  # before anything is fetched for it
        modules = await asyncio.to_thread(install_official_packages, WEB_PACKAGES)
        async with AsyncExitStack() as starting:
            url = await self._serve(modules, starting)
            profile = await starting.enter_async_context(running_chromium(url))
            try:
                async with asyncio.timeout(PAGE_TIMEOUT_S):
                    await self._opened.wait()
            except TimeoutError:
                told = "\n".join([*self._log, chromium_log(profile)])
                raise AssertionError(f"the page did not open:\n{told}") from None
            self._running = starting.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._running.aclose()

    def database_options(self, folder: Path, name: str, *, large: bool) -> dict[str, str]:
        """A name in the browser's own storage: IndexedDB, the SDK's default, or for many rows the file system, three times as fast."""
        return {"file": f"{name}.db"} | ({"vfs": "OPFSCoopSyncVFS"} if large else {})

    async def _send(self, line: str) -> None:
        assert self._page is not None
        await self._page.send_str(line)

    async def _serve(self, modules: Path, running: AsyncExitStack) -> str:
        app = web.Application()
        here = Path(__file__).parent

        async def page(_request: web.Request) -> web.Response:
            return web.Response(text=PAGE, content_type="text/html")

        async def script(request: web.Request) -> web.FileResponse:
            return web.FileResponse(
                here / f"{request.match_info['name']}.mjs", headers={"content-type": "text/javascript"}
            )

        app.router.add_get("/", page)
        app.router.add_get("/{name:sdk_web|sdk_commands}.mjs", script)
        app.router.add_static("/packages", modules)
        app.router.add_get("/driver", self._drive)
        return await running.enter_async_context(serving(app))

    async def _drive(self, request: web.Request) -> web.WebSocketResponse:
        """The page's own connection: commands out, answers in."""
        page = web.WebSocketResponse(max_msg_size=MESSAGE_BYTES_MAX)
        await page.prepare(request)
        self._page = page
        self._opened.set()
        async for message in page:
            if message.type is not WSMsgType.TEXT:
                continue
            if message.data.startswith('{"log"'):
                self._log = [*self._log, message.data][-LOG_LINES_MAX:]
            else:
                self._receive(message.data)
        self._ended(f"the page has gone: {self._log}")
        return page
