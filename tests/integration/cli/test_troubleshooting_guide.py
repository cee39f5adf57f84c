"""docs/howto/troubleshooting-cli.md: every command of the page runs, and says what the page shows."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncline.cli.main import TABLE
from syncline.testing.service_process import token
from tests.integration.cli.inspected_stack import ADMIN, SYNC_CONFIG, Stack, make_device_file
from tests.support.command_line import Outcome, run_command_line

PAGE = (Path(__file__).parents[3] / "docs/howto/troubleshooting-cli.md").read_text("utf-8")


def commands() -> Iterator[tuple[list[str], str | None]]:
    """Each command of the page, the last of a block with the output that the page shows for it."""
    for block in re.finditer(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", PAGE, re.DOTALL | re.MULTILINE):
        *before, last = [shlex.split(line) for line in block[1].splitlines()]
        yield from ((words, None) for words in before)
        yield last, block[2]


@pytest.fixture
def project(stack: Stack, tmp_path: Path) -> Path:
    """A folder as the page has it: a project that is linked by the environment, and a device's file."""
    folder = tmp_path / "powersync"
    folder.mkdir()
    for name in ("service.yaml", "sync-config.yaml"):
        shutil.copy(stack.service.folder / name, folder / name)
    make_device_file(tmp_path / "app.db")
    return tmp_path


def run(stack: Stack, folder: Path, words: list[str]) -> Outcome:
    assert words[0] == "syncline"
    values = [word.replace("$TOKEN", token("u1")) for word in words[1:]]
    names = {"PS_ADMIN_TOKEN": ADMIN, "API_URL": stack.service.base_url, "SYNCLINE_TOKEN": "", "SYNCLINE_FILE_KEY": ""}
    return run_command_line(folder, *values, **names)


def test_the_commands_of_the_page_say_what_it_shows(stack: Stack, project: Path) -> None:
    found = list(commands())
    assert len(found) >= 18
    assert sum(shown is not None for _, shown in found) == 3
    for words, shown in found:
        done = run(stack, project, words)
        assert done.code == 0, f"{words}: {done.text}"
        if shown is not None:
            assert done.out == shown, words


def test_the_page_has_the_config_of_the_examples_and_names_commands_that_exist() -> None:
    assert SYNC_CONFIG.strip() in PAGE
    named = {tuple(text.split()) for text in re.findall(r"`syncline ([a-z -]+?)(?: --user| FILE)?`", PAGE)}
    assert len(named) > 10
    assert [words for words in named if not (TABLE.command(" ".join(words)) or TABLE.names(" ".join(words)))] == []
