"""The Python side of the driver (driver.mjs)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.chromium import chromium_program
from tests.support.official_packages import install_official_packages, node_program

__all__ = ["Browser", "BrowserError"]

PACKAGES = ("playwright-core@1.65.1",)
END_TIMEOUT_S = 20.0


class BrowserError(Exception):
    """What Playwright said of a command."""


class Browser:
    """Use as a context manager. Skips the test without Chromium or Node, or where the driver's package cannot be had.

    Selectors are Playwright's; `page` names a tab. `errors` are what pages have thrown, and what their consoles called an error.
    """

    def __init__(self, screenshots: Path) -> None:
        self._screenshots = screenshots
        self._process: subprocess.Popen[str] | None = None
        self._shots = 0

    def __enter__(self) -> Browser:
        program = chromium_program()
        modules = install_official_packages(PACKAGES)
        self._screenshots.mkdir(parents=True, exist_ok=True)
        for old in self._screenshots.glob("*.png"):  # of an earlier run
            old.unlink()
        self._process = subprocess.Popen(
            [str(node_program("node")), str(Path(__file__).with_name("driver.mjs"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"SYNCLINE_PLAYWRIGHT": str(modules / "playwright-core"), "SYNCLINE_CHROMIUM": str(program)},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        try:
            self._process.communicate(timeout=END_TIMEOUT_S)  # its input ends, and it closes the browser
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def open(self, page: str, url: str, *, events: Mapping[str, str] | None = None) -> None:
        """A new tab. `events` are streams of server-sent events by path, which it hears instead of the server's own."""
        self._ask("open", page=page, url=url, answers=dict(events or {}))

    def click(self, page: str, selector: str) -> None:
        """Click what the selector finds; it waits until that can be clicked."""
        self._ask("click", page=page, selector=selector)

    def type(self, page: str, selector: str, text: str) -> None:
        """Replace an input's text, and press Enter."""
        self._ask("type", page=page, selector=selector, text=text)

    def evaluate(self, page: str, function: str, argument: Any = None) -> Any:
        """The result of a JavaScript function in the page, as JSON."""
        return self._ask("evaluate", page=page, function=function, argument=argument)

    def screenshot(self, page: str, name: str) -> Path:
        """Keep a picture of the whole page."""
        self._shots += 1
        path = self._screenshots / f"{self._shots:02}-{name}.png"
        self._ask("screenshot", page=page, path=str(path))
        return path

    def errors(self, page: str) -> list[str]:
        """What went wrong in the page so far."""
        return self._ask("errors", page=page)

    def _ask(self, command: str, **options: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **options}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BrowserError("the driver has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer["result"]
