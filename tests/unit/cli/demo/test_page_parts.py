"""Parts of the demo's page that need no server: actions, the SDK's files, and whether a browser may be opened."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from syncline.cli.demo import npm_packages, web_sdk
from syncline.cli.demo.actions import TEXT_CHARACTERS_MAX, ActionRefused, AddTodo, Airplane, decode_action
from syncline.cli.demo.npm_packages import NpmMissing, RegistryUnreachable, cache_folder, install_packages
from syncline.cli.demo.page_server import somebody_looks
from syncline.cli.demo.serving import listen, port_of
from syncline.cli.demo.web_sdk import WEB_PACKAGES, WebSdkFiles

PAGE = Path(web_sdk.__file__).with_name("page")


def test_an_action_is_read_by_its_name() -> None:
    assert decode_action(b'{"action":"airplane","device":"bob-phone","on":true}') == Airplane("bob-phone", True)
    text = "x" * TEXT_CHARACTERS_MAX
    body = f'{{"action":"add_todo","device":"d","list_id":"l","description":"{text}"}}'
    assert decode_action(body.encode()) == AddTodo("d", "l", text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"action":"drop_table"}',
        b'{"action":"airplane","device":"bob-phone"}',
        b'{"action":"airplane","device":"bob-phone","on":1}',
        b'{"action":"reset","device":"bob-phone"}',
        b'{"action":"add_list","device":"d","name":""}',
        b'{"action":"add_list","device":"d","name":"' + b"x" * (TEXT_CHARACTERS_MAX + 1) + b'"}',
    ],
)
def test_what_is_no_action_is_refused(body: bytes) -> None:
    with pytest.raises(ActionRefused, match="no action of the page"):
        decode_action(body)


def test_without_npm_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing_found(_name: str) -> Path | None:
        return None

    monkeypatch.setattr(npm_packages, "find_program", nothing_found)
    with pytest.raises(NpmMissing, match="Node and npm are not there"):
        install_packages(WEB_PACKAGES, tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_the_tab_is_told_why_there_is_no_sdk_and_a_later_fetch_is_another_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers: list[Exception | Path] = [RegistryUnreachable("The npm registry cannot be reached"), tmp_path]

    def install(packages: tuple[str, ...], cache: Path) -> Path:
        assert (packages, cache) == (WEB_PACKAGES, tmp_path)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(web_sdk, "install_packages", install)
    files = WebSdkFiles(tmp_path)
    told: list[str] = []
    files.when_changed = lambda: told.append(files.state.state)
    assert files.state.state == "absent"
    files.fetch()
    files.fetch()  # one fetch at a time
    await files.close()
    assert files.state.message == "The npm registry cannot be reached"
    files.fetch()
    await files.close()
    assert told == ["fetching", "failed", "fetching", "ready"]
    assert files.modules == tmp_path
    files.fetch()  # there already
    assert files.state.state == "ready"


def test_the_cache_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SYNCLINE_NPM_CACHE", raising=False)
    assert cache_folder("x") == tmp_path / "x"
    monkeypatch.setenv("SYNCLINE_NPM_CACHE", str(tmp_path / "named"))
    assert cache_folder("x") == tmp_path / "named"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "environment", "opened"),
    [
        (True, {"DISPLAY": ":0"}, True),
        (True, {"WAYLAND_DISPLAY": "wayland-0"}, True),
        (True, {}, False),
        (False, {"DISPLAY": ":0"}, False),
    ],
)
def test_a_browser_is_opened_on_a_terminal_with_a_display_only(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environment: dict[str, str], opened: bool
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "stdout", _Terminal() if terminal else io.StringIO())
    assert somebody_looks(environment) is opened


def test_the_page_asks_nobody_else_for_anything() -> None:
    """No file of the page names another server, and what it imports is there."""
    for file in sorted(PAGE.iterdir()):
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")  # the name of a format
        assert "http://" not in text, file
        assert "https://" not in text, file
        for quoted in text.split("/page/")[1:]:
            assert (PAGE / quoted.split("'")[0].split('"')[0]).is_file(), (file, quoted[:40])


def test_a_port_that_is_taken_is_named() -> None:
    with listen() as taken, pytest.raises(OSError, match=f"Port {port_of(taken)} of 127.0.0.1"):
        listen(port_of(taken))
