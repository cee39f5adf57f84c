"""The demo as a process, its page in a browser, and what the page shows, read from the DOM."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncline.testing.waiting import eventually_sync
from tests.support.browser import Browser

__all__ = ["DEADLINE_S", "DemoPage", "DemoProcess", "Shown", "running_demo"]

DEADLINE_S = 45.0  # seconds for anything to be seen, on a busy machine
START_DEADLINE_S = 90.0  # seconds until the page is up: the promise of the demo
END_TIMEOUT_S = 30.0
ADDRESS = re.compile(r"in a browser: (http://127\.0\.0\.1:\d+)")

# What a phone shows: texts of the elements that a person sees, and no state of the program's own.
READ_PHONE = """(key) => {
  const phone = document.querySelector(`[data-device="${key}"]`);
  if (!phone) return null;
  const text = (selector) => phone.querySelector(selector).textContent;
  const all = (parent, selector) => [...parent.querySelectorAll(selector)];
  return {
    name: text('h2'),
    ids: all(phone, '[data-todo]').map((todo) => todo.dataset.todo),
    state: text('[data-part=state]'),
    synced: text('[data-part=synced]'),
    airplane: phone.querySelector('[data-part=airplane]').getAttribute('aria-checked') === 'true',
    queue_title: text('[data-part=queue-title]'),
    queue: all(phone, '[data-part=queue] li').map((line) => line.textContent),
    messages: all(phone, '[data-part=messages] > *').map((card) => [card.dataset.kind, card.innerText]),
    lists: Object.fromEntries(all(phone, '[data-part=lists] > *').map((list) => [
      list.querySelector('h3').textContent,
      all(list, 'li').map((todo) => [todo.querySelector('.text').value, todo.querySelector('[type=checkbox]').checked]),
    ])),
  };
}"""
READ_POSTGRES = """() => {
  const source = document.querySelector('[data-source=postgres]');
  const all = (parent, selector) => [...parent.querySelectorAll(selector)];
  return {
    lists: Object.fromEntries(all(source, '[data-part=lists] > *').map((list) => [
      list.querySelector('h3').textContent + ' ' + list.querySelector('.owner').textContent,
      all(list, 'li').map((line) => line.textContent),
    ])),
    letters: all(source, '[data-part=letters] > *').map((letter) => letter.innerText),
  };
}"""


@dataclass(frozen=True, slots=True)
class Shown:
    """One phone as a person sees it: lists with (text, ticked) of their todos, messages with their kind, `ids` of todos."""

    name: str
    ids: list[str]
    state: str
    synced: str
    airplane: bool
    queue_title: str
    queue: list[str]
    messages: list[list[str]]
    lists: dict[str, list[list[Any]]]

    def texts(self, name: str) -> list[str]:
        """Texts of a list's todos."""
        return [text for text, _ in self.lists.get(name, [])]


class DemoPage:
    """One tab."""

    def __init__(self, browser: Browser, tab: str) -> None:
        self.browser = browser
        self.tab = tab

    def phone(self, key: str) -> Shown | None:
        """A phone, None while it is not there."""
        found = self.browser.evaluate(self.tab, READ_PHONE, key)
        return None if found is None else Shown(**found)

    def until(self, key: str, holds: Callable[[Shown], object], what: str) -> Shown:
        """Wait until a phone shows something."""

        def look() -> Shown | None:
            shown = self.phone(key)
            return shown if shown is not None and holds(shown) else None

        try:
            found = eventually_sync(look, timeout_s=DEADLINE_S, what=what)
        except AssertionError as exc:
            picture = self.browser.screenshot(self.tab, "failure")
            raise AssertionError(f"{exc}; seen: {self.phone(key)}; picture: {picture}") from exc
        assert found is not None
        return found

    def postgres(self) -> dict[str, Any]:
        """The panel of Postgres: `lists` ("name of owner" -> lines) and `letters` (texts)."""
        return self.browser.evaluate(self.tab, READ_POSTGRES)

    def until_postgres(self, holds: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Wait until the panel of Postgres shows something."""

        def look() -> dict[str, Any] | None:
            shown = self.postgres()
            return shown if holds(shown) else None

        found = eventually_sync(look, timeout_s=DEADLINE_S, what=what)
        assert found is not None
        return found

    def click(self, key: str, selector: str) -> None:
        """Click within a phone."""
        self.browser.click(self.tab, f'[data-device="{key}"] {selector}')

    def type(self, key: str, selector: str, text: str) -> None:
        """Type within a phone."""
        self.browser.type(self.tab, f'[data-device="{key}"] {selector}', text)


@dataclass(frozen=True, slots=True)
class DemoProcess:
    """A running demo: where its page is, and all that it has said."""

    url: str
    said: list[str]


@contextlib.contextmanager
def running_demo(folder: Path, *, npm_cache: Path) -> Generator[DemoProcess]:
    """`syncline demo` without a terminal, as in the background of a shell: it stays until SIGTERM, and ends in good order then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "syncline.cli.main", "demo", "--no-browser", "--folder", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1", "SYNCLINE_NPM_CACHE": str(npm_cache)},
    )
    said: list[str] = []
    address: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if found := ADDRESS.search(line):
                address.put(found[1])
        address.put(None)

    reading = threading.Thread(target=listen, daemon=True)
    reading.start()
    try:
        url = address.get(timeout=START_DEADLINE_S)
        assert url is not None, "".join(said)
        yield DemoProcess(url, said)
        process.terminate()
        assert process.wait(END_TIMEOUT_S) == 0, "".join(said)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        reading.join(END_TIMEOUT_S)
        assert process.stdout is not None
        process.stdout.close()
