"""`@powersync/web` in a headless Chromium (sdk_web.mjs). The page asks for its commands itself: nothing else drives the browser.

The page comes from a server of its own on 127.0.0.1, so that the sync service and the backend are other origins and CORS is needed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType

import pytest
from aiohttp import WSMsgType, web

from syncline.cli.demo.web_sdk import IMPORTS, WEB_PACKAGES
from tests.interop.official import install_official_packages
from tests.interop.official_sdk import OfficialSdk

__all__ = ["WebSdk"]

PAGE_TIMEOUT_S = 60.0  # seconds from the browser's start to the page's first word
MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # one answer: 20,000 rows are 4 MB
LOG_LINES_MAX = 100  # of the page and of the browser, for the message of a failure
PAGE = f"""<!doctype html><meta charset="utf-8"><title>Official web SDK</title><link rel="icon" href="data:,">
<script type="importmap">{json.dumps({"imports": IMPORTS})}</script>
<script type="module" src="/sdk_web.mjs"></script>
"""
ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # a container's root has no other way
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class WebSdk(OfficialSdk):
    """Use as an async context manager. Skips the test without Chromium on PATH, or where the packages cannot be had."""

    def __init__(self) -> None:
        super().__init__()
        self._page: web.WebSocketResponse | None = None
        self._opened = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._browser: asyncio.subprocess.Process | None = None
        self._profile: Path | None = None
        self._log: list[str] = []

    async def __aenter__(self) -> WebSdk:
        program = chromium_program()
        modules = await asyncio.to_thread(install_official_packages, WEB_PACKAGES)
        url = await self._serve(modules)
        self._profile = Path(tempfile.mkdtemp(prefix="syncline-chromium-"))
        with (self._profile / "browser.log").open("wb") as log:
            self._browser = await asyncio.create_subprocess_exec(
                str(program),
                *ARGUMENTS,
                f"--user-data-dir={self._profile}",
                url,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the browser is many processes: they end together
            )
        try:
            async with asyncio.timeout(PAGE_TIMEOUT_S):
                await self._opened.wait()
        except TimeoutError:
            told = "\n".join([*self._log, (self._profile / "browser.log").read_text(errors="replace")])
            await self._stop()
            raise AssertionError(f"the page did not open:\n{told}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    def database_options(self, folder: Path, name: str, *, large: bool) -> dict[str, str]:
        """A name in the browser's own storage: IndexedDB, the SDK's default, or for many rows the file system, three times as fast."""
        return {"file": f"{name}.db"} | ({"vfs": "OPFSCoopSyncVFS"} if large else {})

    async def _send(self, line: str) -> None:
        assert self._page is not None
        await self._page.send_str(line)

    async def _serve(self, modules: Path) -> str:
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
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

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

    async def _stop(self) -> None:
        if self._browser is not None and self._browser.returncode is None:
            os.killpg(self._browser.pid, signal.SIGKILL)
            await self._browser.wait()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._profile is not None:
            await asyncio.to_thread(shutil.rmtree, self._profile, ignore_errors=True)


def chromium_program() -> Path:
    """The browser on PATH. Skips the test, with the reason, without one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        reason = "no Chromium on PATH: `apt-get install chromium`, or another browser of its family, brings one"
        print(reason)
        pytest.skip(reason)
    return Path(found)
