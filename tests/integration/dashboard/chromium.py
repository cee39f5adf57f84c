"""A headless Chromium, driven over its own DevTools protocol: pages that are opened, typed into, looked at and pictured."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from syncline.testing.waiting import eventually
from tests.support.chromium import running_chromium

__all__ = ["Browser", "Page", "running_browser"]

START_TIMEOUT_S = 60.0
MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # a picture of a long page


class PageReplaced(AssertionError):
    """The tab loaded another page while it was asked."""


class Browser:
    """A running browser; `page` opens a tab with a storage of its own."""

    def __init__(self, session: ClientSession, socket: ClientWebSocketResponse) -> None:
        self._session = session
        self._socket = socket
        self._sent = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.pages: dict[str, Page] = {}

    async def read(self) -> None:
        """Take answers and events until the browser goes."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            found = json.loads(message.data)
            answer = self._answers.pop(found.get("id", -1), None)
            if answer is not None and not answer.done():
                answer.set_result(found)
            elif (page := self.pages.get(found.get("sessionId", ""))) is not None:
                page.heard(found)

    async def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of one command."""
        self._sent += 1
        answer = self._answers[self._sent] = asyncio.get_running_loop().create_future()
        command = {"id": self._sent, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(START_TIMEOUT_S):
            found = await answer
        error = found.get("error")
        if error is not None:
            replaced = "navigated" in error["message"] or "context" in error["message"]
            raise (PageReplaced if replaced else AssertionError)(f"{method}: {error}")
        return found["result"]

    @asynccontextmanager
    async def page(self, url: str, *, width: int, height: int) -> AsyncGenerator[Page]:
        """A tab of this size."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = (await self.call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Runtime", "Log", "Page", "Network"):
            await page.call(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await page.call("Emulation.setDeviceMetricsOverride", **metrics)
        await page.call("Page.navigate", url=url)
        try:
            yield page
        finally:
            del self.pages[session]
            await self.call("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """One tab. `complaints` are exceptions of its scripts, and what the browser refused or could not load."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []

    def heard(self, event: dict[str, Any]) -> None:
        """An event of the tab."""
        match event:
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                self.complaints.append(json.dumps(details)[:1000])
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error", "text": text}}}:
                self.complaints.append(text)
            case _:
                pass

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command for the tab."""
        return await self._browser.call(method, self._session, **parameters)

    async def run(self, script: str) -> Any:
        """The value of an expression; promises are waited for."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, f"{script}: {found['exceptionDetails']}"
        return found["result"].get("value")

    async def until(self, script: str, *, timeout_s: float = 30.0) -> Any:
        """The first truthy value of an expression. What is not there yet counts as false."""
        wrapped = f"(() => {{ try {{ return {script} }} catch (error) {{ return null }} }})()"

        async def value() -> Any:
            try:
                return await self.run(wrapped)
            except PageReplaced:
                return None

        try:
            return await eventually(value, timeout_s=timeout_s, what=script)
        except AssertionError as exc:
            exc.add_note(f"{self.complaints}\n{await self.run('document.body.innerText')}")
            raise

    async def type(self, element: str, text: str) -> None:
        """Replace what stands in a field, as a keyboard would."""
        await self.run(
            f"(() => {{ const field = document.getElementById('{element}'); field.focus(); field.select() }})()"
        )
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, code: int) -> None:
        """One key, where the focus is."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text="\r" if key == "Enter" else "", **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def click(self, selector: str) -> None:
        """Click the element, where it can be clicked."""
        await self.until(f"document.querySelector({json.dumps(selector)}).disabled !== true")
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@asynccontextmanager
async def running_browser() -> AsyncGenerator[Browser]:
    """Start Chromium. Skips the test, with the reason, where there is none."""
    async with running_chromium("--remote-debugging-port=0", "about:blank") as profile:
        opened = profile / "DevToolsActivePort"

        def address() -> list[str]:
            found = opened.read_text().split() if opened.exists() else []
            return found if len(found) == 2 else []

        port, path = await eventually(address, timeout_s=START_TIMEOUT_S, what="the browser listens")
        async with (
            ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=MESSAGE_BYTES_MAX) as socket,
        ):
            browser = Browser(session, socket)
            reading = asyncio.create_task(browser.read())
            try:
                yield browser
            finally:
                reading.cancel()
                await asyncio.wait({reading})
