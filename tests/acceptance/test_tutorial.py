"""docs/tutorial/: all its blocks in their order, in an empty home, with nothing but what the pages give."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tools.page_runner import Block, PageFailed, PageRunner, blocks_of

from syncline.embedded.ports import free_port

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial"
PAGES = sorted(TUTORIAL.glob("[1-9]-*.md"))
KEPT = ("LANG", "LC_ALL", "SYNCLINE_POSTGRES_BIN", "TMPDIR")  # of the machine; all else is the pages'


def new_environment(home: Path) -> dict[str, str]:
    """That of a user who has logged in for the first time and activated the environment with syncline in it."""
    home.mkdir()
    programs = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {"HOME": str(home), "PATH": programs, "PYTHONDONTWRITEBYTECODE": "1", **kept}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Generator[PageRunner]:
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "todo").mkdir()
    ports = {"8080": str(free_port()), "8000": str(free_port())}
    runner = PageRunner(folder / "todo", new_environment(folder / "home"), replaced=ports)
    try:
        yield runner
    finally:
        runner.close()


@pytest.mark.timeout(400)
@pytest.mark.requirement(214)
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_step_of_the_tutorial_does_what_it_says(reader: PageRunner, page: Path) -> None:
    """The steps build on each other: run all of them."""
    blocks = blocks_of(page)
    assert "console" in {block.language for block in blocks}, "a step without a check"
    for block in blocks:
        reader.run(block)


def test_the_steps_are_those_of_the_contents_and_lead_to_each_other() -> None:
    contents = (TUTORIAL / "index.md").read_text("utf-8")
    assert [page.name for page in PAGES if f"]({page.name})" in contents] == [page.name for page in PAGES]
    assert len(PAGES) == 5
    for page, following in itertools.pairwise(PAGES):
        assert f"]({following.name})" in page.read_text("utf-8").splitlines()[-1]
    assert [block.note for block in blocks_of(TUTORIAL / "index.md")] == ["install"]


def test_a_page_that_does_not_do_what_it_says_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.page_runner.CHECK_TIMEOUT_S", 0.0)
    runner = PageRunner(tmp_path, {"PATH": os.environ["PATH"]}, tell=lambda _: None)
    runner.run(Block("p.md", 1, "sh", "", "A=1\nexport B=2\nmkdir sub && cd sub\n"))
    assert (runner.environment["B"], "A" in runner.environment, runner.folder.name) == ("2", False, "sub")
    runner.run(Block("p.md", 2, "console", "", "$ printf 'one\\n two 2\\nthree\\n'\none\ntwo …\n…\n"))
    for language, note, text in (
        ("sh", "", "false\ntrue\n"),
        ("console", "", "$ echo one; echo two\none\n"),
        ("console", "", "$ echo one\n"),
        ("console", "", "echo one\n"),
        ("python", "", "print(1)\n"),
        ("sh", "somehow", "true\n"),
    ):
        with pytest.raises(PageFailed, match=r"p\.md:3"):
            runner.run(Block("p.md", 3, language, note, text))
